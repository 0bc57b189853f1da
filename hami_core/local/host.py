"""The machine that pods run on: this host, or a simulated one, with the devices that its plugins found.

Made once for a command. Who holds what on it changes, and is not here (``holdings``); nor is what a pod asks (``admission``).
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, frozen

from hami_core import names, settings
from hami_core.asking import Drivers
from hami_core.errors import DriverError, NoMachine, PluginError
from hami_core.local import state
from hami_core.plugins import Answers, Failure, catalogue, settings_classes
from hami_core.sharing import CoreSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hami_core.asking import Asker
    from hami_core.local.state import Folder
    from hami_core.model import Device, DeviceInventory, Kind, Machine, Mounts, NodeDevices
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
    drivers: Asker
    strangers: frozenset[str]  # plugins whose devices are those of another machine; they are not asked
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
        return {kind: self._mounts(kind) for kind in self.inventories}

    def _mounts(self, kind: str) -> Mounts:
        answer = self.plugins.ask_first("hami_mounts", kind=self.catalogue.kind(kind), tokens=(), settings=self.settings)
        assert answer  # the core's own comes last
        mounts: Mounts = answer[1]
        return mounts

    def usage(self, kind: str) -> Answers:
        """What the drivers count of one kind now, by plugin."""
        asked = self.catalogue.kind(kind)
        return self.drivers.ask_each("hami_usage", self.strangers, kind=asked, settings=self.settings)

    def health(self, kind: str) -> tuple[dict[str, str], tuple[Failure, ...]]:
        """Device -> reason for the sick of one kind now, and who could not say; the drivers remember between two calls."""
        answers = _health(self.drivers, self.strangers, self.catalogue.kind(kind), self.settings, self.inventories[kind])
        return _reasons(answers), answers.failures


@frozen
class _Simulated:
    """A machine, and the plugin that simulates it."""

    machine: Machine
    plugin: str


def open_host(
    plugins: Plugins,
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    machine: str | None,
    root: Path,
    drivers: Callable[[Plugins, float], Asker] = Drivers,
) -> Host:
    """The simulated machine of this name, or described by the TOML file of this path; None: this host.

    ``layers``: settings as ``settings.resolve`` takes them. ``root``: the state folder. ``drivers``: who asks the plugins'
    drivers, made of the plugins and a deadline in seconds. NoMachine: no plugin knows the machine. UserError: it is described
    wrongly. A host without devices is a host; see ``no_machine``.
    """
    simulated = None if machine is None else _simulated(plugins, machine, root)
    name = simulated.machine.name if simulated else state.HOST
    classes = settings_classes(plugins)
    node = simulated.machine.name if simulated else this_node()
    own = {} if simulated is None else _led(simulated.machine, classes)
    led = {path: value for values in own.values() for path, value in values.items()}
    chosen = settings.resolve(classes, layers, node, last=[(f"machine {name}", led)] if simulated else [])
    kinds = catalogue(plugins, chosen)
    strangers = frozenset(kinds.owners.values()) - {simulated.plugin, *own} if simulated else frozenset[str]()
    asker = drivers(plugins, chosen[CoreSettings].driver_deadline)
    answers = asker.ask_each("hami_discover", strangers, node=name, settings=chosen)
    inventories, foreign = _inventories(kinds, answers)
    found, unasked = _with_health(asker, strangers, kinds, chosen, inventories)
    return Host(
        name=name,
        machine=simulated.machine if simulated else None,
        plugins=plugins,
        settings=chosen,
        catalogue=kinds,
        drivers=asker,
        strangers=strangers,
        inventories=found,
        failures=kinds.failures + answers.failures + foreign + unasked + _faults(kinds, found.values()),
        folder=state.folder(root, name),
    )


def this_node() -> str:
    """What this computer is called in the entries of ``nodes``: the name that a kubelet would register."""
    return os.uname().nodename


def set_up(plugins: Plugins, name: str, root: Path) -> Machine:
    """The simulated machine of this name. NoMachine: no plugin knows it."""
    return _simulated(plugins, name, root).machine


def _simulated(plugins: Plugins, name: str, root: Path) -> _Simulated:
    answer = plugins.ask_first("hami_machine", name=name, state=root)
    if answer is None:
        raise NoMachine(f'machine "{name}": no plugin that is loaded knows it{_near(plugins, name)}')
    plugin, machine = answer
    return _Simulated(machine, plugin)


def _led(machine: Machine, classes: Mapping[str, type[Any]]) -> dict[str, dict[str, str]]:
    """The plugins that a simulated machine leads to its own devices, and the settings by which it does, above all others.

    Only these and the plugin that simulates it have devices there. What others would find are devices of the real host: such a
    one could be granted twice, once on each machine.
    """
    declared = {owner: {one.path for one in settings.declarations(cls, owner)} for owner, cls in classes.items()}
    led = {owner: {path: value for path, value in machine.settings if path in paths} for owner, paths in declared.items()}
    return {owner: values for owner, values in led.items() if values}


def _inventories(kinds: Catalogue, answers: Answers) -> tuple[list[DeviceInventory], tuple[Failure, ...]]:
    """What was discovered, without what is not of a kind of the plugin's own: that is its fault."""
    own: list[DeviceInventory] = []
    foreign: list[Failure] = []
    for plugin, one in ((plugin, one) for plugin, answer in answers.by_plugin.items() for one in answer):
        owner = kinds.owners.get(one.kind)
        if owner == plugin:
            own.append(one)
        else:
            whose = f'"{owner}"' if owner else "nobody"
            fault = f'lists devices of the kind "{one.kind}", which {whose} owns'
            foreign.append(Failure(plugin, PluginError(plugin, fault, "hami_discover")))
    return [one for one in own if one.devices or one.faults], tuple(foreign)


def _with_health(
    asker: Asker, strangers: frozenset[str], kinds: Catalogue, chosen: Settings, inventories: Iterable[DeviceInventory]
) -> tuple[dict[str, DeviceInventory], tuple[Failure, ...]]:
    """The inventories by kind, with what their owners say of the devices' health now."""
    found: dict[str, DeviceInventory] = {}
    failures: tuple[Failure, ...] = ()
    for one in inventories:
        answers = _health(asker, strangers, kinds.kind(one.kind), chosen, one)
        found[one.kind] = evolve(one, devices=tuple(_judged(device, _reasons(answers)) for device in one.devices))
        failures += answers.failures
    return found, failures


def _health(asker: Asker, strangers: frozenset[str], kind: Kind, chosen: Settings, inventory: DeviceInventory) -> Answers:
    ids = tuple(device.id for device in inventory.devices)
    return asker.ask_each("hami_check_health", strangers, kind=kind, devices=ids, settings=chosen)


def _reasons(answers: Answers) -> dict[str, str]:
    return {device: reason for answer in answers.by_plugin.values() for device, reason in answer.items()}


def _judged(device: Device, reasons: Mapping[str, str]) -> Device:
    return evolve(device, sick=reasons.get(device.id) or device.sick)


def _near(plugins: Plugins, name: str) -> str:
    import difflib

    known = [one for answer in plugins.ask_each("hami_machines").by_plugin.values() for one in answer]
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(known)}" if known else ""


def _faults(kinds: Catalogue, inventories: Iterable[DeviceInventory]) -> tuple[Failure, ...]:
    """Devices that could not even be described."""
    return tuple(
        Failure(kinds.owners[found.kind], DriverError(kinds.owners[found.kind], fault))
        for found in inventories
        for fault in found.faults
    )


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
