"""The machine that pods run on: this host, or a simulated one, with the devices that its plugins found.

Made once for a command. Who holds what on it changes, and is not here (``holdings``); nor is what a pod asks (``admission``).
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import define

from hami_core import names, settings
from hami_core.errors import DriverError, NoMachine
from hami_core.local import state
from hami_core.plugins import Failure, catalogue, settings_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hami_core.local.state import Folder
    from hami_core.model import DeviceInventory, Machine, Mounts, NodeDevices
    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings


@define(slots=False, eq=False)
class Host:
    """A machine and what is known about it."""

    name: str
    machine: Machine | None  # None: the real host
    plugins: Plugins
    settings: Settings
    catalogue: Catalogue
    inventories: Mapping[str, DeviceInventory]  # by kind; only kinds that have devices, or faults, here
    failures: tuple[Failure, ...]  # of plugins and devices asked, a sentence each by ``str``; those of loading are the plugins'
    folder: Folder

    @cached_property
    def offered(self) -> dict[str, NodeDevices]:
        """What its devices offer, by kind: what a node of a cluster would publish."""
        from hami_core import decision  # numpy

        return {
            kind: decision.offered(self.plugins.hook, self.catalogue, self.settings, found)
            for kind, found in self.inventories.items()
        }

    @cached_property
    def mounts(self) -> dict[str, Mounts]:
        """How a process is prepared, by kind, for every kind that is here: also for containers that hold none of it."""
        return {
            kind: self.plugins.hook.hami_mounts(kind=self.catalogue.kind(kind), tokens=(), settings=self.settings)
            for kind in self.inventories
        }


def open_host(plugins: Plugins, layers: Sequence[tuple[str, Mapping[str, Any]]], machine: str | None, root: Path) -> Host:
    """The simulated machine of this name, or described by the TOML file of this path; None: this host.

    ``layers``: settings as ``settings.resolve`` takes them. ``root``: the state folder. NoMachine: no plugin knows it.
    UserError: it is described wrongly. A host without devices is a host; see ``no_machine``.
    """
    simulated = None if machine is None else _simulated(plugins, machine, root)
    name = simulated.name if simulated else state.HOST
    classes = settings_classes(plugins)
    node = simulated.name if simulated else this_node()
    chosen = settings.resolve(classes, layers, node, last=_own_layer(simulated, classes))
    kinds = catalogue(plugins, chosen)
    answers = plugins.ask_each("hami_discover", node=name, settings=chosen)
    inventories = [one for answer in answers.by_plugin.values() for one in answer]
    found = {one.kind: one for one in inventories if one.devices or one.faults}
    return Host(
        name=name,
        machine=simulated,
        plugins=plugins,
        settings=chosen,
        catalogue=kinds,
        inventories=found,
        failures=kinds.failures + answers.failures + _faults(kinds, found.values()),
        folder=state.folder(root, name),
    )


def this_node() -> str:
    """What this computer is called in the entries of ``nodes``: the name that a kubelet would register."""
    return os.uname().nodename


def _simulated(plugins: Plugins, name: str, root: Path) -> Machine:
    machine: Machine | None = plugins.hook.hami_machine(name=name, state=root)
    if machine is None:
        raise NoMachine(f'machine "{name}": no plugin that is loaded knows it (`hami mock machines` lists those of hami-mock)')
    return machine


def _faults(kinds: Catalogue, inventories: Iterable[DeviceInventory]) -> tuple[Failure, ...]:
    """Devices that could not even be described."""
    return tuple(
        Failure(kinds.owners[found.kind], DriverError(kinds.owners[found.kind], fault))
        for found in inventories
        for fault in found.faults
    )


def _own_layer(machine: Machine | None, classes: Mapping[str, type[Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The settings that lead the plugins to a simulated machine, above all others, as far as a loaded plugin declares them."""
    if machine is None:
        return []
    declared = {one.path for owner, cls in classes.items() for one in settings.declarations(cls, owner)}
    return [(f"machine {machine.name}", {path: value for path, value in machine.settings if path in declared})]


def no_machine(host: Host, kind: str = "") -> NoMachine:
    """The error for a command that needs devices, of one kind or of any, where there are none: why, and what to do."""
    if any(found.devices for name, found in host.inventories.items() if kind in ("", name)):
        return NoMachine(f"the devices of {host.name} are all kept out of sharing by settings; `hami config` shows which")
    what = f"{kind} device" if kind else "device that a loaded plugin knows"
    failed = "".join(f"; {failure}" for failure in host.failures)
    if host.machine is not None:
        return NoMachine(f"the simulated machine {host.name} has no {what}{failed}")
    hint = f"name a simulated machine by --machine t4-node or {names.ENV_MACHINE}=t4-node, or see `hami plugins`"
    return NoMachine(f"this host has no {what}{failed}; {hint}")
