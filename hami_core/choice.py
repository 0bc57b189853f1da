"""Which of the devices that could serve are taken: the words of the device policy, in the order in which they were written.

``binpack``          the fullest first, as they would be with the share on them
``spread``           the emptiest first; also what decides among equals where neither word is given
``numa``             those of one NUMA node, as far as there are enough; before the words that follow it
``topology-aware``   before all other words: of several the best connected set, of one the device that breaks least
``mutex``            no order: a device that nobody uses is a condition, tested in ``placement``

Ahead of every word stand devices that the pod holds in another phase of its life, because using them again costs nothing; only
the best connected set is chosen without regard to them. A binding to one NUMA node stands before all. Equals keep the order of
the devices, so that the same table gives the same devices everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core import numa, topology
from hami_core.table import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.model import Mask, Request
    from hami_core.placement import Claims
    from hami_core.table import NodeTable, Numbers

LAST = np.iinfo(np.int64).max
FEW = 64  # rows up to which sorting whole lines is the quicker way to their heads
FINE = 1e9  # parts in which fullness is compared: rounding errors of the last digit decide nothing


def choose(
    request: Request, mask: Mask, table: NodeTable, claims: Claims, memory: Numbers | int, *, exact: bool = False
) -> Mask:
    """The ``count`` best of the masked devices on every node, (N, W); fewer where fewer are masked.

    ``exact`` is for a table of few rows: of equally connected sets the one whose devices the other words prefer, not that of
    the first devices. ``memory`` as ``placement.needed_memory`` gives it.
    """
    keys = _keys(request, mask, table, claims, memory)
    if request.numa_bind or "numa" in keys:
        others = [key for word, key in keys.items() if word != "numa"]
        keys["numa"] = numa.ranks(mask, table, request.count, _merits(request, mask, table, others))
        if request.numa_bind:
            mask = mask & (keys["numa"] == 0)
    chosen = _foremost(mask, list(keys.values()), request.count)
    if request.count > 1 and topological(request, table):
        line = _Line(_order(mask, list(keys.values())), keys) if exact else None
        return _connected(request, mask, table, chosen, line)
    return chosen


def topological(request: Request, table: NodeTable) -> bool:
    """Whether it matters for this request, on some node, how devices are connected."""
    return "topology-aware" in request.policy.device and not table.wiring.alike.all()


def score(request: Request, mask: Mask, table: NodeTable) -> Numbers:
    """How well a node's best masked devices are connected, (N,): the sum over their pairs; for one device, what it breaks."""
    if request.count == 1:
        broken = topology.lost(table.wiring, table.wired, mask)
        least: Numbers = np.where(mask, broken, LAST).min(axis=1)
        return np.where(mask.any(axis=1), least, 0)
    masks = numa.groups(mask, table) if request.numa_bind else [mask]
    sums = [topology.search(table.wiring, table.wired, one, request.count)[1] for one in masks]
    return np.maximum.reduce(sums) if sums else np.zeros(len(mask), np.int64)


# --- The words as numbers: less is better ----------------------------------------------------------------------------


def _keys(request: Request, mask: Mask, table: NodeTable, claims: Claims, memory: Numbers | int) -> dict[str, Numbers]:
    """Word -> column (N, W), the one that decides first at the head. That of ``numa`` is still to be filled in."""
    keys: dict[str, Numbers] = {}
    if any(phase not in request.phases for phase in claims.by_phase):
        keys["held"] = -claims.outside(request.phases, mask).astype(np.int64)
    if request.count == 1 and topological(request, table):
        keys["topology-aware"] = topology.lost(table.wiring, table.wired, mask)
    full = fullness(request, table, claims, memory)
    for word in request.policy.device:
        if word in ("spread", "numa"):
            keys[word] = full
        elif word == "binpack":
            keys[word] = -full
    if "spread" not in keys and "binpack" not in keys:
        keys["spread"] = full
    return keys


def fullness(request: Request, table: NodeTable, claims: Claims, memory: Numbers | int) -> Numbers:
    """How full each device would be with one share on it, (N, W), in parts of FINE: the weighted mean of three numbers."""
    slots, used, cores = claims.with_share(request, table, memory)
    weights, (slot, mib, percent) = request.policy.weights, table.fills
    part = FINE / weights.total
    full = (
        (table.slots_used + slots) * slot * (weights.slot * part)
        + (table.memory_used + used) * mib * (weights.memory * part)
        + (table.cores_used + cores) * percent * (weights.core * part)
    )
    whole: Numbers = full.astype(np.int64)
    return whole


