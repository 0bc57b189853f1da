"""What a pod will take of its namespace's quota, before it is placed: the least and the most on every node at once.

A percentage is as many MiB as the device that it meets says, and containers that run one after the other take less where they
share a device. Where least and most differ and the quota lies between them, only placing tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core import placement
from hami_scheduler.quota import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hami_core.decision import Ask, Tables, Verdict
    from hami_core.model import Fit, Mask, Request
    from hami_core.table import NodeTable
    from hami_scheduler.quota import Amounts, Limit

    Numbers = NDArray[np.int64]

_MUCH = np.int64(2**53)


def surely(asked: Ask, verdict: Verdict, tables: Tables, limits: Sequence[Limit], used: Amounts) -> tuple[Mask, Mask]:
    """Where the pod passes no limit however it is placed, and where it passes one in any case: (within, over), each (N,)."""
    nodes = len(verdict.nodes)
    within, over = np.ones(nodes, bool), np.zeros(nodes, bool)
    for limit in limits:
        role = ROLES.index(limit.role)
        least, most = _claims(asked, verdict, tables, limit.role)
        left = -1 if limit.fault else limit.amount - used[role]
        within &= (most == 0) | (most <= left)
        over |= (least > 0) & (least > left)
        if limit.fault:
            over[:] = True
    return within & ~over, over


def _claims(asked: Ask, verdict: Verdict, tables: Tables, role: str) -> tuple[Numbers, Numbers]:
    """The least and the most that the pod can take of one role on every node, (N,)."""
    nodes = len(verdict.nodes)
    if len(asked.ways) != 1 or len(asked.ways[0]) != 1:
        return np.zeros(nodes, np.int64), np.full(nodes, _MUCH)
    (splitting, requests), fit = asked.ways[0][0], verdict.fits[0][0]
    table = tables[asked.kind.name, splitting.name]
    ranges = [_range(request, r, fit, table, role) for r, request in enumerate(requests)]
    phases = {phase for request in requests for phase in request.phases}
    together = [
        sum((low for request, (low, _) in zip(requests, ranges, strict=True) if phase in request.phases), np.int64(0))
        for phase in phases
    ]
    least = np.maximum.reduce([np.broadcast_to(one, (nodes,)) for one in together])
    return least, np.broadcast_to(sum((high for _, high in ranges), np.int64(0)), (nodes,))


def _range(request: Request, r: int, fit: Fit, table: NodeTable, role: str) -> tuple[Numbers | int, Numbers | int]:
    if role != "memory":
        amount = request.count * (request.cores if role == "cores" else 1)
        return amount, amount
    memory = placement.needed_memory(request, table)
    if isinstance(memory, int):
        return request.count * memory, request.count * memory
    low = np.where(fit.devices[r], memory, _MUCH).min(axis=1, initial=int(_MUCH))
    high = np.where(fit.devices[r], memory, 0).max(axis=1, initial=0)
    return request.count * np.minimum(low, high), request.count * high
