"""A table whose rows are written one at a time, while all others stay: how the fleet follows nodes that come, change and go.

What is said once for all nodes (models, NUMA nodes, wirings, the width) is counted, so that it is always what the rows have
now: a table that was changed a thousand times equals one that is built from the same nodes, up to the order of rows and codes.
Spare rows are absent devices. Who holds what is not known here.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from attrs import evolve, frozen

from hami_core import topology
from hami_core.table import TOTALS, UNKNOWN, USED, build, numa_node

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Capacity, Link
    from hami_core.table import Numbers
    from hami_core.topology import Pattern

T = TypeVar("T")

_NUMBERS = (*TOTALS, "largest", "numa", *USED)  # columns that lie in one block, so that a row is written at a stroke
_FLAGS = ("present", "healthy", "cordoned")
_KEPT = len(_NUMBERS) - len(USED)
_SLOTS, _MEMORY, _PHYSICAL, _CORES, _LARGEST, _NUMA = (
    _NUMBERS.index(name) for name in ("slots", "memory", "physical", "cores", "largest", "numa")
)
_FILLED = [_SLOTS, _MEMORY, _CORES]
_TOTALS = attrgetter(*TOTALS)
_ABSENT = np.array([[UNKNOWN if name == "numa" else 0] for name in _NUMBERS])


@frozen(eq=False)
class Common:
    """What one node contributes to what is said once for all of them."""

    models: tuple[str, ...] = ()
    pattern: Pattern | None = None  # None: without devices it is wired in no way
    numa: frozenset[int] = frozenset()
    cordoned: int = 0
    overhead: int = 0


@frozen(eq=False)
class Row:
    """The devices of one node, ready to be written. Arrays are (columns, devices)."""

    ids: tuple[str, ...]
    numbers: Numbers
    flags: NDArray[np.bool_]
    fills: NDArray[np.float64]
    extra: tuple[tuple[int, tuple[tuple[str, float], ...]], ...]  # device -> its values, where it has some
    common: Common


def row(capacities: Sequence[Capacity], links: Sequence[Link] = (), cordoned: Collection[str] = ()) -> Row:
    """What is to be written for a node."""
    if not capacities:
        return NOBODY
    ids = tuple([one.device for one in capacities])
    numa = [numa_node(one) for one in capacities]
    numbers = np.zeros((len(_NUMBERS), len(ids)), np.int64)
    numbers[: len(TOTALS)] = np.array([_TOTALS(one) for one in capacities], np.int64).T
    np.minimum(numbers[_MEMORY], numbers[_PHYSICAL], out=numbers[_LARGEST])
    numbers[_NUMA] = numa
    flags = np.ones((len(_FLAGS), len(ids)), bool)
    flags[1] = [one.healthy for one in capacities]
    flags[2] = [device in cordoned for device in ids] if cordoned else False
    amounts = numbers[_FILLED]
    return Row(
        ids=ids,
        numbers=numbers,
        flags=flags,
        fills=np.divide(1.0, amounts, out=np.ones(amounts.shape), where=amounts > 0),
        extra=tuple([(w, one.extra) for w, one in enumerate(capacities) if one.extra]),
        common=Common(
            models=tuple([one.model for one in capacities]),
            pattern=topology.pattern(ids, links),
            numa=frozenset(numa) - {UNKNOWN},
            cordoned=int(flags[2].sum()) if cordoned else 0,
            overhead=max([one.overhead for one in capacities]),
        ),
    )


NOBODY = Row((), np.zeros((len(_NUMBERS), 0), np.int64), np.zeros((len(_FLAGS), 0), bool), np.ones((3, 0)), (), Common())


class Rows:
    """The writer of one table. ``table`` is always the same object; views of it are made anew after a change."""

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        self._devices: list[tuple[str, ...]] = []
        self._common: list[Common] = []
        self._models: _Codes[str] = _Codes()
        self._patterns: _Codes[Pattern] = _Codes()
        self._numa: Counter[int] = Counter()
        self._widths: Counter[int] = Counter()
        self._cordoned = 0
        self._numbers = np.zeros((len(_NUMBERS), 0, 0), np.int64)
        self._flags = np.zeros((len(_FLAGS), 0, 0), bool)
        self._fills = np.ones((3, 0, 0))
        self.changes = 0  # rises when the table's shape changes, or what is said once for all nodes
        self.table = evolve(build((), columns), devices=self._devices)
        self._resize(0, 0)

    def extend(self, rows: int) -> None:
        """Add spare rows, so that there are so many."""
        spare = rows - len(self._devices)
        self._devices += [()] * spare
        self._common += [NOBODY.common] * spare
        self._widths[0] += spare
        self._resize(rows, self.table.shape[1])

    def same_places(self, n: int, new: Row) -> bool:
        """Whether what is used in row n may stay when this is written there: the same devices, with as many slots."""
        return new.ids == self._devices[n] and bool((new.numbers[_SLOTS] == self.table.slots[n, : len(new.ids)]).all())

    def write(self, n: int, new: Row, *, keep: bool = False) -> None:
        """Put these devices in row n, with nothing used; ``keep``: with what is used now. Names are the fleet's."""
        before, old = self._devices[n], self._common[n]
        self._devices[n], self._common[n] = new.ids, new.common
        self._widen(len(before), len(new.ids))
        self._fill(n, new, _KEPT if keep else len(_NUMBERS))
        self._encode(n, old, new.common)
        self._summarise(old, new.common)
        self.table.rewritten(n, before)

    # --- Cells ---

    def _widen(self, before: int, devices: int) -> None:
        """Have as many columns as the widest node has devices."""
        self._widths[devices] += 1
        self._widths[before] -= 1
        rows, width = self.table.shape
        if devices > width:
            self._resize(rows, devices)
        elif before == width and not self._widths[before]:
            self._resize(rows, max(+self._widths))

    def _resize(self, rows: int, width: int) -> None:
        shape, table = (width, rows), self.table
        self._numbers = _resized(self._numbers, _ABSENT[:, :, np.newaxis], (len(_NUMBERS), *shape))
        self._flags = _resized(self._flags, False, (len(_FLAGS), *shape))
        self._fills = _resized(self._fills, 1.0, (3, *shape))
        for names, block in ((_NUMBERS, self._numbers), (_FLAGS, self._flags)):
            for name, column in zip(names, block, strict=True):
                setattr(table, name, column.T)
        table.fills = self._fills.transpose(0, 2, 1)
        table.model = _resized(table.model.T, 0, shape).T
        table.wired = _resized(table.wired, 0, (rows,))
        table.extra = {name: _resized(column.T, 0, shape).T for name, column in table.extra.items()}
        table.forget()
        self.changes += 1

    def _fill(self, n: int, new: Row, numbers: int) -> None:
        devices = len(new.ids)
        if devices < self.table.shape[1]:
            self._numbers[:numbers, devices:, n] = _ABSENT[:numbers]
            self._flags[:, devices:, n] = False
            self._fills[:, devices:, n] = 1.0
        self._numbers[:numbers, :devices, n] = new.numbers[:numbers]
        self._flags[:, :devices, n] = new.flags
        self._fills[:, :devices, n] = new.fills
        for column in self.table.extra.values():
            column[n] = 0
        for w, values in new.extra:
            for name, value in values:
                if name in self.table.extra:  # a node may run a newer build, whose splitting decides by more
                    self.table.extra[name][n, w] = value

    # --- What is said once for all nodes ---

    def _encode(self, n: int, old: Common, new: Common) -> None:
        """Models and wirings; the new ones before the old are given back, because they are nearly always the same."""
        table = self.table
        before = self._models.changes, self._patterns.changes
        if new.models != old.models:
            codes = {model: self._models.take(model) for model in dict.fromkeys(new.models)}
            table.model[n] = 0
            table.model[n, : len(new.models)] = [codes[model] for model in new.models]
            for model in dict.fromkeys(old.models):
                self._models.drop(model, table.model)
        if new.pattern != old.pattern:
            table.wired[n] = 0 if new.pattern is None else self._patterns.take(new.pattern)
            if old.pattern is not None:
                self._patterns.drop(old.pattern, table.wired)
        if before[0] != self._models.changes:
            table.models = tuple(self._models.values)
        if before[1] != self._patterns.changes or table.wiring.scores.shape[1] != table.shape[1]:
            table.wiring = topology.wiring(self._patterns.values, table.shape[1])
        if before != (self._models.changes, self._patterns.changes):
            self.changes += 1

    def _summarise(self, old: Common, new: Common) -> None:
        table = self.table
        self._cordoned += new.cordoned - old.cordoned
        table.any_cordoned = self._cordoned > 0
        if new.overhead >= table.most_overhead:
            table.most_overhead = new.overhead
        elif old.overhead == table.most_overhead:
            table.most_overhead = int(table.overhead.max(initial=0))
        if old.numa != new.numa:
            self._numa.update(new.numa)
            self._numa.subtract(old.numa)
            numa_nodes = tuple(sorted(+self._numa))
            self.changes += numa_nodes != table.numa_nodes
            table.numa_nodes = numa_nodes


