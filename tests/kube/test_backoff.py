"""Waits grow, have a ceiling and a floor, and are never all alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_core.kube.backoff import Backoff, Pace

paces = st.builds(Pace, first=st.floats(0.001, 10), factor=st.floats(1.1, 10), cap=st.floats(0.01, 100))
chances = st.floats(0, 1)


@given(pace=paces, failures=st.integers(1, 100_000), chance=chances)
def test_a_wait_stays_between_half_its_step_and_the_cap(pace: Pace, failures: int, chance: float) -> None:
    seconds = pace.seconds(failures, chance)

    assert min(pace.first, pace.cap) / 2 <= seconds <= pace.cap


@given(pace=paces, failures=st.integers(1, 200), chance=chances)
def test_the_next_wait_is_not_shorter_at_the_same_chance(pace: Pace, failures: int, chance: float) -> None:
    assert pace.seconds(failures, chance) <= pace.seconds(failures + 1, chance)


def test_a_success_begins_anew() -> None:
    backoff = Backoff(Pace(first=1, factor=2, cap=60), chance=lambda: 1.0)

    waits = [backoff.failed() for _ in range(4)]
    backoff.succeeded()

    assert ([*waits, backoff.failed()]) == [1, 2, 4, 8, 1]


def test_what_the_server_asks_for_is_the_least() -> None:
    backoff = Backoff(Pace(first=1, factor=2, cap=60), chance=lambda: 1.0)

    assert [backoff.failed(30), backoff.failed(0.5)] == [30, 2]


@pytest.mark.parametrize("wrong", [{"first": 0}, {"factor": 1}, {"cap": -1}])
def test_a_pace_that_stands_still_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be >"):
        Pace(**wrong)
