"""The nvidia plugin keeps the rules that any vendor's has to keep."""

from __future__ import annotations

from hami_core.model import Device, DeviceInventory
from hami_core.testing import PluginContract
from hami_nvidia import plugin as nvidia


class TestNvidia(PluginContract):
    """With a GPU of which a context is known and one of which it is not."""

    plugin = nvidia
    inventory = DeviceInventory(
        "nvidia",
        (
            Device(id="GPU-d7a97d47-b700-90ee-084b-834fa9f711b8", index=0, model="Tesla T4", memory=15360),
            Device(id="GPU-22d68444-b054-637a-99ff-30187d885eb8", index=1, model="Acme GPU", memory=8192, sick="Xid 79"),
        ),
    )
