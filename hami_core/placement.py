"""The arithmetic of fit and place: all nodes at once, one test after the other. Knows no vendor.

Fit and place share one choice of devices (``choice``), so a node fits if and only if placing on it succeeds. Requests are
placed in their order; each is counted in the phases of the pod in which its container runs, so an init container and a main
container may use the same memory one after the other. A pod's claim on a device is the largest of its phases.

A request that takes devices for itself (``Request.exclusive``) fits on one that nobody uses, and takes all its slots: nobody
comes after it, whatever the scaling of cores says.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import Factory, define

from hami_core import numa
from hami_core.choice import choose, topological
from hami_core.model import Fit, Reason, Share
from hami_core.selection import selected
from hami_core.table import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hami_core.model import Mask, Request
    from hami_core.table import NodeTable, Numbers

FITS = int(Reason.FITS)  # numpy asks an enum's member for a dozen attributes before it compares with it


@define(eq=False)
class Claims:
    """What one pod has taken so far on every node, by phase: columns (N, W) of slots, memory and cores."""

    by_phase: dict[int, tuple[Numbers, Numbers, Numbers]] = Factory(dict)

    def add(self, request: Request, chosen: Mask, table: NodeTable, memory: Numbers | int) -> None:
        """Count one share of a request on every chosen device."""
        share = chosen * needed_slots(request, table), chosen * memory, chosen * request.cores
        for phase in request.phases:
            there = self.by_phase.get(phase)
            self.by_phase[phase] = _plus(there, share) if there else share

    def with_share(
        self, request: Request, table: NodeTable, memory: Numbers | int
    ) -> tuple[Numbers | int, Numbers | int, Numbers | int]:
        """What the pod's claim on each device would be with a share of this request on it: slots, memory, cores."""
        share = needed_slots(request, table), memory, request.cores
        if not self.by_phase:
            return share
        own = _plus(self.during(request.phases), share)
        others = self.during([phase for phase in self.by_phase if phase not in request.phases])
        slots, used, cores = (np.maximum(one, other) for one, other in zip(own, others, strict=True))
        return slots, used, cores

    def during(self, phases: Sequence[int]) -> tuple[Numbers | int, Numbers | int, Numbers | int]:
        """The most that is taken of slots, memory and cores in any of these phases; 0 where nothing is."""
        taken = [self.by_phase[phase] for phase in phases if phase in self.by_phase]
        if not taken:
            return 0, 0, 0
        slots, memory, cores = (reduce(np.maximum, columns) for columns in zip(*taken, strict=True))  # keeps Fortran order
        return slots, memory, cores

    def free(self, table: NodeTable, phases: Sequence[int]) -> tuple[Numbers, Numbers, Numbers]:
        """What is left of slots, memory and cores on each device in all of these phases."""
        slots, memory, cores = (
            table.slots - table.slots_used,
            table.memory - table.memory_used,
            table.cores - table.cores_used,
        )
        if not self.by_phase:
            return slots, memory, cores
        claimed = self.during(phases)
        return slots - claimed[0], memory - claimed[1], cores - claimed[2]

    def outside(self, phases: Sequence[int], like: Mask) -> Mask:
        """Devices that the pod holds in other phases only."""
        held = np.zeros_like(like)
        for phase, (slots, _, _) in self.by_phase.items():
            if phase not in phases:
                held |= slots > 0
        return held


def _plus(one: Sequence[Numbers | int], other: Sequence[Numbers | int]) -> tuple[Any, Any, Any]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def fit(requests: Sequence[Request], table: NodeTable) -> Fit:
    """Judge every node for all requests together.

    Shapes: columns of the table are (N, W); the answer has nodes (N,), reasons (N,), devices (R, N, W).
    Raises nothing: a node that does not fit is an answer. Pure; 0.3 ms at 5,000 x 8 for one request.
    """
    claims = Claims()
    nodes, width = table.shape
    reasons = np.zeros(nodes, np.int8)
    devices = np.zeros((len(requests), width, nodes), bool).transpose(0, 2, 1)  # each (N, W) in Fortran order, as columns are
    for r, request in enumerate(requests):
        memory = needed_memory(request, table)
        devices[r], failed = candidates(request, table, claims, memory)
        reasons = np.where(reasons == FITS, failed, reasons) if r else failed
        if r + 1 < len(requests):
            claims.add(request, choose(request, devices[r], table, claims, memory), table, memory)
    return Fit(nodes=reasons == FITS, reasons=reasons, devices=devices)


