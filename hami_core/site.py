"""The machine that devices are looked for on: this host or a simulated one, what is asked there, and what its drivers say.

Local mode and the node agent stand on it. Drivers are asked through an ``Asker``, each question with a deadline; what is known
already is not kept here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from hami_core import settings
from hami_core.errors import DriverError, NoMachine, PluginError
from hami_core.model import NodeDevices
from hami_core.plugins import Answers, Failure, catalogue, settings_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hami_core.asking import Asker
    from hami_core.model import Capacity, DeviceInventory, Machine, Splitting
    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings

HOST = "host"  # the name of this computer among simulated machines


@frozen(eq=False)
class Site:
    """A machine, and how it is asked."""

    name: str
    machine: Machine | None  # None: the real host
    plugins: Plugins
    settings: Settings
    catalogue: Catalogue
    strangers: frozenset[str]  # plugins whose devices are those of another machine; they are not asked


@frozen
class Found:
    """What is there, by kind; only kinds that have devices, or faults. ``failures``: of plugins and of single devices.

    ``silent``: the plugins that could not say what there is.
    """

    inventories: Mapping[str, DeviceInventory] = field(factory=dict)
    failures: tuple[Failure, ...] = ()
    silent: frozenset[str] = frozenset()


def this_node() -> str:
    """What this computer is called in the entries of ``nodes``: the name that a kubelet would register."""
    return os.uname().nodename


# --- Which machine, and under which settings. -------------------------------------------------------------------------


def settle(
    plugins: Plugins, layers: Sequence[tuple[str, Mapping[str, Any]]], machine: str | None, root: Path, node: str = ""
) -> Site:
    """The simulated machine of this name, or described by the TOML file of that path; None: this host. No driver is asked.

    ``layers``: settings as ``settings.resolve`` takes them. ``root``: the folder of simulated machines. ``node``: what the
    machine is called in the entries of ``nodes``; empty: by its own name. NoMachine: no plugin knows the machine. UserError: it
    is described wrongly.
    """
    simulated = None if machine is None else _simulated(plugins, machine, root)
    name = simulated.machine.name if simulated else HOST
    classes = settings_classes(plugins)
    own = {} if simulated is None else _led(simulated.machine, classes)
    led = {path: value for values in own.values() for path, value in values.items()}
    called = node or (simulated.machine.name if simulated else this_node())
    chosen = settings.resolve(classes, layers, called, last=[(f"machine {name}", led)] if simulated else [])
    kinds = catalogue(plugins, chosen)
    return Site(
        name=name,
        machine=simulated.machine if simulated else None,
        plugins=plugins,
        settings=chosen,
        catalogue=kinds,
        strangers=frozenset(kinds.owners.values()) - {simulated.plugin, *own} if simulated else frozenset[str](),
    )


def set_up(plugins: Plugins, name: str, root: Path) -> Machine:
    """The simulated machine of this name. NoMachine: no plugin knows it."""
    return _simulated(plugins, name, root).machine


@frozen
class _Simulated:
    """A machine, and the plugin that simulates it."""

    machine: Machine
    plugin: str


def _simulated(plugins: Plugins, name: str, root: Path) -> _Simulated:
    answer = plugins.ask_first("hami_machine", name=name, state=root)
    if answer is None:
        raise NoMachine(f'machine "{name}": no plugin that is loaded knows it{_near(plugins, name)}')
    plugin, machine = answer
    return _Simulated(machine, plugin)


def _near(plugins: Plugins, name: str) -> str:
    import difflib

    known = [one for answer in plugins.ask_each("hami_machines").by_plugin.values() for one in answer]
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(known)}" if known else ""


def _led(machine: Machine, classes: Mapping[str, type[Any]]) -> dict[str, dict[str, str]]:
    """The plugins that a simulated machine leads to its own devices, and the settings by which it does, above all others.

    Only these and the plugin that simulates it have devices there. What others would find are devices of the real host: such a
    one could be granted twice, once on each machine.
    """
    declared = {owner: {one.path for one in settings.declarations(cls, owner)} for owner, cls in classes.items()}
    led = {owner: {path: value for path, value in machine.settings if path in paths} for owner, paths in declared.items()}
    return {owner: values for owner, values in led.items() if values}


# --- What the drivers say. --------------------------------------------------------------------------------------------


def discover(site: Site, asker: Asker, node: str = "") -> Found:
    """What each plugin finds, as it says of its devices then. ``node``: what plugins are told; empty: the site's name."""
    answers = asker.ask_each("hami_discover", site.strangers, node=node or site.name, settings=site.settings)
    own, foreign = _inventories(site.catalogue, answers)
    failures = answers.failures + foreign + _faults(site.catalogue, own)
    return Found({one.kind: one for one in own}, failures, frozenset(failure.plugin for failure in answers.failures))


def with_health(site: Site, asker: Asker, found: Found) -> Found:
    """The same, with what the devices' owners say of their health now."""
    inventories: dict[str, DeviceInventory] = {}
    failures: tuple[Failure, ...] = ()
    for kind, inventory in found.inventories.items():
        reasons, unasked = health(site, asker, inventory)
        inventories[kind] = judged(inventory, reasons)
        failures += unasked
    return evolve(found, inventories=inventories, failures=found.failures + failures)


def health(site: Site, asker: Asker, inventory: DeviceInventory) -> tuple[dict[str, str], tuple[Failure, ...]]:
    """Device -> reason for the sick of one kind now, and who could not say; the drivers remember between two calls."""
    ids = tuple(device.id for device in inventory.devices)
    kind = site.catalogue.kind(inventory.kind)
    answers = asker.ask_each("hami_check_health", site.strangers, kind=kind, devices=ids, settings=site.settings)
    reasons = {device: reason for answer in answers.by_plugin.values() for device, reason in answer.items()}
    return reasons, answers.failures


def judged(inventory: DeviceInventory, reasons: Mapping[str, str]) -> DeviceInventory:
    """The inventory in which these devices are sick too, by id."""
    devices = tuple(evolve(device, sick=reasons.get(device.id) or device.sick) for device in inventory.devices)
    return evolve(inventory, devices=devices)


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


def _faults(kinds: Catalogue, inventories: Iterable[DeviceInventory]) -> tuple[Failure, ...]:
    """Devices that could not even be described."""
    return tuple(
        Failure(kinds.owners[found.kind], DriverError(kinds.owners[found.kind], fault))
        for found in inventories
        for fault in found.faults
    )


# --- What it offers. --------------------------------------------------------------------------------------------------


def offered(plugins: Plugins, kinds: Catalogue, chosen: Settings, inventory: DeviceInventory) -> NodeDevices:
    """What a node has to publish of one kind: its devices, cut in every way that the kind knows. PluginError. Pure."""
    kind = kinds.kind(inventory.kind)

    def capacities(splitting: Splitting) -> tuple[Capacity, ...]:
        answer = plugins.ask_first("hami_split", kind=kind, splitting=splitting, inventory=inventory, settings=chosen)
        assert answer  # the core's own comes last
        return tuple(answer[1])

    return NodeDevices(inventory, tuple((one.name, capacities(one)) for one in kinds.splittings[kind.name]))
