"""Pods, nodes, Bindings, lost answers, late events, new starts in any order, against an API server that is a few dictionaries.

The model knows who is bound and what is on its way, and nothing of how the books are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from hami_core import ledger, names, wire
from hami_core.model import Holding, Share
from hami_scheduler import grants, quota
from hami_scheduler.binding import Begun, Outcome
from tests.core.fleet import CARD, CORES, MEMORY, PERCENT, a_container
from tests.scheduler.world import Clock, a_node, a_pod, a_quota, a_world, seen, version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.kube.objects import Node, Pod

NODES = ("n0", "n1", "n2")
SPACES = ("red", "blue")
LAYOUTS = ((), (40,), (40, 40), (40, 20, 60))
SLOTS = 3

CONTAINERS = st.fixed_dictionaries(
    {CARD: st.sampled_from((1, 1, 2))},
    optional={
        MEMORY: st.sampled_from((5, 10, 20, 40)),
        PERCENT: st.sampled_from((10, 50, 100)),
        CORES: st.sampled_from((0, 30, 60, 100)),
    },
)
WAYS = (
    ("arrive", "answer"),
    ("arrive", "answer"),
    ("arrive", "lose_the_answer"),
    ("lose_the_answer", "arrive"),
    ("get_lost", "answer"),
    ("get_lost", "lose_the_answer"),
    ("arrive",),
    ("lose_the_answer",),
    ("answer",),
    ("read_the_pod",),
)
LIMITS = st.none() | st.sampled_from(("0", "20", "60", "100", "30Gi"))


@define(eq=False)
class Truth:
    """One pod as the API server has it."""

    manifest: Mapping[str, Any]
    node: str = ""
    annotations: Mapping[str, str] = {}
    phase: str = "Pending"
    label: str = "true"
    version: str = ""
    ours: bool = True  # bound by a Binding of ours

    @property
    def uid(self) -> str:
        return str(self.manifest["metadata"]["uid"])

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    @property
    def holds(self) -> bool:
        return bool(self.node) and self.label == "true" and self.phase == "Pending"

    def shown(self) -> Pod:
        return seen(self.manifest, self.node, self.annotations, phase=self.phase, label=self.label, at=self.version)

    def shares(self) -> tuple[Share, ...]:
        return grants.shares(self.shown())


@define(eq=False)
class Sent:
    """A Binding on its way."""

    uid: str
    node: str
    begun: Begun
    arrived: Outcome | None = None
    lost: bool = False  # the scheduler was told that no answer will come


class Life(RuleBasedStateMachine):
    """The API server, the network, and the scheduler's middle in between."""

    pods = Bundle("pods")
    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.world = a_world(clock=self.clock, scheduler_extender_holdSeconds=5, scheduler_extender_nodesReturned=2)
        self.nodes: dict[str, Node] = {}
        self.layout: dict[str, tuple[int, ...]] = {}
        self.truth: dict[str, Truth] = {}
        self.quotas: dict[str, Any] = {}
        self.queue: list[tuple[str, Any]] = []
        self.past: list[tuple[str, Pod]] = []
        self.way: list[Sent] = []
        self.space: dict[str, str] = {}  # uid -> namespace, of all that ever were

    # --- The API server and its watch. ---

    def change(self, pod: Truth, event: str = "MODIFIED") -> None:
        pod.version = version()
        self.queue.append((event, pod.shown()))

    @initialize()
    def begins(self) -> None:
        for name, layout in zip(NODES, LAYOUTS[1:], strict=True):
            self.set_node(name, layout, listed=False)

    @rule(name=st.sampled_from(NODES), layout=st.none() | st.sampled_from(LAYOUTS), listed=st.booleans())
    def set_node(self, name: str, layout: tuple[int, ...] | None, listed: bool) -> None:
        event, node = "MODIFIED", self.nodes.pop(name, None)
        self.layout.pop(name, None)
        if layout is None:
            event = "DELETED"
        else:
            node = self.nodes[name] = a_node(name, *layout, slots=SLOTS) if layout else a_node(name, annotations={})
            self.layout[name] = layout
        if listed:
            self.world.cluster.nodes_replaced(list(self.nodes.values()))
        elif node is not None:
            self.world.cluster.nodes_changed([(event, node)])

    @rule(space=st.sampled_from(SPACES), memory=LIMITS, cores=LIMITS)
    def set_quota(self, space: str, memory: str | None, cores: str | None) -> None:
        hard = {"limits_memory": memory, "requests_cores": cores}
        one = a_quota(space, space, **{key: text for key, text in hard.items() if text is not None})
        self.quotas[space] = one
        self.world.cluster.quotas_changed([("MODIFIED", one)])

    @rule(
        target=pods,
        limits=st.lists(CONTAINERS, min_size=1, max_size=2),
        inits=st.lists(CONTAINERS, max_size=1),
        space=st.sampled_from(SPACES),
    )
    def create(self, limits: list[dict[str, int]], inits: list[dict[str, int]], space: str) -> str:
        uid = f"uid-{len(self.space)}"
        self.space[uid] = space
        ordinary = [a_container(f"c{n}", limits=one) for n, one in enumerate(limits)]
        before = [a_container(f"i{n}", limits=one) for n, one in enumerate(inits)]
        manifest = a_pod(uid, *ordinary, namespace=space, initContainers=before)
        self.truth[uid] = Truth(manifest)
        self.change(self.truth[uid], "ADDED")
        return uid

    @rule(uid=consumes(pods))
    def delete(self, uid: str) -> None:
        self.change(self.truth[uid], "DELETED")
        del self.truth[uid]

    @rule(uid=pods, what=st.sampled_from(("is touched", "ends", "loses its label")))
    def happens(self, uid: str, what: str) -> None:
        """A watch by label shows that the label is gone as the end of the pod."""
        pod = self.truth[uid]
        if pod.node and what == "ends":
            pod.phase = "Succeeded"
        elif pod.node and what == "loses its label":
            pod.label = ""
        self.change(pod, "MODIFIED" if pod.label else "DELETED")

    @rule(uid=pods, node=st.sampled_from(NODES), readable=st.booleans())
    def bound_under_another_leadership(self, uid: str, node: str, readable: bool) -> None:
        """Before ours began, so everything that happened until then is listed afterwards."""
        pod = self.truth[uid]
        if not pod.node:
            share = Share("c0", "acme", f"{node}-d0", 1, 40, 0)
            text = wire.limits_text(names.grant_id(uid, "c0"), [share], [])
            pod.node, pod.ours = node, False
            pod.annotations = {names.grant_key("c0"): text if readable else text.replace("hami-limits 1", "hami-limits 2")}
            self.change(pod)
            self.relist()
            self.deliver(len(self.queue))

    @rule(number=st.integers(1, 5))
    def deliver(self, number: int) -> None:
        for event, what in self.queue[:number]:
            if event == "LIST":
                self.world.cluster.pods_replaced(what)
            else:
                self.world.cluster.pods_changed([(event, what)])
                self.past.append((event, what))
        del self.queue[:number]

    @rule()
    def relist(self) -> None:
        """What the watch had still to say is in the list; who is created or bound after it comes after it."""
        self.queue[:] = [("LIST", [pod.shown() for pod in self.truth.values() if pod.label])]

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        self.world.cluster.pods_changed([data.draw(st.sampled_from(self.past))])

    # --- kube-scheduler. ---

    @rule(target=sent, uid=pods, offered=st.permutations(NODES), chosen=st.integers(0, 2), stray=st.booleans())
    def schedule(self, uid: str, offered: list[str], chosen: int, stray: bool) -> object:
        """The kept node of this number is chosen, now and then another one, or none yet."""
        pod = self.truth[uid]
        if pod.node:
            return multiple()
        kept = self.world.filter(pod.manifest, *offered)
        self.world.cluster.prioritize(uid, kept)
        nodes = offered if stray else kept
        return self.bind(uid, nodes[chosen]) if chosen < len(nodes) else multiple()

    @rule(target=sent, uid=pods, offered=st.permutations(NODES))
    def schedule_the_best(self, uid: str, offered: list[str]) -> object:
        return self.schedule(uid, offered, 0, stray=False)

    @rule(target=sent, uid=pods, node=st.sampled_from(NODES))
    def bind_again(self, uid: str, node: str) -> object:
        return multiple() if self.truth[uid].node else self.bind(uid, node)

    def bind(self, uid: str, node: str) -> object:
        before = {one.uid: one for one in self.way}
        begun = self.world.try_to_begin(self.truth[uid].manifest, node)
        if not isinstance(begun, Begun):
            return multiple()
        if uid in before:
            assert (before[uid].node, before[uid].begun.shares) == (node, begun.shares)
        else:
            self.check(uid, node, begun.shares)
        sent = Sent(uid, node, begun)
        self.way.append(sent)
        return sent

    def firm(self) -> dict[str, tuple[str, str, tuple[Share, ...]]]:
        """Uid -> namespace, node, shares: everything that is granted, or may be."""
        waiting = {uid for uid, pod in self.truth.items() if not pod.node}
        held = {one.uid: (self.space[one.uid], one.node, plain(one.begun.shares)) for one in self.way if one.uid in waiting}
        readable = (pod for pod in self.truth.values() if pod.holds and not unreadable(pod))
        return held | {pod.uid: (pod.namespace, pod.node, pod.shares()) for pod in readable}

    def check(self, uid: str, node: str, shares: tuple[Share, ...]) -> None:
        """A new grant fits beside all others, in devices and in the namespace's quota."""
        space = self.space[uid]
        others = [(n, s) for one, (_, n, s) in self.firm().items() if one != uid]
        assert node in self.nodes
        assert not any(unreadable(pod) and pod.holds and pod.node == node for pod in self.truth.values())
        for (_, _, device), claim in ledger.claims(shares).items():
            size = self.layout[node][int(device.partition("-d")[2])]
            beside = [c for n, s in others if n == node for (_, _, d), c in ledger.claims(s).items() if d == device]
            assert claim.memory + sum(one.memory for one in beside) <= size
            assert claim.cores + sum(one.cores for one in beside) <= 100
            assert claim.slots + len(beside) <= SLOTS or claim.exclusive
            assert not (beside and (claim.exclusive or any(one.exclusive for one in beside)))
        own = quota.amounts(shares).get("acme", quota.NOTHING)
        same = [
            quota.amounts(s).get("acme", quota.NOTHING) for one, (n, _, s) in self.firm().items() if n == space and one != uid
        ]
        for key, text in (self.quotas[space].spec.hard if space in self.quotas else {}).items():
            role = 1 if key.endswith(MEMORY) else 2
            assert text != "30Gi"
            assert not own[role] or own[role] + sum(one[role] for one in same) <= int(text)

    # --- The way to the API server and back. ---

    @rule(one=sent, steps=st.sampled_from(WAYS))
    def goes_its_way(self, one: Sent, steps: tuple[str, ...]) -> None:
        for step in steps:
            getattr(self, step)(one)

    def arrive(self, one: Sent) -> None:
        if one.arrived is not None:
            return
        pod = self.truth.get(one.uid)
        if pod is None or pod.node or not one.begun.annotations:
            one.arrived = Outcome.REFUSED
            return
        one.arrived = Outcome.BOUND
        pod.node, pod.annotations = one.node, {**pod.annotations, **one.begun.annotations}
        self.change(pod)

    def get_lost(self, one: Sent) -> None:
        one.arrived = one.arrived or Outcome.REFUSED

    def answer(self, one: Sent) -> None:
        if one.arrived is not None and one in self.way and not one.lost:
            self.world.cluster.settle(one.uid, one.arrived)
            self.way.remove(one)

    def lose_the_answer(self, one: Sent) -> None:
        if one in self.way and not one.lost:
            self.world.cluster.settle(one.uid, Outcome.UNKNOWN)
            one.lost = True

    def read_the_pod(self, one: Sent) -> None:
        """When no Binding of it can arrive any more."""
        same = [other for other in self.way if other.uid == one.uid]
        if one in self.way and all(other.lost and other.arrived is not None for other in same):
            pod = self.truth.get(one.uid)
            self.world.cluster.read(one.uid, pod.shown() if pod else None)
            self.way = [other for other in self.way if other.uid != one.uid]

    @rule(target=sent, one=sent, arrives=st.sampled_from(("before", "after", "later")), answered=st.booleans())
    def another_try_after_a_lost_answer(self, one: Sent, arrives: str, answered: bool) -> object:
        """The second Binding is refused where the first arrived, and says nothing about it."""
        if one not in self.way or one.uid not in self.truth:
            return multiple()
        if arrives == "before":
            self.arrive(one)
        self.lose_the_answer(one)
        begun = self.world.try_to_begin(self.truth[one.uid].manifest, one.node)
        if not isinstance(begun, Begun):
            return multiple()
        second = Sent(one.uid, one.node, begun)
        self.way.append(second)
        if arrives == "after":
            self.arrive(one)
        self.arrive(second)
        if answered:
            self.answer(second)
        return second

    @rule(seconds=st.sampled_from((0.5, 3.0, 40.0)))
    def time_passes(self, seconds: float) -> None:
        """Once a second; those in doubt are read, but for those of whom a Binding may be on its way."""
        self.clock.time += seconds
        self.world.cluster.expire()
        on_their_way = {one.uid for one in self.way}
        for doubt in [doubt for doubt in self.world.cluster.doubts() if doubt.uid not in on_their_way]:
            pod = self.truth.get(doubt.uid)
            self.world.cluster.read(doubt.uid, pod.shown() if pod else None)

    # --- What always holds. ---

    @invariant()
    def what_is_granted_is_held(self) -> None:
        """Whatever the watch has shown by now: at least on the books of who granted it."""
        held = {holding.uid: (node, holding) for node, holding in self.world.cluster.holdings()}
        for pod in self.truth.values():
            if pod.holds and pod.ours:
                node, holding = held[pod.uid]
                assert (node, set(plain(holding.shares))) == (pod.node, set(pod.shares()))
        for one in self.way:
            if one.uid in self.truth and not one.begun.bound and not self.truth[one.uid].node:
                assert one.uid in held

    @invariant()
    def sums_are_those_of_all_holdings(self) -> None:
        assert self.world.cluster.by_namespace() == summed(holding for _, holding in self.world.cluster.holdings())

    def settle_everything(self) -> None:
        for one in list(self.way):
            self.arrive(one)
            self.lose_the_answer(one)
        for one in list(self.way):
            self.read_the_pod(one)
        self.deliver(len(self.queue))
        self.time_passes(40.0)

    def teardown(self) -> None:
        """At rest a new start sees the same; and when all pods are gone nothing is left."""
        self.settle_everything()
        anew = a_world(*self.nodes.values(), quotas=tuple(self.quotas.values()))
        anew.cluster.pods_replaced([pod.shown() for pod in self.truth.values() if pod.label])
        assert facts(self.world.cluster) == facts(anew.cluster)
        for pod in list(self.truth.values()):
            self.delete(pod.uid)
        self.settle_everything()
        self.clock.time += 10_000
        self.world.cluster.expire()
        counts = self.world.cluster.counts()
        assert counts == evolve(
            counts, pods=0, waiting=0, holdings=0, likely=0, binding=0, unknown=0, bound=0, unreadable_grants=0, closed_nodes=0
        )
        assert self.world.cluster.by_namespace() == {}
        assert not any(self.world.used().values())


