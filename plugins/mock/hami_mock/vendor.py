"""The vendor ``mock``: devices without hardware and without a driver. The example to copy for a vendor of your own.

Its devices are numbers in the settings: nothing enforces a share of them, but they are counted, chosen and granted as any are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from hami_core import sharing
from hami_core.model import Device, DeviceInventory, Kind, Resources
from hami_core.settings import setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Capacity

KIND = Kind(
    name="mock",
    resources=Resources(
        count="mock.dev/device",
        memory="mock.dev/memory",
        memory_percent="mock.dev/memory-percentage",
        cores="mock.dev/cores",
    ),
    visible_env="MOCK_VISIBLE_DEVICES",
)


@frozen
class MockSettings:
    """How many devices of which size there are. None by default: a machine without hardware stays one."""

    devices: int = setting("mock.devices", 0, "Devices of the vendor mock on this node.", low=0, high=64, per_node=True)
    memory: int = setting("mock.memory", 16384, "MiB of each.", low=1, high=16 * 1024 * 1024, per_node=True)
    split_count: int = setting("mock.splitCount", 10, "How many tasks each carries at most.", low=1, high=1000, per_node=True)


def inventories(node: str, settings: MockSettings) -> Sequence[DeviceInventory]:
    """The devices that the settings describe, as the one inventory of this vendor; none if they describe none."""
    devices = tuple(
        Device(id=f"MOCK-{node}-{index}", index=index, model="Mock One", memory=settings.memory)
        for index in range(settings.devices)
    )
    return [DeviceInventory(KIND.name, devices)] if devices else []


def capacities(found: DeviceInventory, settings: MockSettings) -> Sequence[Capacity]:
    """Every device as the core would split it, with the slots that the settings give it."""
    return [evolve(capacity, slots=settings.split_count) for capacity in sharing.hami_split(found)]
