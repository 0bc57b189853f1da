"""How well the devices of a node are connected, and which set of them is connected best.

A pair's score is the vendor's (``model.Link``): more is better, 0 unknown; a set scores the sum of its pairs. Of one device
counts what it would break: the sum of its pairs with the devices that are left.

Two searches. ``search`` looks at all nodes at once and gives one best set for each; ``best`` looks at one node, and of equals
takes the set that stands first in a given line. Both are exact up to EXACT devices. The first reads it from a table over all
2^W sets of a node's devices, made once for each different wiring (2 ms at 16 devices), as long as all these tables together
have no more than LARGEST entries. The second sums all sets in two halves, 2^16 at most. Beyond, sets are built greedily, and
then one device is exchanged for another until none helps: never worse than greedy, not always the best. The first search begins
with one device, the second with each in turn, which came to 98 % of the best at least, over random scores.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from attrs import Factory, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from hami_core.model import Link, Mask

    Numbers = NDArray[np.int64]

EXACT = 16  # devices
SMALL = 2.0**-10  # of costs: 16 devices of up to 15 each stay below 1, and sums of scores keep all their digits
LARGEST = 2**21  # entries of 8 bytes over all wirings, for each size of set


@define(eq=False)
class Wiring:
    """The K different ways in which nodes are wired: pair scores (K, W, W), symmetric, 0 on the diagonal and where unknown.

    Nodes of one make share a matrix: 5,000 nodes of 16 devices are a few kilobytes. ``alike`` (K,): every pair of the node's
    devices scores the same, so that no set is better than another.
    """

    scores: NDArray[np.int32]
    alike: Mask
    top: int  # the highest score of a pair
    _best: dict[int, Numbers] = field(default=Factory(dict), init=False, repr=False)

    def tables(self, count: int) -> Numbers | None:
        """For every set of devices, by wiring: its best part of ``count``, (K, 2^W); None if that would be too large.

        An entry is ``sum << W | part``; -1 where the set has too few. Device w is bit W - 1 - w, so that of equals the
        largest part, the one kept, has the first devices.
        """
        kinds, width, _ = self.scores.shape
        if width > EXACT or kinds << width > LARGEST:
            return None
        if count not in self._best:
            self._best[count] = _best_parts(self.scores, count)
        return self._best[count]


Pattern = tuple[int, tuple[tuple[int, int, int], ...]]  # how many devices, and (a, b, score) of each pair that scores, rising


def wire(nodes: Iterable[tuple[Sequence[str], Iterable[Link]]], width: int) -> tuple[Wiring, NDArray[np.int32]]:
    """The wiring of these nodes (ids of devices, links) and which of its matrices each has, (N,).

    Links of devices that are not listed are left out: a splitting may not offer all that the node has. What has no devices is
    wired in no way: its 0 means nothing.
    """
    known: dict[Pattern, int] = {}
    wired = [known.setdefault(pattern(ids, links), len(known)) if ids else 0 for ids, links in nodes]
    return wiring(known, width), np.array(wired, np.int32)


def wiring(patterns: Collection[Pattern], width: int) -> Wiring:
    """A matrix for each of these patterns, in their order; at least one."""
    scores = np.zeros((max(len(patterns), 1), width, width), np.int32)
    alike = np.ones(len(scores), bool)
    for k, (devices, pairs) in enumerate(patterns):
        for a, b, score in pairs:
            scores[k, a, b] = scores[k, b, a] = score
        upper = scores[k, :devices, :devices][np.triu_indices(devices, 1)]
        alike[k] = not upper.size or bool((upper == upper[0]).all())
    return Wiring(scores, alike, int(scores.max(initial=0)))


def pattern(ids: Sequence[str], links: Iterable[Link]) -> Pattern:
    """How one node is wired, whatever its devices are called: equal for nodes of one make."""
    at = {device: w for w, device in enumerate(ids)}
    pairs = {}
    for link in links:
        a, b = at.get(link.a, -1), at.get(link.b, -1)
        if link.score and a >= 0 <= b and a != b:
            pairs[(a, b) if a < b else (b, a)] = link.score
    return len(ids), tuple(sorted([(a, b, score) for (a, b), score in pairs.items()]))


# --- All nodes at once -----------------------------------------------------------------------------------------------


def search(wiring: Wiring, wired: NDArray[np.int32], mask: Mask, count: int) -> tuple[Mask, Numbers]:
    """A best connected set of ``count`` masked devices on every node, (N, W), and its score, (N,).

    Among equals the one of the first devices. Nothing, and 0, where too few are masked.
    """
    tables = wiring.tables(count)
    if tables is None:
        return _exchanged(wiring.scores[wired], mask, count)
    width = mask.shape[1]
    bits = np.arange(width - 1, -1, -1)
    found = tables[wired, mask @ (1 << bits)]
    parts = (found[:, np.newaxis] >> bits) & 1 == 1
    return parts & (found >= 0)[:, np.newaxis], np.maximum(found, 0) >> width


def lost(wiring: Wiring, wired: NDArray[np.int32], mask: Mask) -> Numbers:
    """What taking one device would break: the sum of its scores with the other masked ones, (N, W)."""
    if len(wiring.scores) == 1:
        alone: Numbers = np.rint(mask.astype(np.float64) @ wiring.scores[0].astype(np.float64)).astype(np.int64)
        return alone
    broken = np.zeros(mask.shape, np.int64)
    for w in range(mask.shape[1]):  # by column: one matrix for each node, (N, W, W), would be written only to be summed
        broken += wiring.scores[wired, w] * mask[:, w : w + 1]
    return broken


def _best_parts(scores: NDArray[np.int32], count: int) -> Numbers:
    """The table of ``Wiring.tables``: the sums of all sets of ``count``, then each set takes the best of its subsets."""
    kinds, width, _ = scores.shape
    bits = np.arange(1 << width)
    found = np.where(_sizes(width) == count, _sums(scores) << width | bits, -1)
    for w in range(width):
        pairs = found.reshape(kinds, -1, 2, 1 << w)  # sets without device bit w beside the same with it
        np.maximum(pairs[:, :, 1], pairs[:, :, 0], out=pairs[:, :, 1])
    return found


def _sums(scores: NDArray[np.int32]) -> Numbers:
    """The score of every set of devices, (K, 2^W), built up by doubling: the sets with one more device, bit by bit."""
    kinds, width, _ = scores.shape
    sums = np.zeros((kinds, 1), np.int64)
    for bit in range(width):
        sums = np.concatenate([sums, sums + _ties(scores[:, width - 1 - bit], bit)], axis=1)
    return sums


def _ties(row: NDArray[np.int32], bits: int) -> Numbers:
    """The sum of one device's scores with every set of the devices of the lowest bits, (K, 2^bits)."""
    kinds, width = row.shape
    ties = np.zeros((kinds, 1), np.int64)
    for bit in range(bits):
        ties = np.concatenate([ties, ties + row[:, width - 1 - bit : width - bit]], axis=1)
    return ties


