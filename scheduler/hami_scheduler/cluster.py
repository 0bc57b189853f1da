"""The scheduler's middle as one object: what the watches say goes in, what kube-scheduler asks is answered. No I/O, one thread.

Whoever owns it calls it from one thread only, and never blocks inside. Time is what ``now`` says. Everything here can be made
again from listed pods, nodes and quotas, except what was promised in the last seconds: the holds of Bindings on their way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from hami_core.errors import ValidationError
from hami_scheduler import asked, choosing, explain, filtering, tallies
from hami_scheduler.binding import Begun, Binder, Outcome, Refusal
from hami_scheduler.filtering import Filtered, Why
from hami_scheduler.holds import Stage
from hami_scheduler.recent import Recent
from hami_scheduler.settings import SchedulerSettings
from hami_scheduler.state import State
from hami_scheduler.watching import Pods

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import Any

    from pluggy import HookRelay

    from hami_core.decision import Tables
    from hami_core.kube.objects import Node, Pod, ResourceQuota
    from hami_core.model import Holding
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_scheduler.asked import Asked
    from hami_scheduler.holds import Hold
    from hami_scheduler.tallies import Counts, NodeSums, QuotaUse

__all__ = ["Begun", "Cluster", "Doubt", "Filtered", "Outcome", "Refusal", "Waiting", "Why"]

ASKED = 8192, 3600.0
"""How many pods' requests are remembered between filter and bind, and for how many seconds: binding may wait for volumes."""

RANKED = 64, 600.0
"""The same for ranks, between filter and prioritize: kube-scheduler goes through one pod after the other."""

WAITING = 20_000, 1800.0
"""The same for why pods wait: kube-scheduler looks at each of them every five minutes at least."""

UNSEEN = 30.0
"""Seconds after which a pod that is bound by the API server's word should have been seen by the watch."""


@frozen
class Waiting:
    """A pod that no node could hold when it was last looked at."""

    uid: str
    namespace: str
    name: str
    why: Why


@frozen
class Doubt:
    """A pod of which only a read can tell whether it is bound: see ``Cluster.read``."""

    uid: str
    namespace: str
    name: str
    node: str


