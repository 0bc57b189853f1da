"""One write for each pod, and what becomes of it: answered, refused, lost. The books are real, the API server is scripted."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from hami_core import names
from hami_core.errors import PluginError
from hami_core.kube.errors import Conflict, Forbidden, NotFound, TooManyRequests, Unavailable
from hami_scheduler import choosing
from hami_scheduler.binder import Binder, Patience, outcome_of
from hami_scheduler.cluster import Doubt, Outcome
from hami_scheduler.protocol import Binding
from tests.scheduler.world import TERM, World, a_node, a_pod, a_world, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from hami_core.kube.objects import Pod

QUICK = Patience(answer=3.0, arrive=0.1, retry=0.01, retry_most=0.05)


@define
class Server:
    """An API server that does as it is told."""

    does: Callable[[Mapping[str, Any]], None] = lambda _: None
    shows: Callable[[], Pod | None] = lambda: None
    written: list[dict[str, Any]] = field(factory=list)
    reads: int = 0

    def bind(self, **write: Any) -> None:
        self.written.append(write)
        self.does(write)

    def pod(self, namespace: str, name: str, timeout: float) -> Pod | None:
        self.reads += 1
        return self.shows()


@define
class Ears:
    """What a witness was told."""

    heard: list[tuple[str, ...]] = field(factory=list)

    def bound(self, binding: Binding, seconds: float) -> None:
        self.heard.append(("bound",))

    def not_bound(self, binding: Binding, reason: str, error: str) -> None:
        self.heard.append(("not bound", reason))

    def unknown(self, binding: Binding, error: str) -> None:
        self.heard.append(("unknown",))

    def resolved(self, binding: Binding, outcome: Outcome, seconds: float) -> None:
        self.heard.append(("resolved", outcome.name))


@define
class Case:
    """One pod that has been filtered, and a binder."""

    server: Server
    world: World = field(factory=lambda: a_world(a_node("n0", 80000), a_node("n1", 80000)))
    ears: Ears = field(factory=Ears)
    term: list[str] = field(factory=lambda: [TERM])
    waited: bool = False

    def run(self, act: Callable[[Binder], Coroutine[Any, Any, Any]]) -> Any:
        async def acting() -> Any:
            with ThreadPoolExecutor(4) as threads:
                binder = Binder(
                    self.world.cluster,
                    self.server,
                    threads,
                    lambda: self.term[0],
                    lambda _: self.waited,
                    self.ears,
                    QUICK,
                )
                try:
                    return await act(binder)
                finally:
                    await binder.drain()

        return asyncio.run(acting())

    def filtered(self, uid: str = "a") -> Binding:
        pod = a_pod(uid)
        self.world.filter(pod, "n0", "n1")
        return Binding(pod["metadata"]["name"], "default", uid, "n0")

    def used(self) -> int:
        return sum(self.world.used().values())


def fails(error: Exception) -> Callable[[Mapping[str, Any]], None]:
    def fail(_: Mapping[str, Any]) -> None:
        raise error

    return fail


def waits_for(gate: threading.Event) -> Callable[[Mapping[str, Any]], None]:
    def wait(_: Mapping[str, Any]) -> None:
        assert gate.wait(5)

    return wait


def shown(case: Case, uid: str = "a", node: str = "") -> Pod:
    """The pod as a read shows it, with what its Binding carried if it is bound."""
    return seen(a_pod(uid), node, case.server.written[-1]["annotations"] if node else None)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_bind_is_one_write_with_the_grant_the_uid_and_the_term() -> None:
    case = Case(Server())
    binding = case.filtered()

    assert case.run(lambda binder: binder.bind(binding)) == ""

    (write,) = case.server.written
    assert (write["namespace"], write["name"], write["uid"], write["node"]) == ("default", "pod-a", "a", "n0")
    assert write["annotations"][names.TERM] == TERM
    assert "grant a/main" in write["annotations"][names.grant_key("main")]
    assert (case.server.reads, case.used(), case.ears.heard) == (0, 3000, [("bound",)])


def test_a_pod_that_was_told_that_it_waits_is_told_that_it_does_not_by_its_binding() -> None:
    case = Case(Server(), waited=True)
    binding = case.filtered()

    case.run(lambda binder: binder.bind(binding))

    assert case.server.written[0]["annotations"][names.WAITING] == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Conflict(409, "Conflict", "already assigned"), "conflict"),
        (Forbidden(403, "Forbidden", "the scheduler that leads is b/2"), "forbidden"),
        (NotFound(404, "NotFound", "no such pod"), "pod gone"),
        (TooManyRequests(429, "TooManyRequests", "later", 1.0), "too many requests"),
        (Unavailable("no connection"), "unavailable"),
    ],
)
def test_what_is_refused_is_given_back_and_told(error: Exception, reason: str) -> None:
    case = Case(Server(fails(error)))
    binding = case.filtered()

    answer = case.run(lambda binder: binder.bind(binding))

    assert (answer, case.used(), case.server.reads) == (str(error), 0, 0)
    assert case.ears.heard == [("not bound", reason)]


def test_a_lost_answer_is_a_success_if_the_pod_is_seen_bound_in_time() -> None:
    case = Case(Server(fails(Unavailable("lost", unknown=True))))
    case.server.shows = lambda: shown(case, node="n0")
    binding = case.filtered()

    answer = case.run(lambda binder: binder.bind(binding))

    assert (answer, case.used(), case.ears.heard) == ("", 3000, [("unknown",), ("resolved", "BOUND")])


def test_a_lost_answer_keeps_the_shares_until_the_write_can_no_longer_arrive() -> None:
    case = Case(Server(fails(Unavailable("lost", unknown=True))))
    case.server.shows = lambda: shown(case)
    binding = case.filtered()

    async def act(binder: Binder) -> tuple[str, int]:
        asking = asyncio.create_task(binder.bind(binding))
        await until(lambda: case.server.reads >= 2)
        held = case.used()
        return await asking, held

    answer, held = case.run(act)

    assert (answer, held, case.used()) == ("API server: lost", 3000, 0)
    assert case.ears.heard == [("unknown",), ("resolved", "REFUSED")]


def test_an_api_server_that_answers_no_read_keeps_the_outcome_open_and_kube_scheduler_has_its_answer_in_time() -> None:
    def silent() -> Pod | None:
        raise Unavailable("gone")

    case = Case(Server(fails(Unavailable("lost", unknown=True)), silent))
    binding = case.filtered()

    async def act(binder: Binder) -> tuple[str, float, int]:
        begun = time.monotonic()
        answer = await binder.bind(binding)
        return answer, time.monotonic() - begun, binder.in_flight

    answer, seconds, open_ = case.run(act)

    assert answer == "API server: lost; whether the pod is bound is not known yet"
    assert (seconds < QUICK.answer, open_, case.used()) == (True, 1, 3000)


def test_the_pod_of_another_uid_proves_that_nothing_was_bound() -> None:
    case = Case(Server(fails(Unavailable("lost", unknown=True)), lambda: seen(a_pod("b"))))
    binding = case.filtered()

    assert case.run(lambda binder: binder.bind(binding)) == "API server: lost"
    assert case.used() == 0


def test_who_asks_again_meanwhile_gets_the_same_answer_and_there_is_one_write() -> None:
    gate = threading.Event()
    case = Case(Server(waits_for(gate)))
    binding = case.filtered()
    elsewhere = Binding(binding.name, binding.namespace, binding.uid, "n1")

    async def act(binder: Binder) -> list[str]:
        asking = [asyncio.create_task(binder.bind(one)) for one in (binding, binding, elsewhere)]
        await until(lambda: case.server.written)
        gate.set()
        return list(await asyncio.gather(*asking))

    answers = case.run(act)

    assert answers == ["", "", "the pod has just been bound to node n0"]
    assert len(case.server.written) == 1


def test_a_caller_that_hangs_up_stops_nothing() -> None:
    gate = threading.Event()
    case = Case(Server(waits_for(gate)))
    binding = case.filtered()

    async def act(binder: Binder) -> None:
        asking = asyncio.create_task(binder.bind(binding))
        await until(lambda: case.server.written)
        asking.cancel()
        gate.set()
        await binder.drain()

    case.run(act)

    assert (case.used(), case.ears.heard) == (3000, [("bound",)])


def test_who_does_not_lead_writes_nothing() -> None:
    case = Case(Server(), term=[""])
    binding = case.filtered()

    assert case.run(lambda binder: binder.bind(binding)) == "this extender does not lead"
    assert case.server.written == []


def test_a_leadership_that_goes_while_threads_are_busy_sends_nothing_more() -> None:
    gate = threading.Event()
    case = Case(Server(waits_for(gate)))
    bindings = [case.filtered(uid) for uid in "abcde"]

    async def act(binder: Binder) -> list[str]:
        asking = [asyncio.create_task(binder.bind(one)) for one in bindings]
        await until(lambda: len(case.server.written) == 4)
        case.term[0] = ""
        gate.set()
        return list(await asyncio.gather(*asking))

    answers = case.run(act)

    assert sorted(answers) == ["", "", "", "", "API server: the leadership has gone; not sent"]
    assert len(case.server.written) == 4


def test_a_fault_of_ours_leaves_the_outcome_to_be_read() -> None:
    case = Case(Server(fails(ZeroDivisionError("?"))))
    case.server.shows = lambda: shown(case, node="n0")
    binding = case.filtered()

    assert case.run(lambda binder: binder.bind(binding)) == ""
    assert case.used() == 3000


def test_a_pod_that_was_never_filtered_here_is_refused() -> None:
    case = Case(Server())

    answer = case.run(lambda binder: binder.bind(Binding("pod-x", "default", "x", "n0")))

    assert "filtered again" in answer
    assert case.ears.heard == [("not bound", "no room")]


@pytest.mark.parametrize(
    ("node", "uid", "arrived", "outcome"),
    [
        ("n0", "a", False, Outcome.BOUND),
        ("n1", "a", False, Outcome.REFUSED),
        ("", "a", False, None),
        ("", "a", True, Outcome.REFUSED),
        ("n0", "b", False, Outcome.REFUSED),
    ],
)
def test_what_a_read_tells(node: str, uid: str, arrived: bool, outcome: Outcome | None) -> None:
    binding = Binding("pod-a", "default", "a", "n0")

    assert outcome_of(seen(a_pod(uid), node), binding, arrived=arrived) is outcome
    assert outcome_of(None, binding, arrived=arrived) is Outcome.REFUSED


def test_a_look_that_a_bind_has_overtaken_takes_nothing_back() -> None:
    """The pod was read as it was before the Binding that is on its way now."""
    reading, binding_ = threading.Event(), threading.Event()

    def shows() -> None:
        reading.set()
        assert binding_.wait(5)

    def does(_: Any) -> None:
        binding_.set()
        assert looked.wait(5)

    looked = threading.Event()
    case = Case(Server(does=does, shows=shows))
    binding = case.filtered()

    async def act(binder: Binder) -> tuple[str, int]:
        looking = asyncio.create_task(binder.look([Doubt("a", "default", "pod-a", "n0")]))
        await asyncio.to_thread(reading.wait, 5)
        bound = asyncio.create_task(binder.bind(binding))
        await looking
        used = case.used()
        looked.set()
        return await bound, used

    assert case.run(act) == ("", 3000)


def test_a_plugin_that_fails_while_a_pod_is_bound_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(Server())
    binding = case.filtered()
    case.world.cluster.expire()
    binding = Binding(binding.name, binding.namespace, binding.uid, "n1")  # not where room is held

    def fails(*_: object) -> None:
        raise PluginError("acme", "a fault", "hami_place")

    monkeypatch.setattr(choosing, "place", fails)

    assert "a fault" in case.run(lambda binder: binder.bind(binding))
    assert (case.used(), case.ears.heard) == (0, [("not bound", "no room")])
