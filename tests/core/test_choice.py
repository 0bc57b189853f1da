"""Which devices are taken, word by word. Over random tables the same is compared with obvious loops in test_placement."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hami_core import choice, placement, table
from hami_core.model import Link, Policy, Weights
from tests.core.fleet import a_capacity, a_request, a_row, a_table

if TYPE_CHECKING:
    from hami_core.table import NodeTable


def chosen(row: NodeTable, *words: str, **changes: Any) -> list[str]:
    policy = Policy(device=words or ("spread",), weights=changes.pop("weights", Weights()))
    return [share.device for share in placement.place([a_request(policy=policy, **changes)], row, "share")]


def on_numa(*numa: int | None, used: tuple[int, ...] = ()) -> NodeTable:
    row = a_table([a_capacity(f"d{w}", numa=number) for w, number in enumerate(numa)])
    for w, memory in enumerate(used):
        row.take(0, w, bool(memory), memory, 0)
    return row


def linked(*pairs: tuple[int, int, int], devices: int) -> NodeTable:
    links = tuple(Link(f"d{a}", f"d{b}", "wire", score=score) for a, b, score in pairs)
    return table.build([("n0", [a_capacity(f"d{w}") for w in range(devices)])], links={"n0": links})


# --- Fullness --------------------------------------------------------------------------------------------------------


def test_devices_are_compared_with_the_share_on_them() -> None:
    row = a_row(6000, 16000, used=[0, 1000])

    assert (chosen(row, "spread"), chosen(row, "binpack")) == (["d1"], ["d0"])  # without it the small one would be the emptier


def test_weights_say_what_counts() -> None:
    row = a_row(8000, 8000)
    row.take(0, 0, 4, 0, 0)
    row.take(0, 1, 0, 3000, 0)

    by_slots, by_memory = (chosen(row, "spread", weights=weights) for weights in (Weights(1, 0, 0), Weights(0, 0, 1)))

    assert (by_slots, by_memory) == (["d1"], ["d0"])


# --- NUMA nodes ------------------------------------------------------------------------------------------------------


def test_bound_devices_are_of_one_numa_node_also_where_the_emptiest_are_not() -> None:
    row = on_numa(0, 1, 0, 1, used=(0, 0, 4000, 1000))

    assert chosen(row, count=2) == ["d0", "d1"]
    assert chosen(row, count=2, numa_bind="bind") == ["d1", "d3"]


def test_of_two_numa_nodes_that_are_as_good_the_smaller_is_used_up() -> None:
    assert chosen(on_numa(0, 0, 0, 1, 1), count=2, numa_bind="bind") == ["d3", "d4"]


def test_an_unknown_numa_node_is_no_node() -> None:
    assert chosen(on_numa(None, None, 0), count=2, numa_bind="bind") == []
    assert chosen(on_numa(None, 0, 0), count=2, numa_bind="bind") == ["d1", "d2"]


def test_the_word_numa_prefers_one_node_and_does_without_where_none_has_enough() -> None:
    row = on_numa(0, 1, 1, None, used=(0, 2000, 2000, 0))

    assert chosen(row, "numa", count=2) == ["d1", "d2"]
    assert chosen(row, "numa", count=3) == ["d0", "d1", "d2"]


@pytest.mark.parametrize(("words", "devices"), [(("numa", "binpack"), ["d2", "d3"]), (("binpack", "numa"), ["d1", "d3"])])
def test_the_first_word_of_a_list_decides(words: tuple[str, ...], devices: list[str]) -> None:
    row = on_numa(0, 0, 1, 1, used=(0, 3000, 1000, 4000))

    assert chosen(row, *words, count=2) == devices


# --- Connections -----------------------------------------------------------------------------------------------------

QUADS = [(a, b, 1220 if a // 4 == b // 4 else 10) for a, b in combinations(range(8), 2)]


def test_of_two_groups_that_are_joined_the_one_that_is_whole_is_taken() -> None:
    row = linked(*QUADS, devices=8)
    row.take(0, 1, 10, 0, 0)  # the first group has a device without room

    assert chosen(row, "topology-aware", count=4) == ["d4", "d5", "d6", "d7"]


def test_of_equal_sets_the_other_words_decide() -> None:
    row = linked(*QUADS, devices=8)
    row.take(0, 1, 1, 1000, 0)

    assert chosen(row, "topology-aware", count=4) == ["d4", "d5", "d6", "d7"]
    assert chosen(row, "topology-aware", "binpack", count=4) == ["d0", "d1", "d2", "d3"]


def test_one_device_is_the_one_whose_links_are_missed_least() -> None:
    row = linked((0, 1, 100), (0, 2, 100), (1, 2, 100), (2, 3, 10), devices=4)

    assert chosen(row, "topology-aware") == ["d3"]


def test_a_broken_group_is_broken_further_before_a_whole_one() -> None:
    row = linked(*QUADS, devices=8)
    row.take(0, 6, 10, 0, 0)

    assert chosen(row, "topology-aware") == ["d4"]


def test_where_all_pairs_are_alike_the_word_changes_nothing() -> None:
    row = linked(*((a, b, 1800) for a, b in combinations(range(4), 2)), devices=4)
    row.take(0, 0, 1, 1000, 0)

    assert chosen(row, "topology-aware", count=2) == chosen(row, "spread", count=2) == ["d1", "d2"]


def test_bound_to_a_numa_node_the_best_set_is_sought_within_each() -> None:
    capacities = [a_capacity(f"d{w}", numa=w // 3) for w in range(6)]
    scores = ((0, 1, 20), (3, 4, 50), (2, 3, 900))
    links = tuple(Link(f"d{a}", f"d{b}", "wire", score=score) for a, b, score in scores)
    row = table.build([("n0", capacities)], links={"n0": links})

    assert chosen(row, "topology-aware", count=2) == ["d2", "d3"]
    assert chosen(row, "topology-aware", count=2, numa_bind="bind") == ["d3", "d4"]


def test_a_better_set_never_leaves_a_later_container_without_room() -> None:
    row = linked((0, 1, 10), (1, 2, 10), devices=3)
    row.take(0, 0, 1, 1000, 0)
    pair = Policy(device=("topology-aware", "spread"))
    pod = [a_request("a", count=2, policy=pair), a_request("b", memory=8000, policy=pair)]

    shares = placement.place(pod, row, "share")

    assert [share.device for share in shares] == ["d0", "d1", "d2"]  # alone, a takes d1 and d2


# --- A device for oneself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [{"cores": 100}, {"policy": Policy(device=("mutex", "binpack"))}])
def test_two_containers_that_each_want_a_device_alone_get_two(wish: dict[str, Any]) -> None:
    both = [a_request("a", **wish), a_request("b", **wish)]

    assert [share.device for share in placement.place(both, a_row(8000, 8000), "share")] == ["d0", "d1"]
    assert placement.place(both, a_row(8000), "share") == ()


def test_an_ordinary_container_does_not_join_its_own_pod_s_exclusive_device() -> None:
    both = [a_request("a", cores=100), a_request("b")]

    assert placement.place(both, a_row(8000), "share") == ()


def test_containers_that_run_one_after_the_other_may_each_have_it_alone() -> None:
    both = [a_request("setup", cores=100, phases=(1,)), a_request("main", cores=100)]

    assert [share.device for share in placement.place(both, a_row(8000, 8000), "share")] == ["d0", "d0"]


# --- Many nodes ------------------------------------------------------------------------------------------------------


@given(st.data())
def test_devices_that_are_picked_one_by_one_are_the_heads_of_the_sorted_lines(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 6), st.integers(1, 6)))
    mask = np.asfortranarray(data.draw(arrays(bool, shape)))
    keys = [
        np.asfortranarray(key)
        for key in data.draw(st.lists(arrays(np.int64, shape, elements=st.integers(-2, 2)), min_size=1, max_size=3))
    ]
    needed = data.draw(st.integers(1, 6))

    picked = choice._picked(mask, keys, needed)

    assert picked.tolist() == choice._head(choice._order(mask, keys), mask, needed).tolist()