class Cluster:
    """One cluster: its nodes, its pods' grants, its quotas, and the decisions about them."""

    def __init__(self, hook: HookRelay, catalogue: Catalogue, settings: Settings, *, now: Callable[[], float]) -> None:
        self._hook, self._catalogue, self._settings, self._now = hook, catalogue, settings, now
        self._own = settings[SchedulerSettings]
        self._state = State(hook, catalogue)
        self._pods = Pods(self._state, self._ended, now)
        self._binder = Binder(hook, catalogue, settings, self._state)
        self._asked: Recent[str, Asked] = Recent(*ASKED, now)
        self._ranked: Recent[str, Mapping[str, int]] = Recent(*RANKED, now)
        self._waiting: Recent[str, Waiting] = Recent(*WAITING, now)

    # --- What the watches say. ---

    def nodes_replaced(self, nodes: Sequence[Node]) -> None:
        """These are all the nodes there are."""
        self._state.nodes_replaced(nodes)

    def nodes_changed(self, batch: Sequence[tuple[str, Node]]) -> bool:
        """What happened to nodes, in order. Whether there may be room that there was not before."""
        more = False
        for event, node in batch:
            if event == "DELETED":
                self._state.remove_node(node.metadata.name)
            else:
                more |= self._state.put_node(node)
        return more

    def pods_replaced(self, pods: Sequence[Pod]) -> None:
        """These are all the prepared pods there are, bound or not."""
        self._pods.replaced(pods)

    def pods_changed(self, batch: Sequence[tuple[str, Pod]]) -> None:
        """What happened to prepared pods, in order."""
        self._pods.changed(batch)

    def quotas_replaced(self, quotas: Sequence[ResourceQuota]) -> None:
        """These are all the quotas there are."""
        self._state.quotas.replaced(quotas)

    def quotas_changed(self, batch: Sequence[tuple[str, ResourceQuota]]) -> None:
        """What happened to quotas, in order."""
        for event, one in batch:
            if event == "DELETED":
                self._state.quotas.remove(one)
            else:
                self._state.quotas.put(one)

    def _ended(self, uid: str) -> None:
        """Nobody will ask about this pod again."""
        self._asked.pop(uid)
        self._ranked.pop(uid)
        self._waiting.pop(uid)

    # --- What kube-scheduler asks. ---

    def filter(self, pod: Mapping[str, Any], names: Sequence[str]) -> Filtered:
        """The best of these nodes that can hold the pod; room on the first is held for it for a short time.

        ValidationError: the pod asks for what cannot be meant. PluginError: a plugin broke its contract.
        """
        known = self._known(pod)
        if not known.asks:
            return Filtered(tuple(names), {}, ours=False)
        if not known.prepared:
            return self._nowhere(names, filtering.UNPREPARED)
        if node := self._state.firmly(known.uid):
            return self._only(node, names)
        self._state.release(known.uid)
        choice = choosing.choose(self._hook, self._state, known, names, self._own.nodes_returned)
        self._remember(known, choice)
        return choice.filtered

    def explain(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        """What would become of the pod now, for people (docs/json.md). Nothing is held or remembered."""
        found = explain.document(self._hook, self._catalogue, self._settings, self._state, pod)
        waits = self._waiting.get(asked.uid(pod))
        if waits is not None and found["answer"] == explain.FITS:
            found["notes"].append(f"when kube-scheduler last asked, of the nodes that had passed its own tests: {waits.why}")
        return found

    def prioritize(self, uid: str, names: Sequence[str]) -> Mapping[str, int]:
        """0 to 10 for each of these nodes, as filter ranked them for this pod; 0 for all that it did not keep."""
        ranked = self._ranked.get(uid) or {}
        return {name: ranked.get(name, 0) for name in names}

    def begin(self, uid: str, namespace: str, name: str, node: str, term: str) -> Begun | Refusal:
        """Take the pod's room on this node firmly; what its Binding has to carry. Refusal: it must not be bound there now."""
        known = self._asked.get(uid)
        if known is not None and (known.namespace, known.name) != (namespace, name):
            return Refusal(f"the pod of this uid is {known.namespace}/{known.name}")
        return self._binder.begin(uid, node, term, known)

    def settle(self, uid: str, outcome: Outcome) -> None:
        """What became of a Binding that was begun: each is settled once by BOUND or REFUSED, after UNKNOWN too."""
        self._binder.settle(uid, outcome, self._now())

    def read(self, uid: str, pod: Pod | None) -> None:
        """What a read of the pod said, begun when no Binding of it could arrive any more. None: there is no such pod."""
        self._binder.read(uid, pod, self._now())

    def expire(self) -> int:
        """Give up what was held for a while, and forget what is old. To be called once a second. How many holds it were."""
        over = 0
        for hold in self._state.holds.over(self._now()):
            self._state.release(hold.uid)
            over += 1
        for memory in (self._asked, self._ranked, self._waiting):
            memory.expire()
        return over

    def _known(self, pod: Mapping[str, Any]) -> Asked:
        """What the pod asks; read again when the pod has changed."""
        uid, version = asked.uid(pod), asked.version(pod)
        if not uid:
            raise ValidationError("metadata.uid", "missing", "a pod that is to be scheduled has one")
        known = self._asked.get(uid)
        if known is None or not version or known.version != version:
            known = asked.read(self._hook, self._catalogue, self._settings, pod)
        self._asked[uid] = known
        return known

    def _only(self, node: str, names: Sequence[str]) -> Filtered:
        """Room is held firmly on this node, so the pod can go nowhere else."""
        if node in names:
            return Filtered((node,), {})
        return self._nowhere(names, filtering.ELSEWHERE)

    def _nowhere(self, names: Sequence[str], code: int) -> Filtered:
        """No node is kept, all for the same reason."""
        phrase = filtering.phrase(code)
        failed = dict.fromkeys(names, phrase)
        why = filtering.why(failed, f"0/{len(failed)} nodes: {phrase}")
        return Filtered((), failed, why, ours=code != filtering.UNPREPARED)

    def _remember(self, known: Asked, choice: choosing.Choice) -> None:
        filtered = choice.filtered
        if filtered.why is not None:
            self._waiting[known.uid] = Waiting(known.uid, known.namespace, known.name, filtered.why)
            return
        self._waiting.pop(known.uid)
        self._ranked[known.uid] = dict(zip(filtered.kept, filtering.levels(choice.ranks), strict=True))
        self._state.hold_for_a_while(filtered.kept[0], choosing.holding(known, choice.shares), self._now() + self._own.hold)

    # --- What people and metrics ask. ---

    def waiting(self) -> Iterator[Waiting]:
        """Every pod that no node could hold when it was last looked at."""
        return (waits for _, waits in self._waiting.items())

    def doubts(self) -> Iterator[Doubt]:
        """Pods that only a read can settle: the answer was lost, or the watch does not show what the API server answered."""
        until = self._now() - UNSEEN
        for hold in self._state.holds.firm():
            if hold.stage is Stage.UNKNOWN or (hold.stage is Stage.BOUND and hold.settled <= until):
                yield Doubt(hold.uid, hold.holding.namespace, hold.holding.name, hold.node)

    def counts(self) -> Counts:
        """How many there are of everything."""
        return evolve(tallies.counts(self._state), pods=len(self._pods), waiting=len(self._waiting))

    def by_node(self) -> Sequence[NodeSums]:
        """What there is and what is taken on every node, as columns, for each way of splitting each kind."""
        return tallies.by_node(self._state.tables)

    @property
    def tables(self) -> Tables:
        """Every device, as columns that are not to be written."""
        return self._state.tables

    def quotas(self) -> Iterator[QuotaUse]:
        """Every limit of every quota, and what of it is used."""
        return tallies.quotas(self._state)

    def by_namespace(self) -> Mapping[tuple[str, str], tuple[int, int, int]]:
        """(namespace, kind) -> devices, MiB and percent that are taken."""
        return dict(self._state.usage.items())

    def holdings(self) -> Collection[tuple[str, Holding]]:
        """(node, holding), for everything that is held, however firmly."""
        return self._state.fleet.holdings()

    def holds(self) -> Sequence[Hold]:
        """Everything that is held without a watch having shown it: for people."""
        return (*self._state.holds.firm(), *self._state.holds.likely())

    def unreadable_grants(self) -> Mapping[str, tuple[str, str]]:
        """Uid -> (node, sentence): nothing new goes to these nodes."""
        return self._state.unreadable

    def unreadable_inventories(self) -> Mapping[str, Mapping[str, str]]:
        """Node -> kind -> sentence: these nodes have nothing of these kinds."""
        return self._state.inventory_faults

    def unreadable_quotas(self) -> Sequence[tuple[str, str]]:
        """(namespace, sentence): nothing new of these kinds is granted there."""
        return tuple(self._state.quotas.faults())
