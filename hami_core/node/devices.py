"""The devices of this node as they are now: what was found, what is said of its health, and what is offered of it. No I/O.

One owner, the agent's loop, tells what drivers said; time is what the caller says. A kind whose plugin cannot say what there is
stays as it was. What nobody can say since the agent began is taken from the node's object, all of it sick.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import field, frozen

from hami_core import names, site, wire
from hami_core.errors import PluginError, WireError
from hami_core.model import NodeDevices
from hami_core.node import health, inventory
from hami_core.node.health import Ailment, Health

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.model import DeviceInventory
    from hami_core.site import Found, Site

SILENT = "its driver does not say what there is"
UNSPLIT = "its plugin cannot say how it is shared"

_log = logging.getLogger(__name__)


@frozen
class Change:
    """A device that became sick, or well again (no reason)."""

    kind: str
    device: str
    reason: str


@frozen
class Standing:
    """What is offered, by kind, and why single devices are not."""

    offered: Mapping[str, NodeDevices] = field(factory=dict)
    sick: Mapping[tuple[str, str], str] = field(factory=dict)  # (kind, device) -> reason


def changes(before: Standing, now: Standing) -> list[Change]:
    """The devices that became sick or well; what a device is sick of may change without a word."""
    fallen = [Change(*which, reason) for which, reason in now.sick.items() if which not in before.sick]
    risen = [Change(*which, "") for which in before.sick if which not in now.sick]
    return fallen + risen


class Devices:
    """The devices of one node."""

    def __init__(self, where: Site, settle: float, silence: float) -> None:
        self._site, self._settle, self._silence = where, settle, silence
        self._inventories: dict[str, DeviceInventory] = {}
        self._health: dict[str, Health] = {}
        self._shut: dict[str, NodeDevices] = {}  # what is only known from the node's object
        self._silent: frozenset[str] = frozenset()  # plugins that have never said what there is
        self._made: tuple[object, Standing] = (None, Standing())  # from what, and what

    @property
    def inventories(self) -> tuple[DeviceInventory, ...]:
        """What was found last, as it was found."""
        return tuple(self._inventories.values())

    def found(self, found: Found, now: float) -> None:
        """What there is, as its plugins say; those that could not say leave theirs as it was."""
        for kind, owner in self._site.catalogue.owners.items():
            if owner in found.silent:
                continue
            self._shut.pop(kind, None)
            if kind in found.inventories:
                before = self._inventories.get(kind, found.inventories[kind])
                self._inventories[kind] = inventory.with_lost(found.inventories[kind], before)
                self._health.setdefault(kind, Health(now))
            else:
                self._inventories.pop(kind, None)
                self._health.pop(kind, None)
        self._silent = found.silent

    def told(self, kind: str, reasons: Mapping[str, str], now: float) -> None:
        """What the owner of a kind says of its devices' health: device -> reason, for the sick."""
        if kind in self._health:
            self._health[kind] = health.told(self._health[kind], reasons, now, self._settle)

    def remember(self, annotations: Mapping[str, str], now: float) -> None:
        """What the node's object said before the agent began: a device that was sick has to settle first."""
        for kind, owner in self._site.catalogue.owners.items():
            key = names.inventory_key(kind)
            if key not in annotations:
                continue
            if kind in self._health:
                self._remember(kind, annotations[key], key, now)
            elif owner in self._silent and (before := inventory.closed(annotations[key], key, SILENT)):
                self._shut[kind] = before

    def _remember(self, kind: str, text: str, key: str, now: float) -> None:
        try:
            before = wire.decode(NodeDevices, text, key).inventory
        except WireError:  # by another version, which may have said anything; what drivers say counts
            return
        self._inventories[kind] = inventory.with_lost(self._inventories[kind], before)
        old = {one.id: Ailment(one.sick, now, now) for one in before.devices if one.sick}
        known = self._health[kind]
        self._health[kind] = Health(known.answered, {**old, **known.ailments})

    def standing(self, now: float) -> Standing:
        """What is offered now. The same object while nothing has changed."""
        sick = {kind: self._sick(found, now) for kind, found in self._inventories.items()}
        given = (dict(self._inventories), dict(self._shut), sick)
        if given != self._made[0]:
            self._made = given, self._stand(sick)
        return self._made[1]

    def _sick(self, found: DeviceInventory, now: float) -> dict[str, str]:
        return health.sick(self._health[found.kind], (device.id for device in found.devices), now, self._silence)

    def _stand(self, reasons: Mapping[str, Mapping[str, str]]) -> Standing:
        judged = {kind: site.judged(found, reasons[kind]) for kind, found in self._inventories.items()}
        offered = {**self._shut, **{kind: self._split(found) for kind, found in judged.items()}}
        return Standing(dict(sorted(offered.items())), dict(_sick(offered)))

    def _split(self, found: DeviceInventory) -> NodeDevices:
        where = self._site
        try:
            return site.offered(where.plugins, where.catalogue, where.settings, found)
        except PluginError as error:  # a fault in the plugin: what it offers is nothing
            _log.error("a kind is not offered", extra={"kind": found.kind, "error": str(error)})
            return NodeDevices(site.judged(found, {device.id: UNSPLIT for device in found.devices}), ())


def _sick(offered: Mapping[str, NodeDevices]) -> Iterator[tuple[tuple[str, str], str]]:
    for kind, found in offered.items():
        for device in found.inventory.devices:
            if device.sick:
                yield (kind, device.id), device.sick
