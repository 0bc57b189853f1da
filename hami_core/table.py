"""Columns of devices: what decisions look at. One table per (kind, splitting); its owner is the ledger.

Shapes: N nodes by W devices of the widest node, in Fortran order, so that one device column of all nodes is contiguous
(45 us against 121 for a simple fit at 5,000 x 8). A node with fewer devices is padded with absent ones of no capacity.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Capacity, Mask

    Numbers = NDArray[np.int64]

TOTALS = ("slots", "memory", "physical", "cores", "overhead")
USED = ("slots_used", "memory_used", "cores_used")


@define(eq=False)
class NodeTable:
    """Devices of one kind and splitting on all nodes, as columns (N, W). Units as in ``model``: MiB, percent, counts.

    ``*_used`` is what holdings have taken, and changes only through ``take``; everything else is fixed. A hook gets the table
    with all columns locked against writing.
    """

    nodes: tuple[str, ...]
    devices: tuple[tuple[str, ...], ...]  # ids by node, as long as the node has devices
    models: tuple[tuple[str, ...], ...]
    present: Mask
    healthy: Mask
    numa: Numbers  # -1: unknown
    slots: Numbers
    memory: Numbers
    physical: Numbers
    cores: Numbers
    overhead: Numbers
    slots_used: Numbers
    memory_used: Numbers
    cores_used: Numbers
    extra: Mapping[str, NDArray[Any]]
    _view: NodeTable | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, W)."""
        n, w = self.present.shape
        return n, w

    def row(self, node: int) -> NodeTable:
        """One node as a table of one row. Shares memory with this table."""
        columns = {name: getattr(self, name)[node : node + 1] for name in _ARRAYS}
        return NodeTable(
            nodes=self.nodes[node : node + 1],
            devices=self.devices[node : node + 1],
            models=self.models[node : node + 1],
            extra={name: column[node : node + 1] for name, column in self.extra.items()},
            **columns,
        )

    def idle(self) -> NodeTable:
        """The same devices with nothing taken: what could ever fit. Shares memory with this table, except what is used."""
        return self._with({name: np.zeros_like(getattr(self, name)) for name in USED})

    def locked(self) -> NodeTable:
        """A view whose columns cannot be written; it follows this table. Made once: hooks are asked often."""
        if self._view is None:
            self._view = self._with({name: _locked(getattr(self, name)) for name in _ARRAYS})
            self._view.extra = {name: _locked(column) for name, column in self.extra.items()}
            self._view._view = self._view
        return self._view

    def _with(self, columns: Mapping[str, NDArray[Any]]) -> NodeTable:
        other = copy(self)
        other._view = None
        for name, column in columns.items():
            setattr(other, name, column)
        return other

    def take(self, node: int, device: int, slots: int, memory: int, cores: int) -> None:
        """Change what is used on one device; negative amounts give back. Only the ledger calls this."""
        self.slots_used[node, device] += slots
        self.memory_used[node, device] += memory
        self.cores_used[node, device] += cores


_ARRAYS = ("present", "healthy", "numa", *TOTALS, *USED)


def build(rows: Sequence[tuple[str, Sequence[Capacity]]], columns: Sequence[tuple[str, str]] = ()) -> NodeTable:
    """The table of these nodes, nothing used yet. ``columns``: the splitting's extra columns (name, numpy dtype)."""
    shape = (len(rows), max((len(capacities) for _, capacities in rows), default=0))
    table = NodeTable(
        nodes=tuple(node for node, _ in rows),
        devices=tuple(tuple(capacity.device for capacity in capacities) for _, capacities in rows),
        models=tuple(tuple(capacity.model for capacity in capacities) for _, capacities in rows),
        present=np.zeros(shape, bool, order="F"),
        healthy=np.zeros(shape, bool, order="F"),
        numa=np.full(shape, -1, np.int64, order="F"),
        extra={name: np.zeros(shape, dtype, order="F") for name, dtype in columns},
        **{name: np.zeros(shape, np.int64, order="F") for name in (*TOTALS, *USED)},
    )
    for n, (_, capacities) in enumerate(rows):
        for w, capacity in enumerate(capacities):
            _write(table, n, w, capacity)
    return table


def _write(table: NodeTable, n: int, w: int, capacity: Capacity) -> None:
    table.present[n, w] = True
    table.healthy[n, w] = capacity.healthy
    table.numa[n, w] = -1 if capacity.numa is None else capacity.numa
    for name in TOTALS:
        getattr(table, name)[n, w] = getattr(capacity, name)
    for name, value in capacity.extra:
        table.extra[name][n, w] = value


def _locked(column: NDArray[Any]) -> NDArray[Any]:
    view = column.view()
    view.flags.writeable = False
    return view
