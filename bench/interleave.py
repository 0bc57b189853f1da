"""Measured by turns: what is measured and its baseline alternate, so that a busy machine slows both alike.

A bench module of this folder has a function ``rows()`` that gives ``Row`` values; ``python -m bench`` prints them in one table.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@frozen
class Measured:
    """What one candidate took: seconds for one call, a value for each round, in the order of the rounds.

    Or what else was measured of it, in the unit that its row names.
    """

    values: Sequence[float]

    @property
    def least(self) -> float:
        """Of seconds the best round: what the machine can do undisturbed."""
        return min(self.values)

    @property
    def median(self) -> float:
        """The round in the middle."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """From the first to the last decile, as a part of the median."""
        if len(self.values) == 1:
            return 0.0
        deciles = statistics.quantiles(self.values, n=10, method="inclusive")
        width = deciles[-1] - deciles[0]
        return width and width / self.median


@frozen
class Row:
    """One line of the table. ``ratio``: the median over rounds of what was measured by its baseline's; None: it has none."""

    subject: str
    name: str
    measured: Measured
    baseline: str = ""
    ratio: float | None = None
    goal: float | None = None  # what the median may be at most
    unit: str = ""  # of the values and the goal; empty: seconds


def interleave(candidates: Mapping[str, Callable[[], object]], rounds: int, calls: int = 1) -> dict[str, Measured]:
    """Time every candidate in every round, ``calls`` at a time, the order turning. One round before is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name in _turned(list(candidates), number):
            seconds = _timed(candidates[name], calls)
            if number:
                taken[name].append(seconds)
    return {name: Measured(seconds) for name, seconds in taken.items()}


def compare(
    subject: str,
    baseline: tuple[str, Callable[[], object]],
    candidates: Mapping[str, tuple[Callable[[], object], float | None]],
    rounds: int,
    calls: int = 1,
) -> list[Row]:
    """The rows of candidates (name -> call, goal in seconds or None) beside their baseline, which comes first."""
    name, call = baseline
    timings = interleave({name: call, **{other: candidate for other, (candidate, _) in candidates.items()}}, rounds, calls)
    rows = [Row(subject, name, timings[name])]
    for other, (_, goal) in candidates.items():
        rows.append(Row(subject, other, timings[other], name, ratio(timings[other], timings[name]), goal))
    return rows


def ratio(measured: Measured, baseline: Measured) -> float:
    """The median of the rounds' ratios: each round is compared with its own moment."""
    return statistics.median(one / other for one, other in zip(measured.values, baseline.values, strict=True))


def table(rows: Sequence[Row]) -> str:
    """The rows as text, a line each."""
    baselines = {(row.subject, row.baseline) for row in rows}
    cells = [_cells(row, is_baseline=(row.subject, row.name) in baselines) for row in rows]
    lines = [("", "", "min", "median", "spread", "ratio", "goal"), *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n < 2 else cell.rjust(width) for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _turned(names: list[str], by: int) -> list[str]:
    at = by % len(names)
    return names[at:] + names[:at]


def _timed(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _cells(row: Row, *, is_baseline: bool) -> tuple[str, ...]:
    found = row.measured
    without = "baseline" if is_baseline else ""
    ratio = without if row.ratio is None else f"{row.ratio:.3g} x"
    goal = "" if row.goal is None else f"{'kept' if found.median <= row.goal else 'MISSED'}: {_amount(row.goal, row.unit)}"
    least, median = _amount(found.least, row.unit), _amount(found.median, row.unit)
    return row.subject, row.name, least, median, f"{found.spread:.0%}", ratio, goal


def _amount(value: float, unit: str) -> str:
    if not unit:
        return _time(value)
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
