"""What is watched, and when it counts as complete: reflectors are stood in for, the loop and the threads are real."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hami_core.kube.watches import Source, Watches
from hami_scheduler.claiming import Claims
from hami_scheduler.following import Follower
from hami_scheduler.leadership import Leadership, Phase
from tests.scheduler.test_leadership import AGAIN, MINE, OURS, PROCESS, THEIRS, YOURS, a_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hami_core.kube.objects import Lease


@define(eq=False)
class Standin:
    """A reflector that lists when it is told to."""

    sink: Any
    synced: bool = False
    last_contact: float = -math.inf
    restarts: int = 0
    failure: str = ""
    stopped: list[bool] = field(factory=list)
    dies: threading.Event = field(factory=threading.Event)

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(0.005) and not self.dies.is_set():
            pass
        self.stopped.append(True)
        if self.dies.is_set():
            raise ValueError("dead")


@define(eq=False)
class Case:
    """Two resources and a Lease."""

    grace: float = 0.01
    made: dict[str, list[Standin]] = field(factory=lambda: {"pods": [], "nodes": []})
    taken: list[tuple[str, Any]] = field(factory=list)
    faults: list[Exception] = field(factory=list)
    phases: list[Phase] = field(factory=list)
    claimed: list[tuple[Lease, str]] = field(factory=list)
    refusals: list[str] = field(factory=list)
    threads: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1))
    rest: float = 0.0
    watches: Watches = field(init=False)
    follower: Follower = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.watches = Watches([self.source("pods"), self.source("nodes")], self.faults.append)
        leadership = Leadership("gpu-1", PROCESS, grace=self.grace, rest=self.rest)
        claims = Claims(lambda lease, word: self.claimed.append((lease, word)), self.threads, self.refusals.append)
        self.follower = Follower(leadership, self.watches, claims, lambda _, new: self.phases.append(new.phase))

    def source(self, name: str) -> Source[Any]:
        def reflector(sink: Any) -> Standin:
            self.made[name].append(Standin(sink))
            return self.made[name][-1]

        def take(objects: Any) -> None:
            self.taken.append((name, objects))
            if objects == ["poison"]:
                raise ValueError("poison")

        return Source(name, reflector, take, take)

    async def leads(self) -> None:
        """Through claim, grace and lists to leading."""
        before = len(self.made["pods"])
        if self.follower.state.phase is not Phase.CLAIMING:
            self.follower.lease_listed([a_lease(word=YOURS)])
        self.follower.lease_changed([("MODIFIED", a_lease(word=self.follower.state.word))])
        await until(lambda: len(self.made["pods"]) > before)
        for standins in self.made.values():
            standins[-1].sink.replaced([])
        await until(lambda: self.follower.state.leading)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def run(act: Callable[[Case], Coroutine[Any, Any, Any]], case: Case | None = None) -> Case:
    case = case or Case()

    async def acting() -> None:
        await act(case)
        case.watches.close()
        case.threads.shutdown()

    asyncio.run(acting())
    return case


def test_who_is_named_leads_when_lists_that_were_begun_after_the_grace_are_complete() -> None:
    async def act(case: Case) -> None:
        case.follower.lease_listed([a_lease(word=None)])
        case.follower.lease_changed([("MODIFIED", a_lease())])
        assert (case.follower.term(), case.made["pods"]) == ("", [])
        await until(lambda: case.made["nodes"])
        case.made["pods"][0].sink.replaced(["p"])
        await until(lambda: case.taken)
        assert not case.follower.state.leading
        case.made["nodes"][0].sink.replaced(["n"])
        assert await case.follower.opened(5)
        assert case.follower.term() == f"{OURS}/0/{MINE}"

    case = run(act)

    assert case.phases == [Phase.CLAIMING, Phase.GRACE, Phase.LISTING, Phase.LEADING]
    assert case.taken == [("pods", ["p"]), ("nodes", ["n"])]


def test_who_is_not_named_lists_to_be_warm_and_does_not_open() -> None:
    async def act(case: Case) -> None:
        case.follower.lease_listed([a_lease(THEIRS)])
        for standins in case.made.values():
            standins[0].sink.replaced([])
        await until(lambda: case.watches.complete)
        assert not await case.follower.opened(0.01)

    assert run(act).phases == []


def test_whoever_gains_the_leadership_lists_anew_and_hears_nothing_of_the_old_watch() -> None:
    async def act(case: Case) -> None:
        case.follower.lease_listed([a_lease(THEIRS)])
        for standins in case.made.values():
            standins[0].sink.replaced([])
        await until(lambda: case.watches.complete)
        await case.leads()
        case.made["pods"][0].sink.changed([("ADDED", "late")])
        await asyncio.sleep(0)
        await until(lambda: case.made["pods"][0].stopped)

    case = run(act)

    assert [len(standins) for standins in case.made.values()] == [2, 2]
    assert ("pods", [("ADDED", "late")]) not in case.taken


def test_losing_the_lease_closes_the_gate_at_once() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        case.follower.lease_changed([("MODIFIED", a_lease(OURS)), ("MODIFIED", a_lease(THEIRS, 1))])
        assert (case.follower.term(), await case.follower.opened(0.01)) == ("", False)
        await case.leads()
        case.follower.lease_changed([("DELETED", a_lease())])
        assert case.follower.term() == ""

    run(act)


def test_a_request_may_wait_for_a_leadership_on_its_way() -> None:
    async def act(case: Case) -> None:
        waiting = asyncio.create_task(case.follower.opened(5))
        await case.leads()
        assert await waiting

    run(act)


def test_what_the_books_cannot_take_is_reported_and_ends_the_leadership() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        case.made["pods"][-1].sink.changed(["poison"])
        await until(lambda: case.faults)
        case.follower.give_up()
        case.follower.lease_changed([("MODIFIED", a_lease())])
        assert case.follower.term() == ""

    case = run(act)

    assert str(case.faults[0]) == "poison"


def test_health_counts_the_lists_of_all_watches_of_a_resource() -> None:
    async def act(case: Case) -> None:
        case.follower.lease_listed([a_lease(THEIRS)])
        case.made["pods"][0].synced, case.made["pods"][0].restarts = True, 2
        case.watches.begin()
        case.made["pods"][1].synced = True
        told = {one.name: one for one in case.watches.health()}
        assert (told["pods"].lists, told["pods"].silent, told["pods"].alive) == (4, None, True)

    run(act)


def test_a_lease_that_is_not_there_is_nobodys() -> None:
    async def act(case: Case) -> None:
        none: list[Lease] = []
        case.follower.lease_listed(none)
        assert case.follower.state.phase is Phase.STANDBY

    run(act)


def test_a_reflector_that_dies_is_reported() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        case.made["pods"][-1].dies.set()
        await until(lambda: case.faults)

    case = run(act)

    assert [str(fault) for fault in case.faults] == ["dead"]


def test_a_reflector_that_dies_after_its_end_is_nobodys_concern() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        dying = case.made["pods"][-1]
        case.watches.close()
        dying.dies.set()
        await until(lambda: dying.stopped)
        await asyncio.sleep(0)

    assert run(act).faults == []


def test_who_led_between_two_leases_of_one_term_is_not_passed_over() -> None:
    """The Lease was deleted twice, so that its transitions began anew."""

    async def act(case: Case) -> None:
        await case.leads()
        case.follower.lease_changed([("DELETED", a_lease(THEIRS, 0)), ("ADDED", a_lease())])
        assert case.follower.term() == ""

    assert run(act).phases[-2:] == [Phase.STANDBY, Phase.CLAIMING]


# --- Our word on the Lease. ---


def test_who_is_named_puts_its_word_on_the_lease_once_and_lists_when_the_lease_shows_it() -> None:
    async def act(case: Case) -> None:
        named = a_lease(word=YOURS)
        case.follower.lease_listed([a_lease(THEIRS, word=YOURS)])
        before = len(case.made["pods"])
        case.follower.lease_changed([("MODIFIED", named)])
        await until(lambda: case.claimed == [(named, MINE)])
        assert (case.follower.state.phase, len(case.made["pods"])) == (Phase.CLAIMING, before)
        case.follower.lease_changed([("MODIFIED", a_lease())])
        await until(lambda: len(case.made["pods"]) > before)
        case.follower.lease_changed([("MODIFIED", a_lease())])

    case = run(act)

    assert (case.phases, len(case.claimed)) == ([Phase.CLAIMING, Phase.GRACE, Phase.LISTING], 1)


def test_who_is_superseded_closes_the_gate_and_leaves_the_lease_alone() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        before = len(case.claimed)
        case.follower.lease_changed([("MODIFIED", a_lease(word=YOURS)), ("MODIFIED", a_lease(word=YOURS))])
        assert (case.follower.term(), await case.follower.opened(0)) == ("", False)
        assert (case.follower.state.phase, len(case.claimed)) == (Phase.SUPERSEDED, before)

    run(act, Case(rest=60.0))


def test_who_is_superseded_and_asked_by_kube_scheduler_takes_the_lead_back() -> None:
    async def act(case: Case) -> None:
        await case.leads()
        taken = a_lease(word=YOURS)
        case.follower.lease_changed([("MODIFIED", taken)])
        asked = asyncio.create_task(case.follower.opened(5))
        await until(lambda: (taken, AGAIN) in case.claimed)
        await case.leads()
        assert await asked

    run(act)


def test_who_has_given_up_claims_nothing() -> None:
    async def act(case: Case) -> None:
        case.follower.lease_listed([a_lease(THEIRS)])
        case.follower.give_up()
        case.follower.lease_changed([("MODIFIED", a_lease(word=YOURS))])
        assert not await case.follower.opened(0.01)

    assert run(act).claimed == []
