"""What is remembered for a while is bounded by number and by age."""

from __future__ import annotations

from hami_scheduler.recent import Recent
from tests.scheduler.world import Clock


def test_the_oldest_is_forgotten_for_one_too_many() -> None:
    recent: Recent[str, int] = Recent(2, 10.0, Clock())

    for number, key in enumerate("abac"):
        recent[key] = number

    assert list(recent.items()) == [("a", 2), ("c", 3)]


def test_what_is_too_old_is_not_known_and_then_forgotten() -> None:
    clock = Clock()
    recent: Recent[str, int] = Recent(5, 10.0, clock)
    recent["a"] = 1
    clock.time += 6
    recent["b"] = 2
    clock.time += 6

    known = recent.get("a"), recent.get("b"), "a" in recent
    recent.expire()

    assert (known, len(recent)) == ((None, 2, False), 1)


def test_what_is_taken_is_forgotten() -> None:
    recent: Recent[str, int] = Recent(5, 10.0, Clock())
    recent["a"] = 1

    assert (recent.pop("a"), recent.pop("a"), len(recent)) == (1, None, 0)