@cache
def _sizes(width: int) -> NDArray[np.int8]:
    """How many devices are in each set, (2^W,)."""
    sizes = np.zeros(1, np.int8)
    for _ in range(width):
        sizes = np.concatenate([sizes, sizes + np.int8(1)])
    return sizes


# --- One node --------------------------------------------------------------------------------------------------------


def best(scores: NDArray[np.int32], line: Sequence[int], costs: Numbers, count: int) -> list[int]:
    """The best connected ``count`` devices of ``line``; of equals those of the least costs; of these the first in line.

    ``scores`` (W, W); ``costs`` a number from 0 to W - 1 for each place of the line. Exact for a line of up to EXACT devices,
    in 0.1 ms. ``count`` is at most the line's length.
    """
    inner = scores[np.ix_(line, line)]
    found = _first_of_the_best(inner, costs, count) if len(line) <= EXACT else _best_of_many_starts(inner, count)
    return [line[at] for at in found]


def _first_of_the_best(scores: NDArray[np.int32], costs: Numbers, count: int) -> list[int]:
    """Positions. Every set is one of the first half of the line and one of the second: all pairs of such parts, by their sizes.

    A set's number has the device at the head as its highest bit, so of equals the largest number stands first in line.
    """
    width, half = len(scores), len(scores) // 2
    ties = scores.astype(np.float64)
    head, tail = _parts(half), _parts(width - half)
    near, far = _within(head, ties[:half, :half], costs[:half]), _within(tail, ties[half:, half:], costs[half:])
    left = np.column_stack([head.members @ ties[:half, half:], near, np.ones(len(near))])
    right = np.column_stack([tail.members, np.ones(len(far)), far]).T.copy()
    most, found = -np.inf, 0
    for size in range(max(0, count - (width - half)), min(half, count) + 1):
        first, second = head.of(size), tail.of(count - size)
        sums = left[first] @ right[:, second]  # what is across, within the first, and within the second
        a, b = divmod(int(sums.argmax()), sums.shape[1])
        number = int(head.numbers[first][a]) << (width - half) | int(tail.numbers[second][b])
        most, found = max((most, found), (float(sums[a, b]), number))
    return [w for w in range(width) if found >> (width - 1 - w) & 1]


