"""The core's opinion on nodes: the pod's node policy, binpack or spread, and connections where the pod asks for them.

Devices are chosen in ``choice``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core import choice
from hami_core.model import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hami_core.model import Fit, Mask, Request
    from hami_core.table import NodeTable, Numbers

CONNECTED = 2.0  # how much connections weigh against the node policy: a set that is in pieces loses to one that is whole


def score(requests: Sequence[Request], table: NodeTable, fit: Fit) -> Score:
    """How full each node would be with the requests on it, 0..1; for spread, how empty.

    The mean over slots, memory and cores of the node's sums. A percentage of memory is one of the mean device that could hold
    the share. Where a request is ``topology-aware`` and nodes differ in that, two thirds are how its devices are connected.
    """
    full = sum(_part(requests, table, fit, name) for name in ("slots", "memory", "cores")) / 3.0
    binpack = not requests or requests[0].policy.node == "binpack"
    values = np.clip(full if binpack else 1.0 - full, 0.0, 1.0)
    connected = [
        _connected(request, mask, table)
        for request, mask in zip(requests, fit.devices, strict=True)
        if choice.topological(request, table)
    ]
    if connected:
        values = (values + CONNECTED * sum(connected) / len(connected)) / (1.0 + CONNECTED)
    return Score(values=values)


def _connected(request: Request, mask: Mask, table: NodeTable) -> NDArray[np.float64]:
    """The score of the best set in parts of the best that any pairs could have, (N,); for one device, what it leaves whole."""
    pairs = request.count * (request.count - 1) // 2 or max(table.shape[1] - 1, 1)
    part: NDArray[np.float64] = choice.score(request, mask, table) / (pairs * table.wiring.top)
    return part if request.count > 1 else 1.0 - part


def _part(requests: Sequence[Request], table: NodeTable, fit: Fit, name: str) -> NDArray[np.float64]:
    total = table.total(name)
    used = _by_node(getattr(table, f"{name}_used"))
    asked = sum(request.count * _asked(request, mask, table, name) for request, mask in zip(requests, fit.devices, strict=True))
    part: NDArray[np.float64] = (used + asked) / np.maximum(total, 1)
    return part


def _asked(request: Request, mask: Mask, table: NodeTable, name: str) -> NDArray[np.float64] | int:
    if name == "slots":
        return _mean(table.slots, mask) if request.exclusive else 1
    if name == "cores":
        return request.cores
    if request.memory is not None:
        return request.memory
    assert request.percent is not None  # Request's own invariant
    return _mean(table.physical, mask) * request.percent / 100


def _mean(column: Numbers, mask: Mask) -> NDArray[np.float64]:
    """Of the masked devices of each node, (N,); 0 where there is none."""
    mean: NDArray[np.float64] = _by_node(column * mask) / np.maximum(_by_node(mask), 1)
    return mean


def _by_node(column: NDArray[np.generic]) -> Numbers:
    total: Numbers = column.sum(axis=1, dtype=np.int64)
    return total