def unreadable(pod: Truth) -> bool:
    return any("hami-limits 2" in text for text in pod.annotations.values())


def plain(shares: Iterable[Share]) -> tuple[Share, ...]:
    return tuple(evolve(share, options=()) for share in shares)


def summed(holdings: Iterable[Holding]) -> dict[tuple[str, str], tuple[int, ...]]:
    sums: dict[tuple[str, str], tuple[int, ...]] = {}
    for holding in holdings:
        for (kind, _, _), claim in ledger.claims(holding.shares).items():
            before = sums.get((holding.namespace, kind), (0, 0, 0))
            own = claim.slots, claim.memory, claim.cores
            sums[holding.namespace, kind] = tuple(map(sum, zip(before, own, strict=True)))
    return sums


def facts(cluster: Any) -> object:
    """All that the books say, in no order."""
    held = {holding.uid: (node, holding.namespace, frozenset(plain(holding.shares))) for node, holding in cluster.holdings()}
    columns = [
        {
            node: tuple(int(column[n]) for column in (one.slots_used, one.memory_used, one.cores_used))
            for n, node in enumerate(one.nodes)
        }
        for one in cluster.by_node()
    ]
    return held, columns, cluster.by_namespace(), {uid: node for uid, (node, _) in cluster.unreadable_grants().items()}


class LongLife(Life):
    """The same, more often."""


TestAnyOrder = pytest.mark.slow(Life.TestCase)
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestAnyOrderOfMany = pytest.mark.long(LongLife.TestCase)
TestAnyOrderOfMany.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
