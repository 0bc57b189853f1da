"""Devices of one NUMA node: which nodes have enough of them, and which of those is best.

A device of which nobody says where it is belongs to no NUMA node, and never satisfies a binding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hami_core.table import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Mask
    from hami_core.table import NodeTable, Numbers


def groups(mask: Mask, table: NodeTable) -> Iterator[Mask]:
    """The masked devices of each NUMA node, (N, W) each, in the order of ``table.numa_nodes``."""
    return (mask & (table.numa == number) for number in table.numa_nodes)


def bound(mask: Mask, table: NodeTable, needed: int) -> Mask:
    """The masked devices that have enough masked neighbours on their NUMA node, (N, W)."""
    enough = np.zeros_like(mask)
    for group in groups(mask, table):
        enough |= group & (count(group) >= needed)[:, np.newaxis]
    return enough


def most(mask: Mask, table: NodeTable) -> NDArray[np.uint16]:
    """How many masked devices the NUMA node with most of them has, (N,)."""
    counts = [count(group) for group in groups(mask, table)]
    return np.maximum.reduce(counts) if counts else np.zeros(len(mask), np.uint16)


def ranks(mask: Mask, table: NodeTable, needed: int, merits: Sequence[Sequence[Numbers]]) -> Numbers:
    """Each device's NUMA node by its place among those of its node, 0 the best, (N, W); the unknown come last.

    The best has enough masked devices, or else most of them; then the lowest merits, compared one after the other; then the
    fewest devices, so that larger groups stay whole; then the lowest number. ``merits``: (N,) values, for each NUMA node.
    """
    counts = [count(group).astype(np.int64) for group in groups(mask, table)]
    place = np.full(mask.shape, len(counts), np.int64)
    if not counts:
        return place
    columns = [[-np.minimum(number, needed) for number in counts], *zip(*merits, strict=True), counts]
    order = np.lexsort([np.stack(column, axis=1) for column in reversed(columns)], axis=1)
    rank = np.argsort(order, axis=1)
    for at, number in enumerate(table.numa_nodes):
        place = np.where(table.numa == number, rank[:, at : at + 1], place)
    return place
