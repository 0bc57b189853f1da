"""The nodes of a fleet judged for one pod after the other, most of which ask for the same.

Between two decisions a few rows change: what was said of the others stands. That holds because a hook's answer on a node
depends on the node's row, and on what its table says once for all nodes (``hookspecs``). Containers' names decide nothing, so
that the pods of all users who ask for the same numbers are judged once; hooks are shown their places in the pod instead.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

import attrs
import numpy as np
from attrs import evolve, frozen

from hami_core import decision
from hami_core.decision import Ask, Verdict
from hami_core.model import Fit, Request

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray
    from pluggy import HookRelay

    from hami_core.decision import Tables
    from hami_core.fleet import Fleet
    from hami_core.table import NodeTable

T = TypeVar("T", bound=np.generic)

MOST = 64  # different demands that are remembered: 0.1 MB each at 5,000 nodes of 8 devices
FEW = 8  # all rows are judged anew where more than this part of them has changed
SMALL = 800  # and always up to so many: a part costs 0.15 ms however small it is, and all of them no more


@frozen(eq=False)
class Judged:
    """All rows of the fleet, judged for what a pod asks: a Verdict for each Ask, and the sum of their ranks, (N,).

    Values of one moment: they are neither changed later nor to be written.
    """

    verdicts: tuple[Verdict, ...]
    ranks: NDArray[np.float64]


@frozen(eq=False)
class _Known:
    """What was said when the fleet had this version."""

    version: int
    asks: tuple[Ask, ...]  # without names
    judged: Judged


class Judge:
    """Asks the hooks, and remembers what they said. For one fleet and one owner."""

    def __init__(self, hook: HookRelay, fleet: Fleet, most: int = MOST, small: int = SMALL) -> None:
        self._hook = hook
        self._fleet = fleet
        self._most = most
        self._small = small
        self._known: dict[Hashable, _Known] = {}  # the one that was used last is the last

    def judged(self, asks: Sequence[Ask]) -> Judged:
        """All rows as they are now, as ``decision.judge`` and ``decision.rank`` would say."""
        key = tuple((asked.kind.name, asked.splittings, tuple(map(_WHAT, asked.requests))) for asked in asks)
        known = self._known.pop(key, None)
        if known is None:
            nameless = tuple(map(_nameless, asks))
            known = _Known(self._fleet.version, nameless, self._all(nameless, self._fleet.tables))
        elif known.version != self._fleet.version:
            known = _Known(self._fleet.version, known.asks, self._again(known))
        self._known[key] = known
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]
        return known.judged

    def _again(self, known: _Known) -> Judged:
        rows = self._fleet.changed(known.version)
        nodes = len(known.judged.ranks)
        if rows is None or nodes <= self._small or len(rows) * FEW > nodes:
            return self._all(known.asks, self._fleet.tables)
        return _merged(known.judged, self._all(known.asks, self._some(known.asks, rows)), rows)

    def _all(self, asks: Sequence[Ask], columns: Tables) -> Judged:
        verdicts = tuple(decision.judge(self._hook, asked, columns) for asked in asks)
        ranks = [decision.rank(self._hook, asked, columns, one) for asked, one in zip(asks, verdicts, strict=True)]
        return Judged(verdicts, ranks[0] if len(ranks) == 1 else np.sum(ranks, axis=0))

    def _some(self, asks: Sequence[Ask], rows: NDArray[np.intp]) -> Tables:
        """Tables of these rows alone, of the kinds that are asked for."""
        keys = {(asked.kind.name, splitting.name) for asked in asks for splitting in asked.splittings}
        return {key: _part(self._fleet.tables[key].locked(), rows) for key in keys}


_WHAT = attrgetter(*(one.name for one in attrs.fields(Request) if one.name not in ("container", "notes")))


def _nameless(asked: Ask) -> Ask:
    """The same without what no decision reads."""
    requests = (evolve(request, container=str(place), notes=()) for place, request in enumerate(asked.requests))
    return Ask(asked.kind, asked.splittings, tuple(requests))


def _part(columns: NodeTable, rows: NDArray[np.intp]) -> NodeTable:
    return columns.row(int(rows[0])) if len(rows) == 1 else columns.some(rows)


def _merged(old: Judged, new: Judged, rows: NDArray[np.intp]) -> Judged:
    verdicts = (_verdict(*both, rows) for both in zip(old.verdicts, new.verdicts, strict=True))
    return Judged(tuple(verdicts), _with(old.ranks, new.ranks, rows))


def _verdict(old: Verdict, new: Verdict, rows: NDArray[np.intp]) -> Verdict:
    fits = (
        tuple(_fit(*both, rows) for both in zip(one_way, other_way, strict=True))
        for one_way, other_way in zip(old.fits, new.fits, strict=True)
    )
    return Verdict(_with(old.nodes, new.nodes, rows), _with(old.reasons, new.reasons, rows), tuple(fits))


def _fit(old: Fit, new: Fit, rows: NDArray[np.intp]) -> Fit:
    devices = old.devices.copy(order="K")
    devices[:, rows] = new.devices
    return Fit(_with(old.nodes, new.nodes, rows), _with(old.reasons, new.reasons, rows), devices)


def _with(old: NDArray[T], new: NDArray[T], rows: NDArray[np.intp]) -> NDArray[T]:
    """A copy with other values in these rows."""
    merged = old.copy()
    merged[rows] = new
    return merged
