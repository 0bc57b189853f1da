"""The core's opinion on nodes: the pod's node policy, binpack or spread, as a score. Devices are chosen in ``placement``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core.model import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hami_core.model import Request
    from hami_core.table import NodeTable, Numbers


def score(requests: Sequence[Request], table: NodeTable) -> Score:
    """How full each node would be with the requests on it, 0..1; for spread, how empty.

    The mean over slots, memory and cores of the node's sums. A percentage of memory is one of the node's mean device.
    """
    full = sum(_part(requests, table, name) for name in ("slots", "memory", "cores")) / 3.0
    binpack = not requests or requests[0].policy.node == "binpack"
    return Score(values=np.clip(full if binpack else 1.0 - full, 0.0, 1.0))


def _part(requests: Sequence[Request], table: NodeTable, name: str) -> NDArray[np.float64]:
    total = _by_node(getattr(table, name))
    used = _by_node(getattr(table, f"{name}_used"))
    asked = sum(request.count * _asked(request, table, name) for request in requests)
    part: NDArray[np.float64] = (used + asked) / np.maximum(total, 1)
    return part


def _asked(request: Request, table: NodeTable, name: str) -> NDArray[np.float64] | int:
    if name == "slots":
        return 1
    if name == "cores":
        return request.cores
    if request.memory is not None:
        return request.memory
    assert request.percent is not None  # Request's own invariant
    devices = np.maximum(_by_node(table.present), 1)
    mean: NDArray[np.float64] = _by_node(table.physical) / devices * request.percent / 100
    return mean


def _by_node(column: NDArray[np.generic]) -> Numbers:
    total: Numbers = column.sum(axis=1, dtype=np.int64)
    return total
