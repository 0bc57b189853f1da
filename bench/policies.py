"""Every policy at once, and the choice of connected devices, against the obvious loops; on one node and on 5,000."""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from bench.interleave import compare
from hami_core import placement, policies, topology
from hami_core.model import ID, Capacity, Link, Policy, Request, Selector, Weights
from hami_core.table import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from bench.interleave import Row
    from hami_core.model import Mask
    from hami_core.table import NodeTable

NODES = 5000
PLAIN = Request("main", "bench", 1, 3000, cores=30)
EVERY = Request(
    "main",
    "bench",
    4,
    3000,
    cores=100,  # devices that nobody uses
    policy=Policy("binpack", ("topology-aware", "numa", "mutex", "binpack"), Weights(1, 1, 3)),
    selectors=(
        Selector("use-type", ("a100", "h100")),
        Selector("avoid-type", ("v100",), out=True),
        Selector("use-id", tuple(f"n{n}-d{w}" for n in range(0, NODES, 50) for w in range(8)), ID),
        Selector("avoid-id", ("n7-d0",), ID, out=True),
    ),
    numa_bind="numa-bind",
)


def fleet(nodes: int, devices: int) -> NodeTable:
    """Nodes of two groups of joined devices, of three makes; a third of the devices is partly taken."""
    makes = ("NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", "Tesla T4")
    capacities = [
        [Capacity(f"n{n}-d{w}", makes[n % 3], 10, 16000, 16000, numa=2 * w // devices) for w in range(devices)]
        for n in range(nodes)
    ]
    links = {f"n{n}": _links(n, devices) for n in range(nodes)}
    table = build([(f"n{n}", one) for n, one in enumerate(capacities)], links=links)
    dice = random.Random(11)
    for n in range(nodes):
        for w in range(devices):
            if dice.random() < 1 / 3:
                table.take(n, w, dice.randint(1, 9), dice.randint(0, 14000), dice.randint(0, 70))
    return table


def _links(n: int, devices: int) -> tuple[Link, ...]:
    def score(a: int, b: int) -> int:
        return (1220, 260, 60)[n % 3] if 2 * a // devices == 2 * b // devices else 10

    return tuple(Link(f"n{n}-d{a}", f"n{n}-d{b}", "link", score=score(a, b)) for a, b in combinations(range(devices), 2))


def judged(request: Request, table: NodeTable) -> Callable[[], int]:
    """Fit and score on all nodes; the call gives the node that ranks highest."""

    def judge() -> int:
        fit = placement.fit([request], table)
        values = policies.score([request], table, fit).values
        return int(np.where(fit.nodes, values, -1.0).argmax())

    return judge


def searched(table: NodeTable, mask: Mask, count: int) -> Callable[[], int]:
    """The best set of every node; the call gives the sum of their scores."""
    return lambda: int(topology.search(table.wiring, table.wired, mask, count)[1].sum())


def searched_anew(table: NodeTable, mask: Mask, count: int) -> Callable[[], int]:
    """The same with the tables of sets made first, as at the first such pod after a start."""
    scores, alike, top = table.wiring.scores, table.wiring.alike, table.wiring.top
    return lambda: int(topology.search(topology.Wiring(scores, alike, top), table.wired, mask, count)[1].sum())


def set_by_set(scores: NDArray[np.int32], count: int) -> Callable[[], int]:
    """All sets of one node in a loop, in plain Python; the call gives the score of the best."""
    matrix = scores.tolist()
    return lambda: max(sum(matrix[a][b] for a, b in combinations(some, 2)) for some in combinations(range(len(matrix)), count))


def best_of(scores: NDArray[np.int32], count: int) -> Callable[[], int]:
    """The best set of one node; the call gives its score."""
    line, costs = list(range(len(scores))), np.zeros(len(scores), np.int64)
    return lambda: sum(int(scores[a, b]) for a, b in combinations(topology.best(scores, line, costs, count), 2))


def rows() -> Iterable[Row]:
    """Goals: 4 ms for all policies at 5,000 x 8; 0.2 ms for the set of a node, 20 ms for those of 5,000."""
    table = fleet(NODES, 8)
    plain, every = judged(PLAIN, table), judged(EVERY, table)
    subject = f"fit and score, {NODES:,} nodes x 8"
    yield from compare(subject, ("no policy, one device", plain), {"every policy, four devices": (every, 4e-3)}, 30)
    for devices, count, rounds, calls in ((8, 4, 20, 20), (16, 8, 3, 1)):
        scores = _random(devices)
        slow, quick = set_by_set(scores, count), best_of(scores, count)
        assert slow() == quick(), "the two sets differ: the ratio would compare different work"
        subject = f"best {count} of {devices} devices"
        yield from compare(subject, ("set by set", slow), {"in two halves": (quick, 0.2e-3)}, rounds, calls)
    for devices, count in ((8, 4), (16, 8)):
        table = fleet(NODES, devices)
        mask = table.slots_used == 0
        warm, cold = searched(table, mask, count), searched_anew(table, mask, count)
        each = _node_by_node(table, mask, count)
        assert warm() == cold() == each(), "the two sums differ: the ratio would compare different work"
        candidates = {"from a table of sets": (warm, 20e-3), "the table made first": (cold, 20e-3)}
        yield from compare(f"the same on {NODES:,} nodes, {devices} each", ("node by node", each), candidates, 3)


def _random(devices: int) -> NDArray[np.int32]:
    upper = np.triu(np.random.default_rng(5).integers(1, 99, (devices, devices)), 1)
    scores: NDArray[np.int32] = (upper + upper.T).astype(np.int32)
    return scores


def _node_by_node(table: NodeTable, mask: Mask, count: int) -> Callable[[], int]:
    """The quick search for one node, for each: what a loop over nodes would cost at best."""
    lines = [(np.flatnonzero(mask[n]).tolist(), table.wiring.scores[table.wired[n]]) for n in range(table.shape[0])]

    def search() -> int:
        total = 0
        for line, scores in lines:
            if len(line) >= count:
                chosen = topology.best(scores, line, np.zeros(len(line), np.int64), count)
                total += int(scores[np.ix_(chosen, chosen)].sum()) // 2
        return total

    return search
