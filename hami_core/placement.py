"""The arithmetic of fit and place: all nodes at once, by count, health, slots, memory and cores. Knows no vendor.

Fit and place share one choice of devices, so a node fits if and only if placing on it succeeds. Requests are placed in their
order; each is counted in the phases of the pod in which its container runs, so an init container and a main container may
use the same memory one after the other. A pod's claim on a device is the largest of its phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import Factory, define

from hami_core.model import Fit, Reason, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hami_core.model import Mask, Request
    from hami_core.table import NodeTable, Numbers

FITS = int(Reason.FITS)  # numpy asks an enum's member for a dozen attributes before it compares with it
HELD = 10.0  # added to the rank of devices that the pod holds in another phase; above any fullness (0..1), so they come first


@define(eq=False)
class Claims:
    """What one pod has taken so far on every node, by phase: columns (N, W) of slots, memory and cores."""

    by_phase: dict[int, tuple[Numbers, Numbers, Numbers]] = Factory(dict)

    def add(self, request: Request, chosen: Mask, memory: Numbers | int) -> None:
        """Count one share of a request on every chosen device."""
        for phase in request.phases:
            slots, used, cores = self.by_phase.get(phase) or tuple(np.zeros_like(chosen, np.int64) for _ in range(3))
            self.by_phase[phase] = (slots + chosen, used + chosen * memory, cores + chosen * request.cores)

    def during(self, phases: Sequence[int]) -> tuple[Numbers | int, Numbers | int, Numbers | int]:
        """The most that is taken of slots, memory and cores in any of these phases; 0 where nothing is."""
        taken = [self.by_phase[phase] for phase in phases if phase in self.by_phase]
        if not taken:
            return 0, 0, 0
        slots, memory, cores = (np.maximum.reduce(columns) for columns in zip(*taken, strict=True))
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
            claims.add(request, choose(request, devices[r], table, claims), memory)
    return Fit(nodes=reasons == FITS, reasons=reasons, devices=devices)


def place(requests: Sequence[Request], row: NodeTable, splitting: str) -> tuple[Share, ...]:
    """The devices of one node for all requests, or () if they do not fit. Shares in the order of requests, then of devices."""
    claims = Claims()
    shares: list[Share] = []
    for r, request in enumerate(requests):
        memory = needed_memory(request, row)
        mask, failed = candidates(request, row, claims, memory)
        if failed[0] != FITS:
            return ()
        chosen = choose(request, mask, row, claims)
        if r + 1 < len(requests):
            claims.add(request, chosen, memory)
        shares += [_share(request, row, int(w), memory, splitting) for w in np.flatnonzero(chosen[0])]
    return tuple(shares)


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
    mask = passed[0] & passed[1]
    for more in passed[2:]:
        mask &= more
    if (count(mask) >= request.count).all():
        return mask, np.zeros(table.shape[0], np.int8)
    return mask, _first_failed(passed, request.count)


REASONS = (Reason.COUNT, Reason.HEALTH, Reason.SIZE, Reason.SLOTS, Reason.MEMORY, Reason.CORES)


def tests(request: Request, table: NodeTable, claims: Claims, memory: Numbers | int) -> list[Mask]:
    """Masks (N, W) in the order of REASONS: what a person would want to hear first, what can never be before what is taken."""
    slots, free_memory, cores = claims.free(table, request.phases)
    metal = (table.physical >= memory) & (memory > table.overhead)  # nobody can use more than there is, nor less than nothing
    size = metal & (table.memory >= memory) & (table.cores >= request.cores)
    masks = [table.present, table.healthy, size, slots >= 1, free_memory >= memory]
    if request.cores:  # nothing asked is there even where more than all is taken
        masks.append(cores >= request.cores)
    return masks


def _first_failed(passed: Sequence[Mask], needed: int) -> NDArray[np.int8]:
    reasons = np.zeros(len(passed[0]), np.int8)
    left = np.ones_like(passed[0])
    for reason, mask in zip(REASONS, passed, strict=False):
        left &= mask
        reasons[(count(left) < needed) & (reasons == FITS)] = reason
    reasons[(reasons == Reason.COUNT) & (count(passed[0]) == 0)] = Reason.NO_DEVICE
    return reasons


def choose(request: Request, mask: Mask, table: NodeTable, claims: Claims) -> Mask:
    """The ``count`` best of the masked devices on every node, (N, W); fewer where fewer are masked.

    Best by the device policy: the fullest for binpack, the emptiest for spread; devices that the pod holds in another phase
    first, because using them again costs nothing. Equals keep the order of the devices.
    """
    rank = _fullness(table, claims)
    if request.policy.device == "spread":
        rank = 1.0 - rank
    if any(phase not in request.phases for phase in claims.by_phase):
        rank = rank + HELD * claims.outside(request.phases, mask)
    order = np.argsort(np.where(mask, -rank, np.inf), axis=1, kind="stable")[:, : request.count]
    chosen = np.zeros_like(mask)
    chosen[np.arange(len(mask))[:, np.newaxis], order] = True
    return chosen & mask


def _fullness(table: NodeTable, claims: Claims) -> NDArray[np.float64]:
    """0 for an idle device, 1 for one without anything left: the mean over slots, memory and cores."""
    claimed = claims.during(tuple(claims.by_phase))
    slots = (table.slots_used + claimed[0]) / np.maximum(table.slots, 1)
    memory = (table.memory_used + claimed[1]) / np.maximum(table.memory, 1)
    cores = (table.cores_used + claimed[2]) / np.maximum(table.cores, 1)
    full: NDArray[np.float64] = (slots + memory + cores) / 3.0
    return full


def count(mask: Mask) -> NDArray[np.uint16]:
    """True devices by node, (N,). Summed as small integers: bool sums widen to 64 bits first, which is four times slower."""
    total: NDArray[np.uint16] = mask.view(np.uint8).sum(axis=1, dtype=np.uint16)
    return total


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
        overhead=int(row.overhead[0, w]),
        options=request.options,
    )
