"""Acme's plugin keeps hami's contract, and finds its cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_acme import plugin
from hami_core.model import Device, DeviceInventory
from hami_core.settings import resolve
from hami_core.testing import PluginContract

if TYPE_CHECKING:
    from pathlib import Path


class TestAcme(PluginContract):
    """Every rule of the contract, on three cards of which one is broken."""

    plugin = plugin
    inventory = DeviceInventory(
        "acme",
        tuple(Device(f"acme{n}", n, "Acme One", 16384, sick="fan stopped" if n == 2 else "") for n in range(3)),
    )


def test_every_device_node_is_a_card(tmp_path: Path) -> None:
    for name in ("acme1", "acme0", "acmectl"):
        (tmp_path / name).touch()
    settings = resolve({"acme": plugin.AcmeSettings}, [("test", {"acme.cards": f"{tmp_path}/acme[0-9]"})])

    (inventory,) = plugin.hami_discover(settings)

    assert [card.id for card in inventory.devices] == ["acme0", "acme1"]