def _resized(block: NDArray[Any], nothing: object, shape: tuple[int, ...]) -> NDArray[Any]:
    """A block of this shape with what the old one had; ``nothing`` where that had no place."""
    new = np.empty(shape, block.dtype)
    new[...] = nothing
    common = tuple(slice(min(one, other)) for one, other in zip(block.shape, shape, strict=True))
    new[common] = block[common]
    return new


class _Codes(Generic[T]):
    """Numbers from 0 for the different values that rows have, without gaps. A row takes each of its values once."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self.changes = 0
        self._codes: dict[T, int] = {}
        self._uses: list[int] = []

    def take(self, value: T) -> int:
        """The number of a value, used once more."""
        code = self._codes.get(value)
        if code is None:
            code = self._codes[value] = len(self.values)
            self.values.append(value)
            self._uses.append(0)
            self.changes += 1
        self._uses[code] += 1
        return code

    def drop(self, value: T, column: NDArray[np.int32]) -> None:
        """It is used once less. The last number takes the place of one that nobody uses any more, in the column too."""
        code = self._codes[value]
        self._uses[code] -= 1
        if self._uses[code]:
            return
        self.changes += 1
        del self._codes[value]
        last, uses = self.values.pop(), self._uses.pop()
        if code < len(self.values):
            column[column == len(self.values)] = code
            self.values[code], self._uses[code], self._codes[last] = last, uses, code