@frozen(eq=False)
class _Parts:
    """All sets of so many devices, by size, the largest number first: members (2^W, W) as zeros and ones, numbers (2^W,)."""

    members: NDArray[np.float64]
    numbers: Numbers
    starts: tuple[int, ...]

    def of(self, size: int) -> slice:
        """The rows of the sets of one size."""
        return slice(self.starts[size], self.starts[size + 1])


@cache
def _parts(width: int) -> _Parts:
    sizes = _sizes(width).astype(np.int64)
    numbers = np.lexsort((-np.arange(1 << width), sizes))
    members = (numbers[:, np.newaxis] >> np.arange(width - 1, -1, -1) & 1).astype(np.float64)
    starts = np.searchsorted(sizes[numbers], np.arange(width + 2))
    return _Parts(members, numbers, tuple(int(start) for start in starts))


def _within(parts: _Parts, ties: NDArray[np.float64], costs: Numbers) -> NDArray[np.float64]:
    """The score of each part, (2^W,), less its costs, which are so small that they decide among equals only."""
    twice = np.einsum("sw,sw->s", parts.members @ ties, parts.members)  # every pair is met from both ends
    within: NDArray[np.float64] = twice / 2.0 - parts.members @ costs * SMALL
    return within


# --- Many devices ----------------------------------------------------------------------------------------------------


def _best_of_many_starts(scores: NDArray[np.int32], count: int) -> list[int]:
    """A well connected set of one node's devices, as positions: the best of those that begin with each device."""
    width = len(scores)
    copies = np.broadcast_to(scores, (width, width, width))
    chosen, sums = _exchanged(copies, np.ones((width, width), bool), count, np.eye(width, dtype=np.int64))
    return [int(at) for at in np.flatnonzero(chosen[sums.argmax()])]


def _exchanged(scores: NDArray[np.int32], mask: Mask, count: int, promise: Numbers | None = None) -> tuple[Mask, Numbers]:
    """A well connected set on every node: scores (N, W, W), mask (N, W). Greedy, then one for one as long as that helps.

    ``promise`` (N, W): the device to begin with is the highest; without it the one with the best connections to all others.
    """
    chosen, gains = _greedy(scores, mask, count, promise)
    nodes: Numbers = np.flatnonzero(mask.sum(axis=1) >= count)
    chosen[np.setdiff1d(np.arange(len(mask)), nodes)] = False
    for _ in range(mask.shape[1]):  # each swap helps, so this ends by itself; the bound is for time
        if not nodes.size:
            break
        nodes = _exchange(scores, mask, chosen, gains, nodes)
    return chosen, (gains * chosen).sum(axis=1) // 2


def _greedy(scores: NDArray[np.int32], mask: Mask, count: int, promise: Numbers | None) -> tuple[Mask, Numbers]:
    """One device after the other, whichever adds most; and what each device scores with the set, (N, W)."""
    nodes = np.arange(len(mask))
    gains, chosen, free = np.zeros(mask.shape, np.int64), np.zeros_like(mask), mask.copy()
    wish = np.einsum("nvw,nw->nv", scores, mask, dtype=np.int64) if promise is None else promise
    for _ in range(count):
        w = np.where(free, wish, -1).argmax(axis=1)
        chosen[nodes, w], free[nodes, w] = True, False
        gains += scores[nodes, w]
        wish = gains
    return chosen, gains


def _exchange(scores: NDArray[np.int32], mask: Mask, chosen: Mask, gains: Numbers, nodes: Numbers) -> Numbers:
    """Swap, on each of these nodes, the pair that helps most; returns those where one did. Changes ``chosen`` and ``gains``."""
    width, far = mask.shape[1], np.int64(2) ** 40
    leaving = np.where(chosen[nodes], gains[nodes], far)
    coming = np.where(mask[nodes] & ~chosen[nodes], gains[nodes], -far)
    better = coming[:, np.newaxis, :] - leaving[:, :, np.newaxis]
    better -= scores[nodes]
    pair = better.reshape(len(nodes), -1).argmax(axis=1)
    helped = better.reshape(len(nodes), -1)[np.arange(len(nodes)), pair] > 0
    at: Numbers = nodes[helped]
    leave, take = np.divmod(pair[helped], width)
    chosen[at, leave], chosen[at, take] = False, True
    gains[at] += scores[at, take] - scores[at, leave]
    return at
