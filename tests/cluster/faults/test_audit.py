"""The checker itself: random legal histories pass, and every kind of fault that is planted in one is found."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from hami_core import wire
from hami_core.model import Grant, Share
from hami_core.testing.cluster.audit import Entry
from tests.cluster.faults import audit, history
from tests.cluster.faults.audit import Bound, Ended, Granted, Room, Step, Where

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS = "system:serviceaccount:hami-system:hami-scheduler"
HAS = Room(slots=3, memory=100, cores=100)
THERE: Mapping[Where, Room] = {(node, device): HAS for node in ("a", "b") for device in ("g0", "g1", "g2")}


def share(device: str = "g0", memory: int = 10, cores: int = 10, **more: Any) -> Share:
    return Share("work", "nvidia", device, memory, 100, cores, **more)


def granted(uid: str, *shares: Share, node: str = "a") -> Granted:
    return Granted(uid, f"team/{uid}", node, shares)


# --- Histories -------------------------------------------------------------------------------------------------------


@define
class World:
    """Makes a legal history, by a reading of the rules of its own: free room by device."""

    dice: random.Random
    free: dict[Where, Room] = field(factory=lambda: dict(THERE))
    alive: dict[str, tuple[str, list[tuple[str, Room]]]] = field(factory=dict)
    steps: list[Step] = field(factory=list)

    def grow(self) -> None:
        if self.alive and self.dice.random() < 0.4:
            self.end(self.dice.choice(list(self.alive)))
        else:
            self.grant(f"u{len(self.steps)}")

    def grant(self, uid: str) -> None:
        """On a device or two: room enough, or a whole idle one."""
        node, alone = self.dice.choice("ab"), self.dice.random() < 0.2
        ask = Room(1, self.dice.randrange(60), 100 if alone else self.dice.randrange(60))
        fit = [d for (n, d), f in self.free.items() if n == node and (f == HAS if alone else _within(ask, f))]
        chosen = fit[: self.dice.choice((1, 2))]
        if not chosen:
            return
        charge = Room(HAS.slots, ask.memory, ask.cores) if alone else ask
        for device in chosen:
            self.free[node, device] -= charge
        self.alive[uid] = (node, [(device, charge) for device in chosen])
        self.steps.append(granted(uid, *(share(d, ask.memory, ask.cores, exclusive=alone) for d in chosen), node=node))

    def end(self, uid: str) -> None:
        node, charges = self.alive.pop(uid)
        for device, charge in charges:
            self.free[node, device] += charge
        self.steps.append(Ended(uid))


def _within(ask: Room, free: Room) -> bool:
    return ask.slots <= free.slots and ask.memory <= free.memory and ask.cores <= free.cores


def world(seed: int, length: int = 60) -> World:
    made = World(random.Random(seed))
    for _ in range(length):
        made.grow()
    return made


@given(st.integers(0, 10**9))
def test_a_legal_history_passes(seed: int) -> None:
    assert audit.replay(world(seed).steps, THERE) == []


@given(st.integers(0, 10**9), st.sampled_from(["slots", "memory", "cores"]))
def test_a_device_one_unit_smaller_than_what_was_ever_granted_at_a_time_is_found(seed: int, what: str) -> None:
    steps = world(seed).steps
    where = next((one.node, one.shares[0].device) for one in steps if isinstance(one, Granted))
    most = _most(steps, where, what)
    enough, less = evolve(HAS, **{what: most}), evolve(HAS, **{what: most - 1})

    assert (
        audit.replay(steps, {**THERE, where: enough}),
        bool(audit.replay(steps, {**THERE, where: less})),
    ) == ([], True)


def _most(steps: list[Step], where: Where, what: str) -> int:
    """Of what is granted of a device at any time; counted the slow way."""
    most, alive = 0, dict[str, int]()
    for step in steps:
        alive.pop(step.uid, None)
        if isinstance(step, Granted):
            on = [one for one in step.shares if (step.node, one.device) == where]
            alive[step.uid] = sum(1 if what == "slots" else getattr(one, what) for one in on)
        most = max(most, sum(alive.values()))
    return most


@given(st.integers(0, 10**9))
def test_a_pod_granted_twice_is_found_wherever_it_comes(seed: int) -> None:
    made = world(seed)
    twice = made.dice.choice([one for one in made.steps if isinstance(one, Granted)])

    found = audit.replay([*made.steps, evolve(twice, node="b" if twice.node == "a" else "a")], THERE)

    assert found == [f"step {len(made.steps)}: {twice.pod} is granted a second time"]


@pytest.mark.parametrize("first", [True, False])
def test_who_has_a_device_for_itself_is_not_alone(first: bool) -> None:
    alone, other = granted("1", share(exclusive=True)), granted("2", share(memory=1, cores=1))

    found = audit.replay([alone, other] if first else [other, alone], THERE)

    assert len(found) == 1
    assert "by one that has it for itself" in found[0]


def test_a_device_that_no_node_has_is_found() -> None:
    assert audit.replay([granted("1", share("g9"))], THERE) == ["step 0: team/1 on a: the node has no device g9"]


def test_containers_that_never_run_together_share_their_room() -> None:
    one = granted("1", share(memory=80, phases=(0,)), share(memory=90, phases=(1,)), share(memory=10, phases=(0, 1)))

    assert (audit.replay([one], THERE), audit.taken(one.shares)) == ([], {"g0": Room(2, 100, 20)})


def test_what_has_ended_leaves_room() -> None:
    first, second = granted("1", share(memory=60)), granted("2", share(memory=60))

    assert (audit.replay([first, Ended("1"), second], THERE), len(audit.replay([first, second], THERE))) == ([], 1)


# --- Bindings and pods -----------------------------------------------------------------------------------------------


def text(uid: str, *shares: Share) -> str:
    return wire.limits_text(f"{uid}/work", shares, [Grant("work", "nvidia", "g0", "")])


def pod(uid: str, node: str = "a", *shares: Share, phase: str = "Running", owner: str = "") -> dict[str, Any]:
    annotations = {"grant.hami.io/work": text(owner or uid, *shares)} if shares else {}
    meta = {"uid": uid, "name": uid, "namespace": "team", "annotations": annotations}
    return {"metadata": meta, "spec": {"nodeName": node} if node else {}, "status": {"phase": phase}}


def bound(uid: str, node: str = "a", *shares: Share, user: str = OURS) -> Bound:
    return Bound(user, uid, f"team/{uid}", node, {"grant.hami.io/work": text(uid, *shares), "hami.io/term": "x"})


def test_two_bindings_of_one_pod_are_found() -> None:
    assert audit.doubles([bound("1"), bound("2"), bound("1", "b")]) == ["1: 2 Bindings: team/1 on a, team/1 on b"]


def test_a_pod_is_what_its_binding_says() -> None:
    assert audit.unfounded([pod("1", "a", share()), pod("2", "")], [bound("1", "a", share())], OURS) == []


def test_a_pod_is_what_one_of_the_bindings_that_may_have_been_carried_out_says() -> None:
    pods = [pod("1", "a", share()), pod("2", "")]
    doubtful = [evolve(one, certain=False) for one in (bound("1", "b"), bound("1", "a", share()), bound("2", "a", share()))]

    assert (audit.unfounded(pods, doubtful, OURS), audit.doubles(doubtful)) == ([], [])


@pytest.mark.parametrize(
    ("seen", "written"),
    [
        pytest.param(pod("1", "a", share()), [], id="a grant without a Binding"),
        pytest.param(pod("1", "a", share()), [bound("1", "a", share(), user="mallory")], id="by somebody else"),
        pytest.param(pod("1", "b", share()), [bound("1", "a", share())], id="another node"),
        pytest.param(pod("1", "a", share(memory=99)), [bound("1", "a", share())], id="another grant"),
        pytest.param(pod("1", "a"), [bound("1", "a", share())], id="no grant"),
        pytest.param(pod("1", "b", share()), [evolve(bound("1", "a", share()), certain=False)], id="not what it may have been"),
    ],
)
def test_a_pod_that_is_not_what_its_binding_says_is_found(seen: dict[str, Any], written: list[Bound]) -> None:
    assert len(audit.unfounded([seen], written, OURS)) == 1


def test_a_grant_that_names_another_pod_cannot_be_read() -> None:
    assert history.unreadable([pod("1", "a", share(), owner="2"), pod("3", "a", share())]) == [
        "team/1: grant.hami.io/work @ line 2: it is not 'grant 1/work'"
    ]


# --- Books -----------------------------------------------------------------------------------------------------------

PAGE = """# HELP hami_gpu_memory_limit_bytes Memory of a device that may be handed out.
hami_gpu_memory_limit_bytes{node="a",device_uuid="g0",kind="nvidia"} 104857600
hami_gpu_memory_allocated_bytes{node="a",device_uuid="g0",kind="nvidia"} 20971520
hami_gpu_memory_allocated_bytes{node="a",device_uuid="g1",kind="nvidia"} 0
hami_gpu_core_allocated_ratio{node="a",device_uuid="g0",kind="nvidia"} 0.29
hami_gpu_core_allocated_ratio{node="a",device_uuid="g1",kind="nvidia"} 0.0
hami_gpu_shared_count{node="a",device_uuid="g0",kind="nvidia"} 2
hami_gpu_shared_count{node="a",device_uuid="g1",kind="nvidia"} 0
"""


def test_the_books_are_read_from_the_page_of_devices() -> None:
    assert audit.books(PAGE) == {("a", "g0"): Room(2, 20, 29)}


def test_pods_that_are_over_or_not_bound_hold_nothing_and_who_is_alone_holds_all_slots() -> None:
    pods = [
        pod("1", "a", share()),
        pod("2", "a", share("g1", exclusive=True)),
        pod("3", "a", share(), phase="Failed"),
        pod("4", "", share()),
    ]

    assert audit.live(pods, THERE) == {("a", "g0"): Room(1, 10, 10), ("a", "g1"): Room(3, 10, 10)}


@pytest.mark.parametrize(
    "counted",
    [
        pytest.param({}, id="forgotten"),
        pytest.param({("a", "g0"): Room(1, 11, 10)}, id="too much"),
        pytest.param({("a", "g0"): Room(1, 10, 10), ("a", "g1"): Room(1, 0, 0)}, id="never given back"),
    ],
)
def test_books_that_differ_from_the_pods_are_found(counted: dict[Where, Room]) -> None:
    assert len(audit.leaks(counted, {("a", "g0"): Room(1, 10, 10)})) == 1


def test_books_that_say_what_the_pods_hold_are_right() -> None:
    assert audit.leaks({("a", "g0"): Room(1, 10, 10)}, audit.live([pod("1", "a", share())], THERE)) == []


def test_a_pod_that_waits_is_found() -> None:
    assert audit.stuck([pod("1", ""), pod("2"), pod("3", "", phase="Failed")]) == ["team/1 is not bound"]


# --- The audit log ---------------------------------------------------------------------------------------------------


def entry(resource: str, verb: str, name: str, received: int, answered: int, **more: Any) -> Entry:
    ordinary: dict[str, Any] = {
        "user": OURS,
        "namespace": "team",
        "status": 201 if verb == "create" else 200,
        "body": {},
        "answer": {},
        "annotations": {},
        "agent": "",
        "uri": "",
        "stage": "ResponseComplete",
    }
    times = {"received": f"2026-01-01T00:00:{received:02}.000000Z", "answered": f"2026-01-01T00:00:{answered:02}.000000Z"}
    return Entry(resource=resource, verb=verb, name=name, **{**ordinary, **times, **more})


def binding(uid: str, received: int, answered: int, **more: Any) -> Entry:
    body = {"metadata": {"uid": uid, "annotations": {"grant.hami.io/work": text(uid, share())}}, "target": {"name": "a"}}
    return entry("pods/binding", "create", uid, received, answered, body=body, **more)


def test_the_log_tells_grants_at_their_answers_and_ends_at_their_requests() -> None:
    log = [binding("1", 1, 2), binding("2", 3, 6), entry("pods", "delete", "1", 5, 7), binding("3", 3, 4, status=409)]
    log += [entry("pods/status", "patch", "2", 8, 9, user="kwok"), entry("pods/status", "patch", "2", 9, 9, user="admin")]

    assert history.steps(log) == [granted("1", share()), Ended("1"), granted("2", share()), Ended("2")]


def test_only_bindings_that_were_carried_out_count() -> None:
    found = list(history.bindings([binding("1", 1, 2), binding("1", 3, 4, status=409), entry("pods", "create", "1", 0, 1)]))

    assert [(one.user, one.uid, one.pod, one.node) for one in found] == [(OURS, "1", "team/1", "a")]


def test_lines_are_put_together_from_pieces() -> None:
    assert list(history.lines([b"o", b"ne\ntw", b"o\nthr"])) == [b"one", b"two"]
