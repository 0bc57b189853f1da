"""Filter and prioritize: which of the offered nodes can hold a pod, the best first, and in few words why others cannot.

Everything is done for all nodes at once; names are looked up once. Of equals the first by name is taken, so that a replay of
the same questions gives the same answers.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from hami_core.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from hami_core.decision import Verdict
    from hami_core.fleet import Fleet
    from hami_core.model import Mask

LEVELS = 10
"""kube-scheduler's MaxExtenderPriority: the best level, beside 0 (k8s.io/kube-scheduler, extender/v1/types.go)."""

FITS = int(Reason.FITS)
UNKNOWN, CLOSED, UNREADABLE, QUOTA, ELSEWHERE, MISFIT, UNPREPARED = -1, -2, -3, -4, -5, -6, -7  # beside the codes of Reason

PHRASES: Mapping[int, str] = {
    UNKNOWN: "no device published",
    CLOSED: "closed: a grant on it cannot be read",
    UNREADABLE: "its device inventory cannot be read",
    QUOTA: "beyond the namespace's quota",
    ELSEWHERE: "the pod is being bound to another node",
    MISFIT: "fits by its plugin's word, and has no place",
    UNPREPARED: "admission has not prepared the pod, so nothing is granted to it; create it anew",
    Reason.NO_DEVICE: "no such device",
    Reason.COUNT: "too few devices",
    Reason.MODEL: "too few devices of a wanted model",
    Reason.ID: "too few devices of a wanted id",
    Reason.HEALTH: "too few healthy devices",
    Reason.CORDON: "too few devices in service",
    Reason.SIZE: "devices too small",
    Reason.SLOTS: "too few free slots",
    Reason.IN_USE: "too few idle devices",
    Reason.MEMORY: "too little device memory free",
    Reason.CORES: "too few device cores free",
    Reason.NUMA: "too few devices on one NUMA node",
}
OTHER = "does not fit"  # a plugin's own code


@frozen
class Why:
    """Why a pod waits: ``str()`` is the sentence. ``counts``: phrase -> nodes, the most first."""

    offered: int
    counts: Mapping[str, int]
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@frozen
class Filtered:
    """The answer to filter. ``failed``: node -> short phrase, only where no node is kept (nobody reads it otherwise)."""

    kept: tuple[str, ...]  # the best first
    failed: Mapping[str, str]
    why: Why | None = None  # None: a node is kept
    ours: bool = True  # False: the pod asks nothing of ours, and every node is kept; or it is not prepared, and none is


@frozen(eq=False)
class Offer:
    """The nodes that kube-scheduler offers, and where they stand: -1 for those that no table knows. Arrays are (names,)."""

    names: Sequence[str]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, names: Sequence[str], fleet: Fleet) -> Offer:
        """Look the names up: the only walk over them in Python, where some node is kept."""
        return cls(names, fleet.rows(names))

    def codes(self, judged: NDArray[np.int8]) -> NDArray[np.int8]:
        """Why each is refused, FITS if it is not. ``judged``: codes of all rows."""
        if not len(judged):
            return np.full(len(self.rows), UNKNOWN, np.int8)
        return np.where(self.rows >= 0, judged[self.rows], np.int8(UNKNOWN))


def fitting(offer: Offer, codes: NDArray[np.int8]) -> NDArray[np.int64]:
    """The rows of the offered nodes that fit, each once, in the tables' order."""
    rows: NDArray[np.int64] = offer.rows[codes == FITS]
    if not len(rows):
        return rows
    there = np.zeros(int(rows.max()) + 1, np.bool_)  # kube-scheduler's names come in any order: sorting them takes longer
    there[rows] = True
    once: NDArray[np.int64] = np.flatnonzero(there)
    return once


def best(rows: NDArray[np.int64], ranks: NDArray[np.float64], order: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The ``most`` best of these rows, the best first; of equals the first in ``order``. 0: all of them."""
    if 0 < most < len(rows):
        rows = _ahead(rows, ranks[rows], order, most)
    return rows[np.lexsort((order[rows], -ranks[rows]))]


def _ahead(rows: NDArray[np.int64], ranks: NDArray[np.float64], order: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """So many of the best, in any order: sorting 5,000 to keep 16 costs as much as judging them."""
    last = np.partition(ranks, len(ranks) - most)[len(ranks) - most]
    better, equal = rows[ranks > last], rows[ranks == last]
    wanted = most - len(better)
    if wanted < len(equal):
        equal = equal[np.argpartition(order[equal], wanted - 1)[:wanted]]
    return np.concatenate((better, equal))


def levels(ranks: Sequence[float]) -> list[int]:
    """Eleven levels for ranks that come the best first: equals get the same, the best alone the highest, the last 0.

    The place among the others counts and not the distance to them: fullness differs by little where it matters most.
    """
    places, place = [], -1
    for before, rank in zip((None, *ranks), ranks, strict=False):
        place += rank != before
        places.append(place)
    return [LEVELS - -(-LEVELS * place // max(places[-1], 1)) for place in places]


def combined(verdicts: Sequence[Verdict]) -> tuple[Mask, NDArray[np.int8]]:
    """One verdict of those of several kinds: which nodes fit, and the code of the first kind that does not fit there."""
    nodes, codes = verdicts[0].nodes, verdicts[0].reasons
    for other in verdicts[1:]:
        codes = np.where(nodes, other.reasons, codes)
        nodes = nodes & other.nodes
    return nodes, codes


def refused(names: Iterable[str], codes: NDArray[np.int8]) -> dict[str, str]:
    """Node -> phrase, for all that are refused."""
    no = codes != FITS
    listed = compress(names, no.tolist())
    return dict(zip(listed, map(phrase, codes[no].tolist()), strict=True))


def phrase(code: int) -> str:
    """The words of a code."""
    return PHRASES.get(code, OTHER)


def why(failed: Mapping[str, str], sentence: str) -> Why:
    """The sentence, and how many nodes fail for which reason, the most first."""
    return Why(len(failed), dict(Counter(failed.values()).most_common()), sentence)
