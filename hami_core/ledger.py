"""Who holds what: the one owner of the tables' used columns.

Keyed by the holder's uid and idempotent: holding twice is holding once, releasing what is not held does nothing. A pod's claim
on a device is the largest of its phases, as in ``placement``; one that has the device for itself takes all its slots.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.model import Holding, Share
    from hami_core.table import NodeTable

    _Taken = tuple[NodeTable, int, int, int, int, int]  # table, node, device, slots, memory, cores


@frozen
class Claim:
    """What one pod takes of one device. Units: tasks, MiB, percent. ``exclusive``: every slot that the device has."""

    slots: int
    memory: int
    cores: int
    exclusive: bool = False


def claims(shares: Sequence[Share]) -> dict[tuple[str, str, str], Claim]:
    """(kind, splitting, device) -> what these shares of one pod take of it: the largest of the pod's phases."""
    if len(shares) == 1:  # by far the most
        (one,) = shares
        return {(one.kind, one.splitting, one.device): Claim(1, one.memory, one.cores, one.exclusive)}
    phases: defaultdict[tuple[str, str, str], defaultdict[int, list[Share]]]
    phases = defaultdict(lambda: defaultdict(list))
    for share in shares:
        for phase in share.phases:
            phases[share.kind, share.splitting, share.device][phase].append(share)
    return {device: _largest(list(by_phase.values())) for device, by_phase in phases.items()}


def _largest(phases: Sequence[Sequence[Share]]) -> Claim:
    return Claim(
        slots=max(len(shares) for shares in phases),
        memory=max(sum(share.memory for share in shares) for shares in phases),
        cores=max(sum(share.cores for share in shares) for shares in phases),
        exclusive=any(share.exclusive for shares in phases for share in shares),
    )


class Ledger:
    """Holdings by uid, counted in the tables. Not thread-safe: its owner has the lock."""

    def __init__(self, tables: Mapping[tuple[str, str], NodeTable]) -> None:
        self.tables = tables
        self._held: dict[str, tuple[Holding, tuple[_Taken, ...]]] = {}
        self._places = {
            (kind, splitting, node, device): (table, n, w)
            for (kind, splitting), table in tables.items()
            for n, node in enumerate(table.nodes)
            for w, device in enumerate(table.devices[n])
        }

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Everything that is held, oldest first."""
        return tuple(holding for holding, _ in self._held.values())

    def hold(self, node: str, holding: Holding) -> tuple[str, ...]:
        """Count a holding on a node. Returns the devices that no table knows (gone, or of a plugin that is not loaded)."""
        if holding.uid in self._held:
            return ()
        counted, unknown = [], []
        for (kind, splitting, device), claim in claims(holding.shares).items():
            place = self._places.get((kind, splitting, node, device))
            if place is None:
                unknown.append(device)
            else:
                counted.append((*place, claim))
        taken = tuple(_taken(*place) for place in counted)
        for table, n, w, slots, memory, cores in taken:
            table.take(n, w, slots, memory, cores)
        self._held[holding.uid] = (holding, taken)
        return tuple(unknown)

    def release(self, uid: str) -> Holding | None:
        """Give back what a uid holds, and say what it was. None: it held nothing."""
        holding, taken = self._held.pop(uid, (None, ()))
        for table, n, w, slots, memory, cores in taken:
            table.take(n, w, -slots, -memory, -cores)
        return holding


def slots_of(claim: Claim, table: NodeTable, n: int, w: int) -> int:
    """How many slots of this device a claim takes."""
    return max(claim.slots, int(table.slots[n, w])) if claim.exclusive else claim.slots


def _taken(table: NodeTable, n: int, w: int, claim: Claim) -> _Taken:
    return table, n, w, slots_of(claim, table, n, w), claim.memory, claim.cores