def place(requests: Sequence[Request], row: NodeTable, splitting: str) -> tuple[Share, ...]:
    """The devices of one node for all requests, or () if they do not fit. Shares in the order of requests, then of devices.

    Where it matters how devices are connected, ``fit`` counts on the first of the best sets. The one that the other policies
    prefer is taken instead, unless that leaves a later request without room.
    """
    better = any(request.count > 1 and topological(request, row) for request in requests)
    if better and len(requests) == 1:
        return _placed(requests, row, splitting, exact=True)
    counted_on = _placed(requests, row, splitting, exact=False)
    return _placed(requests, row, splitting, exact=True) or counted_on if better and counted_on else counted_on


def _placed(requests: Sequence[Request], row: NodeTable, splitting: str, *, exact: bool) -> tuple[Share, ...]:
    claims = Claims()
    shares: list[Share] = []
    for r, request in enumerate(requests):
        memory = needed_memory(request, row)
        mask, failed = candidates(request, row, claims, memory)
        if failed[0] != FITS:
            return ()
        chosen = choose(request, mask, row, claims, memory, exact=exact)
        if r + 1 < len(requests):
            claims.add(request, chosen, row, memory)
        shares += [_share(request, row, int(w), memory, splitting) for w in np.flatnonzero(chosen[0])]
    return tuple(shares)


def needed_slots(request: Request, table: NodeTable) -> Numbers | int:
    """How many tasks one share counts for: 1, or as many as the device carries, (N, W), where nobody else may come."""
    return table.slots if request.exclusive else 1


def needed_memory(request: Request, table: NodeTable) -> Numbers | int:
    """MiB that one share takes: one number for all devices, or (N, W) for a percentage, which is of the metal, rounded down."""
    if request.memory is not None:
        return request.memory
    assert request.percent is not None  # Request's own invariant
    percent: Numbers = np.maximum(table.physical * request.percent // 100, 1)
    return percent


def candidates(request: Request, table: NodeTable, claims: Claims, memory: Numbers | int) -> tuple[Mask, NDArray[np.int8]]:
    """Devices that can hold one share, (N, W), and for each node the Reason of the first test that left too few, (N,)."""
    passed = tests(request, table, claims, memory)
    mask = passed[0][1] & passed[1][1]
    for _, more in passed[2:]:
        mask &= more
    if request.numa_bind:
        passed.append((Reason.NUMA, numa.bound(mask, table, request.count)))
        mask &= passed[-1][1]
    if (count(mask) >= request.count).all():
        return mask, np.zeros(table.shape[0], np.int8)
    return mask, _first_failed(passed, request.count)


def tests(request: Request, table: NodeTable, claims: Claims, memory: Numbers | int) -> list[tuple[Reason, Mask]]:
    """The devices (N, W) that pass each test, in the order of the Reasons: what can never be before what is taken.

    The last one, of NUMA nodes, is a test of what all others left, and not among them.
    """
    slots, free_memory, cores = claims.free(table, request.phases)
    masks = [(Reason.COUNT, table.present), *selected(request.selectors, table), (Reason.HEALTH, table.healthy)]
    if table.any_cordoned:
        masks.append((Reason.CORDON, ~table.cordoned))
    size = (table.largest >= memory) & (table.cores >= request.cores)
    if not isinstance(memory, int) or memory <= table.most_overhead:
        size &= memory > table.overhead  # less than the driver takes of a share is less than nothing
    masks += [(Reason.SIZE, size), (Reason.SLOTS, slots >= 1)]
    if request.exclusive:
        masks.append((Reason.IN_USE, slots >= table.slots))
    masks.append((Reason.MEMORY, free_memory >= memory))
    if request.cores:  # nothing asked is there even where more than all is taken
        masks.append((Reason.CORES, cores >= request.cores))
    return masks


def _first_failed(passed: Sequence[tuple[Reason, Mask]], needed: int) -> NDArray[np.int8]:
    present = passed[0][1]
    reasons = np.zeros(len(present), np.int8)
    left = np.ones_like(present)
    for reason, mask in passed:
        left &= mask
        reasons[(count(left) < needed) & (reasons == FITS)] = reason
    reasons[(reasons == Reason.COUNT) & (count(present) == 0)] = Reason.NO_DEVICE
    return reasons


def _share(request: Request, row: NodeTable, w: int, memory: Numbers | int, splitting: str) -> Share:
    return Share(
        container=request.container,
        kind=request.kind,
        device=row.devices[0][w],
        memory=memory if isinstance(memory, int) else int(memory[0, w]),
        physical=int(row.physical[0, w]),
        cores=request.cores,
        splitting=splitting,
        phases=request.phases,
        exclusive=request.exclusive,
        overhead=int(row.overhead[0, w]),
        options=request.options,
    )
