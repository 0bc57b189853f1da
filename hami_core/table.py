"""Columns of devices: what decisions look at. One table per (kind, splitting); its owner is the ledger, or the fleet.

Shapes: N nodes by W devices of the widest node, in Fortran order, so that one device column of all nodes is contiguous
(45 us against 121 for a simple fit at 5,000 x 8). A node with fewer devices is padded with absent ones of no capacity.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import Factory, define, field

from hami_core.topology import wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Capacity, Link, Mask
    from hami_core.topology import Wiring

    Numbers = NDArray[np.int64]

UNKNOWN = -1  # the NUMA node of a device of which nobody says
TOTALS = ("slots", "memory", "physical", "cores", "overhead")
USED = ("slots_used", "memory_used", "cores_used")


@define(eq=False)
class Places:
    """Where the device of an id stands, (n, w) for each node that has one. The index is made at the first question."""

    devices: Sequence[Sequence[str]]
    _known: dict[str, list[tuple[int, int]]] | None = field(default=None, init=False)

    def of(self, device: str) -> Sequence[tuple[int, int]]:
        """Of one id."""
        if self._known is None:
            self._known = {}
            for n, ids in enumerate(self.devices):
                self._enter(n, ids)
        return self._known.get(device, ())

    def move(self, n: int, before: Sequence[str], after: Sequence[str]) -> None:
        """The node in row n has other devices now."""
        if self._known is None:
            return
        for w, device in enumerate(before):
            there = self._known[device]
            there.remove((n, w))
            if not there:
                del self._known[device]
        self._enter(n, after)

    def _enter(self, n: int, ids: Sequence[str]) -> None:
        assert self._known is not None  # both callers have looked
        for w, device in enumerate(ids):
            self._known.setdefault(device, []).append((n, w))


@define(eq=False)
class NodeTable:
    """Devices of one kind and splitting on all nodes, as columns (N, W). Units as in ``model``: MiB, percent, counts.

    ``*_used`` is what holdings have taken, and changes only through ``take``; everything else is fixed, but for whole rows that
    the fleet rewrites (``rows``). A hook gets the table with all columns locked against writing. Texts are few: ``model`` and
    ``wired`` are indexes into them. A row without a name is spare: nobody is there, and it has no device.
    """

    nodes: Sequence[str]
    devices: Sequence[tuple[str, ...]]  # ids by node, as long as the node has devices
    models: tuple[str, ...]  # every different one
    numa_nodes: tuple[int, ...]  # every number that is known, rising
    wiring: Wiring  # how devices are connected, K different ways
    wired: NDArray[np.int32]  # (N,): which of them a node has
    present: Mask
    healthy: Mask
    cordoned: Mask  # taken out of service by the operator: what runs stays, nothing new comes
    model: NDArray[np.int32]  # index into ``models``
    numa: Numbers
    slots: Numbers
    memory: Numbers
    physical: Numbers
    cores: Numbers
    overhead: Numbers
    largest: Numbers  # MiB that one share may have: however much is handed out, nobody can use more than there is
    most_overhead: int  # of any device
    any_cordoned: bool
    fills: NDArray[np.float64]  # (3, N, W): how much one slot, one MiB, one percent of cores fill the device; 1 is full
    slots_used: Numbers
    memory_used: Numbers
    cores_used: Numbers
    extra: Mapping[str, NDArray[Any]]
    _view: NodeTable | None = field(default=None, init=False, repr=False)
    _row: tuple[int, NodeTable] | None = field(default=None, init=False, repr=False)
    _totals: dict[str, Numbers] = field(factory=dict, init=False, repr=False)
    _places: Places = field(init=False, repr=False, default=Factory(lambda self: Places(self.devices), takes_self=True))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, W)."""
        n, w = self.present.shape
        return n, w

    def row(self, node: int) -> NodeTable:
        """One node as a table of one row. Shares memory with this table. The last one is kept: many pods go to one node."""
        if self._row is None or self._row[0] != node:
            rows = slice(node, node + 1)
            window = self._rows(rows, self.nodes[rows], self.devices[rows])
            if self._view is self:
                window._view = window  # what is seen through a lock is locked
            self._row = (node, window)
        return self._row[1]

    def some(self, rows: NDArray[np.intp]) -> NodeTable:
        """A few nodes as a table, in this order. A copy: it does not follow this table."""
        return self._rows(rows, [self.nodes[n] for n in rows], [self.devices[n] for n in rows])

    def _rows(self, rows: Any, nodes: Sequence[str], devices: Sequence[tuple[str, ...]]) -> NodeTable:
        columns = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return NodeTable(
            nodes=nodes,
            devices=devices,
            models=self.models,
            numa_nodes=self.numa_nodes,
            wiring=self.wiring,
            most_overhead=self.most_overhead,
            any_cordoned=self.any_cordoned,
            fills=self.fills[:, rows],
            extra={name: column[rows] for name, column in self.extra.items()},
            **columns,
        )

    def places(self, device: str) -> Sequence[tuple[int, int]]:
        """Where the device of this id stands: (n, w) for each node that has one."""
        return self._places.of(device)

    def total(self, name: str) -> Numbers:
        """The sum of one of the TOTALS over each node's devices, (N,). Made at the first question."""
        if name not in self._totals:
            self._totals[name] = getattr(self, name).sum(axis=1, dtype=np.int64)
        return self._totals[name]

    def rewritten(self, n: int, before: Sequence[str]) -> None:
        """A row has been written, where these devices were before: what was made of the old one is forgotten."""
        self._places.move(n, before, self.devices[n])
        self.forget()

    def forget(self) -> None:
        """Columns are others now: what was made of the old ones is made anew."""
        self._view = self._row = None
        self._totals = {}

    def idle(self) -> NodeTable:
        """The same devices with nothing taken: what could ever fit. Shares memory with this table, except what is used."""
        return self._with({name: np.zeros_like(getattr(self, name)) for name in USED})

    def locked(self) -> NodeTable:
        """A view whose columns cannot be written; it follows this table. Made once: hooks are asked often."""
        if self._view is None:
            self._view = self._with({name: _locked(getattr(self, name)) for name in ("fills", *_ARRAYS)})
            self._view.extra = {name: _locked(column) for name, column in self.extra.items()}
            self._view._view = self._view
        return self._view

    def _with(self, columns: Mapping[str, NDArray[Any]]) -> NodeTable:
        other = copy(self)
        other._view = other._row = None
        for name, column in columns.items():
            setattr(other, name, column)
        return other

    def take(self, node: int, device: int, slots: int, memory: int, cores: int) -> None:
        """Change what is used on one device; negative amounts give back. Only the ledger calls this."""
        self.slots_used[node, device] += slots
        self.memory_used[node, device] += memory
        self.cores_used[node, device] += cores


