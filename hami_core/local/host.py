"""The machine that pods run on: this host, or a simulated one, with the devices that its plugins found.

Made once for a command. Who holds what on it changes, and is not here (``holdings``); nor is what a pod asks (``admission``).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import define

from hami_core import names, site
from hami_core.asking import Drivers
from hami_core.errors import NoMachine
from hami_core.local import state
from hami_core.sharing import CoreSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hami_core.asking import Asker
    from hami_core.local.state import Folder
    from hami_core.model import DeviceInventory, Machine, Mounts, NodeDevices
    from hami_core.plugins import Answers, Catalogue, Failure, Plugins
    from hami_core.settings import Settings
    from hami_core.site import Site


@define(slots=False, eq=False)
class Host:
    """A machine and what is known about it."""

    site: Site
    drivers: Asker
    inventories: Mapping[str, DeviceInventory]  # by kind; only kinds that have devices, or faults, here
    failures: tuple[Failure, ...]  # of plugins and devices asked, a sentence each by ``str``; those of loading are the plugins'
    folder: Folder

    @property
    def name(self) -> str:
        """The machine's."""
        return self.site.name

    @property
    def machine(self) -> Machine | None:
        """The simulated one. None: the real host."""
        return self.site.machine

    @property
    def plugins(self) -> Plugins:
        """Those that are loaded."""
        return self.site.plugins

    @property
    def settings(self) -> Settings:
        """Those in force here."""
        return self.site.settings

    @property
    def catalogue(self) -> Catalogue:
        """The kinds that there are."""
        return self.site.catalogue

    @cached_property
    def offered(self) -> dict[str, NodeDevices]:
        """What its devices offer, by kind: what a node of a cluster would publish."""
        return {
            kind: site.offered(self.plugins, self.catalogue, self.settings, found) for kind, found in self.inventories.items()
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
        return self.drivers.ask_each("hami_usage", self.site.strangers, kind=asked, settings=self.settings)

    def health(self, kind: str) -> tuple[dict[str, str], tuple[Failure, ...]]:
        """Device -> reason for the sick of one kind now, and who could not say; the drivers remember between two calls."""
        return site.health(self.site, self.drivers, self.inventories[kind])


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
    return asked(site.settle(plugins, layers, machine, root), root, drivers)


def asked(where: Site, root: Path, drivers: Callable[[Plugins, float], Asker] = Drivers) -> Host:
    """The machine with what its drivers say."""
    asker = drivers(where.plugins, where.settings[CoreSettings].driver_deadline)
    found = site.with_health(where, asker, site.discover(where, asker))
    return Host(where, asker, found.inventories, where.catalogue.failures + found.failures, state.folder(root, where.name))


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
