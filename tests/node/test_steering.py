"""Which tokens the kubelet is told to prefer."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hami_core.node.steering import prefer
from hami_core.node.tokens import parse

DEVICES = [f"GPU-{number}" for number in range(4)]
EVERY = [f"{device}::{slot}" for device in DEVICES for slot in range(5)]

FREE = st.lists(st.sampled_from(EVERY), unique=True)
WAITING = st.lists(st.lists(st.sampled_from([*DEVICES, "GPU-elsewhere"]), max_size=4))
GARBAGE = st.lists(st.text(max_size=6), unique=True)


def devices(tokens: list[str]) -> list[str]:
    return [parse(token).device for token in tokens]


@given(FREE | GARBAGE, st.data(), WAITING)
def test_an_answer_has_exactly_the_size_and_what_must_be(
    available: list[str], data: st.DataObject, waiting: list[list[str]]
) -> None:
    size = data.draw(st.integers(0, len(available)))
    must = data.draw(st.lists(st.sampled_from(available), unique=True, max_size=size)) if available else []

    answer = prefer(available, must, size, waiting)

    assert len(answer) == len(set(answer)) == size
    assert set(must) <= set(answer) <= set(available)


@given(FREE, st.integers(0, 30), WAITING)
def test_where_there_are_too_few_all_are_named(available: list[str], size: int, waiting: list[list[str]]) -> None:
    assert len(prefer(available, [], size, waiting)) == min(size, len(available))


@given(FREE, st.randoms(), st.integers(0, 6), WAITING)
def test_the_order_of_what_is_available_decides_nothing(
    available: list[str], random: object, size: int, waiting: list[list[str]]
) -> None:
    shuffled = sorted(available, key=lambda _: random.random())  # type: ignore[attr-defined]

    assert prefer(shuffled, [], size, waiting) == prefer(available, [], size, waiting)


@given(st.lists(st.sampled_from(DEVICES), unique=True, min_size=1), WAITING)
def test_a_container_that_can_be_served_in_full_gets_its_own_devices(granted: list[str], others: list[list[str]]) -> None:
    others = [one for one in others if len(one) != len(granted)]

    assert Counter(devices(prefer(EVERY, [], len(granted), [*others, granted, *others]))) == Counter(granted)


def test_of_two_containers_alike_the_first_is_meant() -> None:
    assert prefer(EVERY, [], 1, [["GPU-2"], ["GPU-1"]]) == ["GPU-2::0"]


def test_a_container_that_waits_for_another_number_is_not_meant() -> None:
    assert devices(prefer(EVERY, [], 1, [["GPU-2", "GPU-3"]])) == ["GPU-0"]


def test_what_must_be_tells_which_container_is_meant() -> None:
    answer = prefer(EVERY, ["GPU-3::4"], 2, [["GPU-1", "GPU-2"], ["GPU-2", "GPU-3"]])

    assert answer == ["GPU-3::4", "GPU-2::0"]


def test_a_container_that_cannot_be_served_in_full_gets_what_there_is() -> None:
    answer = prefer(["GPU-0::0", "GPU-1::0", "GPU-1::1"], [], 2, [["GPU-0", "GPU-3"]])

    assert answer == ["GPU-0::0", "GPU-1::0"]


def test_nobody_waits_then_tokens_are_spread_and_the_lowest_slots_are_taken() -> None:
    assert prefer(EVERY, [], 5) == ["GPU-0::0", "GPU-1::0", "GPU-2::0", "GPU-3::0", "GPU-0::1"]


def test_spreading_begins_with_the_device_that_has_the_most_free() -> None:
    assert prefer(["GPU-0::0", "GPU-1::8", "GPU-1::10"], [], 2) == ["GPU-1::8", "GPU-0::0"]


def test_what_must_be_counts_where_the_rest_is_spread() -> None:
    assert prefer(EVERY, ["GPU-0::4"], 2) == ["GPU-0::4", "GPU-1::0"]