def _merits(request: Request, mask: Mask, table: NodeTable, keys: Sequence[Numbers]) -> list[list[Numbers]]:
    """How good the best devices of each NUMA node are, less is better: their connections, then the sum of each key."""
    order = _order(mask, keys)
    merits = []
    for group in numa.groups(mask, table):
        chosen = _first(order, group, request.count)
        sums = [(key * chosen).sum(axis=1) for key in keys]
        if request.count > 1 and topological(request, table):
            sums.insert(0, -topology.search(table.wiring, table.wired, group, request.count)[1])
        merits.append(sums)
    return merits


# --- From numbers to devices -----------------------------------------------------------------------------------------


def _order(mask: Mask, keys: Sequence[Numbers]) -> Numbers:
    """Devices in line, (N, W): the masked ones by their keys, then the others."""
    if len(keys) == 1:
        return np.where(mask, keys[0], LAST).argsort(axis=1, kind="stable")
    return np.lexsort((*reversed(keys), ~mask), axis=1)


def _first(order: Numbers, mask: Mask, needed: int) -> Mask:
    """The first ``needed`` masked devices of each line, (N, W)."""
    nodes = np.arange(len(order))[:, np.newaxis]
    chosen = np.zeros_like(mask)
    inside = mask[nodes, order]
    chosen[nodes, order] = inside & (inside.cumsum(axis=1) <= needed)
    return chosen


def _foremost(mask: Mask, keys: Sequence[Numbers], needed: int) -> Mask:
    """The same, of the line of the masked devices, (N, W)."""
    return _head(_order(mask, keys), mask, needed) if len(mask) <= FEW else _picked(mask, keys, needed)


def _head(order: Numbers, mask: Mask, needed: int) -> Mask:
    """The same, where the masked devices stand first."""
    chosen = np.zeros_like(mask)
    chosen[np.arange(len(order))[:, np.newaxis], order[:, :needed]] = True
    return chosen & mask


def _picked(mask: Mask, keys: Sequence[Numbers], needed: int) -> Mask:
    """The same without a line: one device after the other is found by column, which is ten times as quick on many nodes."""
    left, chosen = mask.copy(order="K"), np.zeros_like(mask)
    for _ in range(needed):
        equals = left
        for key in keys:
            kept = np.where(equals, key, LAST)
            equals = equals & (kept == kept.min(axis=1)[:, np.newaxis])
        one = _first_of(equals)
        chosen |= one
        left ^= one
    return chosen


def _first_of(mask: Mask) -> Mask:
    """The first masked device of every node, (N, W)."""
    first, seen = np.zeros_like(mask), np.zeros(len(mask), bool)
    for w in range(mask.shape[1]):
        np.greater(mask[:, w], seen, out=first[:, w])
        seen |= mask[:, w]
    return first


@frozen(eq=False)
class _Line:
    """The devices of each node in line, (N, W), and the keys that put them there."""

    order: Numbers
    keys: Mapping[str, Numbers]

    def of(self, n: int, length: int) -> tuple[list[int], Numbers]:
        """The first devices of one node, and how far behind each is: 0 for the first and its equals, 1 for the next best."""
        line = self.order[n, :length]
        steps = [np.diff(key[n, line]) != 0 for key in self.keys.values()]
        return line.tolist(), np.concatenate([[0], np.logical_or.reduce(steps).cumsum()])


def _connected(request: Request, mask: Mask, table: NodeTable, plain: Mask, line: _Line | None) -> Mask:
    """The best connected set instead of the plain one, on the nodes where sets differ; with a line, the best of equals."""
    differ = ~table.wiring.alike[table.wired] & (count(mask) >= request.count)
    if line is None:
        found, _ = topology.search(table.wiring, table.wired, mask, request.count)
        return np.where(differ[:, np.newaxis], found, plain)
    chosen = plain & ~differ[:, np.newaxis]
    for n in map(int, np.flatnonzero(differ)):
        devices, costs = line.of(n, int(mask[n].sum()))
        chosen[n, topology.best(table.wiring.scores[table.wired[n]], devices, costs, request.count)] = True
    return chosen
