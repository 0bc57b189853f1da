"""The mock plugin: hook implementations and nothing else. A vendor without hardware, and simulated machines for NVIDIA's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import hookimpl
from hami_core.model import Machine
from hami_mock import vendor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import click

    from hami_core.model import Capacity, DeviceInventory, Kind
    from hami_core.settings import Settings


@hookimpl
def hami_settings() -> type[vendor.MockSettings]:
    """How many mock devices there are."""
    return vendor.MockSettings


@hookimpl
def hami_kinds() -> Sequence[Kind]:
    """One kind: mock."""
    return [vendor.KIND]


@hookimpl
def hami_discover(node: str, settings: Settings) -> Sequence[DeviceInventory]:
    """What the settings describe."""
    return vendor.inventories(node, settings[vendor.MockSettings])


@hookimpl
def hami_split(kind: Kind, inventory: DeviceInventory, settings: Settings) -> Sequence[Capacity] | None:
    """Slots by the settings."""
    if kind.name != vendor.KIND.name:
        return None
    return vendor.capacities(inventory, settings[vendor.MockSettings])


@hookimpl
def hami_machines() -> Sequence[str]:
    """Those that come with the plugin."""
    from hami_mock import machine

    return machine.names()


@hookimpl
def hami_machine(name: str, state: Path) -> Machine | None:
    """One of the machines that come with the plugin, or one that a TOML file describes; its drivers are NVIDIA's."""
    from hami_mock import description, machine

    if name not in machine.names() and not name.endswith(".toml"):
        return None
    folder = state / description.load(name).machine / "driver"
    installed = machine.install(name, folder)
    root = (("devicePlugin.nvidiaDriverRoot", str(folder)),)
    return Machine(installed.name, str(folder), settings=root, library_path=(str(installed.libraries),))


@hookimpl
def hami_commands() -> Sequence[click.Command]:
    """``hami mock``: the machines, and the truth beside the interposer."""
    from hami_mock import commands

    return [commands.mock]