def count(mask: Mask) -> NDArray[np.uint16]:
    """True devices by node, (N,). Summed as small integers: bool sums widen to 64 bits first, which is four times slower."""
    total: NDArray[np.uint16] = mask.view(np.uint8).sum(axis=1, dtype=np.uint16)
    return total


_ARRAYS = ("wired", "present", "healthy", "cordoned", "model", "numa", *TOTALS, "largest", *USED)
_NOTHING: Mapping[str, Any] = {}


def build(
    rows: Sequence[tuple[str, Sequence[Capacity]]],
    columns: Sequence[tuple[str, str]] = (),
    *,
    links: Mapping[str, Sequence[Link]] = _NOTHING,
    cordoned: Mapping[str, Collection[str]] = _NOTHING,
) -> NodeTable:
    """The table of these nodes, nothing used yet. ``columns``: the splitting's extra columns (name, numpy dtype).

    By node, where there is something to say: ``links`` between its devices, and the ids of those that are ``cordoned``.
    """
    table = _blank(rows, columns, links)
    codes = {model: code for code, model in enumerate(table.models)}
    for n, (node, capacities) in enumerate(rows):
        for w, capacity in enumerate(capacities):
            _write(table, n, w, capacity)
            table.model[n, w] = codes[capacity.model]
            table.cordoned[n, w] = capacity.device in cordoned.get(node, ())
    table.any_cordoned = bool(table.cordoned.any())
    np.minimum(table.memory, table.physical, out=table.largest)
    for part, column in zip(table.fills, (table.slots, table.memory, table.cores), strict=True):
        np.divide(1.0, column, out=part, where=column > 0)
    return table


def _blank(
    rows: Sequence[tuple[str, Sequence[Capacity]]], columns: Sequence[tuple[str, str]], links: Mapping[str, Sequence[Link]]
) -> NodeTable:
    """The table of these nodes, its columns still to be filled in."""
    every = [capacity for _, capacities in rows for capacity in capacities]
    devices = tuple(tuple(capacity.device for capacity in capacities) for _, capacities in rows)
    shape = (len(rows), max(map(len, devices), default=0))
    wiring, wired = wire([(ids, links.get(node, ())) for (node, _), ids in zip(rows, devices, strict=True)], shape[1])
    return NodeTable(
        nodes=tuple(node for node, _ in rows),
        devices=devices,
        models=tuple(dict.fromkeys(capacity.model for capacity in every)),
        numa_nodes=tuple(sorted({numa_node(capacity) for capacity in every} - {UNKNOWN})),
        wiring=wiring,
        wired=wired,
        any_cordoned=False,
        most_overhead=max((capacity.overhead for capacity in every), default=0),
        model=np.zeros(shape, np.int32, order="F"),
        numa=np.full(shape, UNKNOWN, np.int64, order="F"),
        fills=np.ones((3, *reversed(shape))).transpose(0, 2, 1),
        extra={name: np.zeros(shape, dtype, order="F") for name, dtype in columns},
        present=np.zeros(shape, bool, order="F"),
        healthy=np.zeros(shape, bool, order="F"),
        cordoned=np.zeros(shape, bool, order="F"),
        **{name: np.zeros(shape, np.int64, order="F") for name in (*TOTALS, "largest", *USED)},
    )


def _write(table: NodeTable, n: int, w: int, capacity: Capacity) -> None:
    table.present[n, w] = True
    table.healthy[n, w] = capacity.healthy
    table.numa[n, w] = numa_node(capacity)
    for name in TOTALS:
        getattr(table, name)[n, w] = getattr(capacity, name)
    for name, value in capacity.extra:
        table.extra[name][n, w] = value


def numa_node(capacity: Capacity) -> int:
    """Unknown is no node: never node 0, and never the same node as another unknown. The kernel says -1."""
    return UNKNOWN if capacity.numa is None or capacity.numa < 0 else capacity.numa


def _locked(column: NDArray[Any]) -> NDArray[Any]:
    view = column.view()
    view.flags.writeable = False
    return view
