"""Who waits is told why: once, when it changes, and never more than so often."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from hami_core import names
from hami_core.errors import ValidationError
from hami_core.kube.errors import Conflict, NotFound, Unavailable
from hami_scheduler.metrics import Work
from hami_scheduler.notices import AGAIN, LATE, NEAR, SOON, Notices
from hami_scheduler.record import Record
from tests.scheduler.world import Clock, a_pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_scheduler.notices import Waiting

FULL, FULLER = "0/3 nodes: full", "0/3 nodes: fuller"


@define
class Board:
    """What was written."""

    written: list[tuple[str, str, bool]] = field(factory=list)
    does: Callable[[], None] = lambda: None

    def waiting(self, pod: Waiting, text: str, *, event: bool) -> None:
        self.does()
        self.written.append((pod.uid, text, event))


@define
class Case:
    """Notices with a clock that stands."""

    board: Board = field(factory=Board)
    clock: Clock = field(factory=Clock)
    notices: Notices = field(init=False)
    threads: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1))

    def __attrs_post_init__(self) -> None:
        wall = datetime(2026, 1, 1, 12, 30, 15, tzinfo=UTC)
        self.notices = Notices(self.board, self.threads, clock=self.clock, wall=lambda: wall)

    def write(self) -> list[tuple[str, str, bool]]:
        """Everything that is due now is written; what it was."""

        async def writing() -> None:
            while (pod := self.notices.next()) is not None:
                await self.notices.write(pod)

        before = len(self.board.written)
        asyncio.run(writing())
        return self.board.written[before:]


def waiting(uid: str = "a", **annotations: str) -> dict[str, Any]:
    pod = a_pod(uid)
    pod["metadata"]["annotations"] = annotations
    return pod


def test_a_pod_that_waits_is_told_once_however_often_it_is_tried() -> None:
    case = Case()

    for _ in range(5):
        case.notices.waits(waiting(), FULL)

    assert case.write() == [("a", FULL, True)]
    case.notices.waits(waiting(), FULL)
    case.clock.time += 1000
    assert case.write() == []


def test_a_pod_that_was_changed_into_what_cannot_be_meant_is_told_so() -> None:
    case, error = Case(), ValidationError("hami.io/gpu-scheduler-policy", "fullest", "give binpack or spread")
    past = waiting("past")
    past["metadata"]["labels"] = {}

    for pod in (waiting(), past):
        Record(Work(), case.notices).failed(pod, error)

    assert case.write() == [("a", str(error), True)]


def test_another_sentence_is_told_when_the_last_is_half_a_minute_old() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.notices.waits(waiting(), FULLER)
    early = case.write()
    case.clock.time += AGAIN

    assert (early, case.write()) == ([], [("a", FULLER, True)])


def test_a_sentence_that_came_back_in_the_meantime_is_not_told() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.notices.waits(waiting(), FULLER)
    case.notices.waits(waiting(), FULL)
    case.clock.time += AGAIN

    assert case.write() == []


def test_a_pod_that_fits_at_once_is_told_nothing() -> None:
    case = Case()

    case.notices.fits(waiting())

    assert (case.write(), len(case.notices), case.notices.told("a")) == ([], 0, False)


def test_who_has_gone_meanwhile_is_told_nothing() -> None:
    case = Case()
    case.notices.waits(waiting("a"), FULL)
    case.notices.waits(waiting("b"), FULL)

    case.notices.forget("a")
    case.notices.keep({"c"})

    assert case.write() == []


def test_a_new_scheduler_knows_by_the_annotation_what_was_told() -> None:
    case = Case()
    pod = waiting(**{names.WAITING: f"{FULL} (tried again 11:00:00 UTC)"})

    case.notices.waits(pod, FULL)

    assert (case.write(), case.notices.told("a")) == ([], True)


def test_a_pod_that_fits_now_is_remembered_until_its_binding_has_cleared_what_it_was_told() -> None:
    case = Case()

    case.notices.fits(waiting(**{names.WAITING: FULL}))

    assert (case.write(), case.notices.told("a")) == ([], True)


def test_waking_writes_the_same_sentence_with_the_time_and_no_event() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.notices.wake()

    ((uid, text, event),) = case.write()
    assert (uid, event) == ("a", False)
    assert re.fullmatch(rf"{FULL} \(tried again 12:30:15 UTC\)", text)
    assert case.write() == []


def test_what_could_not_be_written_is_written_later() -> None:
    def fail() -> None:
        raise Unavailable("gone")

    case = Case(Board(does=fail))
    case.notices.waits(waiting(), FULL)
    case.write()
    case.board.does = lambda: None
    case.clock.time += AGAIN

    assert case.write() == [("a", FULL, True)]


@pytest.mark.parametrize("error", [NotFound(404, "NotFound", "no such pod"), Conflict(409, "Conflict", "another uid")])
def test_a_pod_that_is_no_longer_there_is_forgotten(error: Exception) -> None:
    def fail() -> None:
        raise error

    case = Case(Board(does=fail))
    case.notices.waits(waiting(), FULL)
    case.write()

    assert len(case.notices) == 0


def test_who_has_waited_longest_for_its_sentence_comes_first() -> None:
    case = Case()
    for n, uid in enumerate("abc"):
        case.clock.time += n
        case.notices.waits(waiting(uid), FULL)
        case.write()
    for uid in "cab":
        case.notices.waits(waiting(uid), FULLER)
    case.clock.time += AGAIN

    assert [uid for uid, _, _ in case.write()] == ["a", "b", "c"]


def test_who_asked_just_before_the_room_was_known_here_is_told_to_ask_again() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.clock.time += 0.1
    case.notices.freed()
    early = case.write()
    case.clock.time += SOON

    assert (early, [uid for uid, _, _ in case.write()]) == ([], ["a"])
    case.clock.time += 1000
    assert case.write() == []


def test_room_that_comes_after_other_room_is_not_forgotten() -> None:
    case = Case()
    case.notices.freed()
    case.clock.time += 0.1
    case.notices.waits(waiting(), FULL)
    case.write()

    case.clock.time += 0.1
    case.notices.freed()
    case.clock.time += SOON

    assert [uid for uid, _, _ in case.write()] == ["a"]


def test_who_asks_again_by_itself_after_the_room_came_is_not_told_to() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.clock.time += 0.1
    case.notices.freed()
    case.clock.time += 0.1
    case.notices.waits(waiting(), FULL)
    case.clock.time += SOON

    assert case.write() == []


def test_who_asked_long_ago_has_the_time_of_kube_schedulers_back_off_to_ask_by_itself() -> None:
    case = Case()
    case.notices.waits(waiting(), FULL)
    case.write()

    case.clock.time += NEAR
    case.notices.freed()
    case.clock.time += SOON
    soon = case.write()
    case.clock.time += LATE

    assert (soon, [uid for uid, _, _ in case.write()]) == ([], ["a"])
