"""Connected sets: exact against all sets one by one, good beyond, and in time."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hami_core import topology
from hami_core.model import Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

SCORES = st.sampled_from(((0, 1), (0, 0, 7), (10, 20, 1220), tuple(range(50))))


@st.composite
def matrices(draw: st.DrawFn, smallest: int = 1, widest: int = 9) -> NDArray[np.int32]:
    """A symmetric matrix with 0 on its diagonal."""
    width, scale = draw(st.integers(smallest, widest)), draw(SCORES)
    pairs = list(combinations(range(width), 2))
    given_ones = draw(st.lists(st.sampled_from(scale), min_size=len(pairs), max_size=len(pairs)))
    matrix = np.zeros((width, width), np.int32)
    for (a, b), score in zip(pairs, given_ones, strict=True):
        matrix[a, b] = matrix[b, a] = score
    return matrix


def total(matrix: NDArray[np.int32], devices: Iterable[int]) -> int:
    return sum(int(matrix[a, b]) for a, b in combinations(devices, 2))


def wiring(*different: NDArray[np.int32]) -> topology.Wiring:
    return topology.Wiring(np.stack(different), np.zeros(len(different), bool), max(int(one.max()) for one in different))


def devices(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(w) for w in np.flatnonzero(mask))


# --- All nodes at once -----------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_the_search_finds_the_first_of_the_best_sets_on_every_node(data: st.DataObject) -> None:
    first = data.draw(matrices())
    width = len(first)
    second = data.draw(matrices(width, width))
    nodes, count = data.draw(st.integers(1, 5)), data.draw(st.integers(1, width))
    wired = np.array(data.draw(st.lists(st.integers(0, 1), min_size=nodes, max_size=nodes)), np.int32)
    masks = st.lists(st.booleans(), min_size=width, max_size=width)
    mask = np.array(data.draw(st.lists(masks, min_size=nodes, max_size=nodes)), bool)

    sets, sums = topology.search(wiring(first, second), wired, mask, count)

    for n in range(nodes):
        matrix, able = (first, second)[wired[n]], devices(mask[n])
        best = max(combinations(able, count), key=lambda some: total(matrix, some), default=())
        assert (devices(sets[n]), sums[n]) == (best, total(matrix, best))


@given(matrices(), st.data())
def test_what_a_device_breaks_is_the_sum_of_its_links_to_those_that_are_left(
    matrix: NDArray[np.int32], data: st.DataObject
) -> None:
    width = len(matrix)
    mask = np.array([data.draw(st.lists(st.booleans(), min_size=width, max_size=width))] * 2, bool)
    expected = [sum(int(matrix[w, other]) for other in devices(mask[0])) for w in range(width)]

    alone = topology.lost(wiring(matrix), np.array([0, 0]), mask)
    among_others = topology.lost(wiring(matrix, matrix), np.array([0, 1]), mask)

    assert alone.tolist() == among_others.tolist() == [expected, expected]


# --- One node --------------------------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(matrices(), st.data())
def test_the_best_set_is_the_cheapest_and_then_the_first_in_line_of_those_that_none_exceeds(
    matrix: NDArray[np.int32], data: st.DataObject
) -> None:
    line = data.draw(st.permutations(range(len(matrix))))[: data.draw(st.integers(1, len(matrix)))]
    costs = dict(zip(line, sorted(data.draw(st.lists(st.integers(0, 3), min_size=len(line), max_size=len(line)))), strict=True))
    count = data.draw(st.integers(1, len(line)))

    found = topology.best(matrix, line, np.array(list(costs.values())), count)

    assert found == list(max(combinations(line, count), key=lambda some: (total(matrix, some), -sum(costs[w] for w in some))))


def test_eight_of_sixteen_are_exact_too() -> None:
    matrix = a_random_matrix(16, seed=5)
    largest = max(total(matrix, some) for some in combinations(range(16), 8))

    found = topology.best(matrix, range(16), np.zeros(16, np.int64), 8)
    _, sums = topology.search(wiring(matrix), np.array([0]), np.ones((1, 16), bool), 8)

    assert (total(matrix, found), int(sums[0])) == (largest, largest)


# --- Many devices ----------------------------------------------------------------------------------------------------


def a_random_matrix(width: int, seed: int, scale: Sequence[int] = tuple(range(1, 100))) -> NDArray[np.int32]:
    dice = np.random.default_rng(seed)
    upper = np.triu(dice.choice(scale, (width, width)), 1)
    matrix: NDArray[np.int32] = (upper + upper.T).astype(np.int32)
    return matrix


@settings(max_examples=60)
@given(matrices(2, 9), st.data())
def test_beyond_the_exact_sizes_no_single_swap_would_help(matrix: NDArray[np.int32], data: st.DataObject) -> None:
    width = len(matrix)
    count = data.draw(st.integers(1, width))

    sets, sums = topology._exchanged(matrix[np.newaxis], np.ones((1, width), bool), count)

    chosen = devices(sets[0])
    assert (len(chosen), sums[0]) == (count, total(matrix, chosen))
    swaps = ({*chosen} - {leave} | {take} for leave in chosen for take in set(range(width)) - set(chosen))
    assert all(total(matrix, some) <= sums[0] for some in swaps)


def test_beyond_the_exact_sizes_a_set_is_nearly_the_best() -> None:
    one_start, all_starts = [], []
    for seed in range(40):
        matrix = a_random_matrix(12, seed)
        largest = max(total(matrix, some) for some in combinations(range(12), 5))
        one_start.append(int(topology._exchanged(matrix[np.newaxis], np.ones((1, 12), bool), 5)[1][0]) / largest)
        all_starts.append(total(matrix, topology._best_of_many_starts(matrix, 5)) / largest)

    assert min(one_start) > 0.85
    assert min(all_starts) > 0.98


def test_twenty_devices_in_groups_of_four_give_a_whole_group() -> None:
    matrix = np.kron(np.eye(5, dtype=np.int32), np.full((4, 4), 1220, np.int32)) + 10
    np.fill_diagonal(matrix, 0)

    assert set(topology.best(matrix, [19, *range(19)], np.zeros(20, np.int64), 4)) == {16, 17, 18, 19}


# --- Wiring ----------------------------------------------------------------------------------------------------------


def test_a_link_of_a_device_that_is_not_offered_is_left_out_and_equal_nodes_are_one() -> None:
    links = (Link("a", "b", "wire", score=5), Link("b", "z", "wire", score=9), Link("a", "c", "wire"))

    found, wired = topology.wire([(("a", "b", "c"), links), (("x", "y"), ()), (("a", "b", "c"), links)], 3)

    assert wired.tolist() == [0, 1, 0]
    assert found.scores.tolist() == [[[0, 5, 0], [5, 0, 0], [0, 0, 0]], [[0] * 3] * 3]
    assert (found.alike.tolist(), found.top) == ([False, True], 5)


def test_a_switch_that_joins_all_alike_makes_no_difference() -> None:
    ids = ("a", "b", "c")
    links = [Link(a, b, "switch", score=1800) for a, b in combinations(ids, 2)]

    found, _ = topology.wire([(ids, links), (("a", "b"), ())], 3)

    assert found.alike.tolist() == [True, True]


def test_tables_that_would_be_too_large_are_not_made() -> None:
    many = wiring(*(a_random_matrix(16, seed) for seed in range(40)))
    mask = np.ones((40, 16), bool)

    sets, sums = topology.search(many, np.arange(40, dtype=np.int32), mask, 8)

    assert many.tables(8) is None
    assert [total(matrix, devices(some)) for matrix, some in zip(many.scores, sets, strict=True)] == sums.tolist()
