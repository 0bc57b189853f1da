"""The two ends of a bind: ``begin`` takes the pod's room on a node firmly, ``settle`` says what became of the Binding.

Everything is idempotent by the pod's uid. A hold becomes firm before its Binding is sent, and ends only when it is known that
the pod is bound, or that it will not be by this Binding: so nothing is granted twice, whatever gets lost in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.errors import HamiError, WireError
from hami_core.model import Share
from hami_scheduler import choosing, filtering, grants
from hami_scheduler.holds import Hold, Stage

if TYPE_CHECKING:
    from pluggy import HookRelay

    from hami_core.kube.objects import Pod
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_scheduler.asked import Asked
    from hami_scheduler.state import State


class Outcome(Enum):
    """What became of a Binding. UNKNOWN: it may have been carried out; the shares are kept until it is known."""

    BOUND = "bound"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@frozen
class Begun:
    """The shares are taken firmly: the Binding may be sent with these annotations.

    ``bound``: the watch has shown the pod on this node already, so there is nothing left to write.
    """

    annotations: Mapping[str, str]
    shares: tuple[Share, ...]
    bound: bool = False


@frozen
class Refusal:
    """Why a bind must not be, in one sentence. kube-scheduler tries the pod again."""

    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Binder:
    """Begins and settles binds on the books."""

    def __init__(self, hook: HookRelay, catalogue: Catalogue, settings: Settings, state: State) -> None:
        self._hook, self._catalogue, self._settings, self._state = hook, catalogue, settings, state

    def begin(self, uid: str, node: str, term: str, asked: Asked | None) -> Begun | Refusal:
        """``asked``: what filter was asked for this pod. None: nothing is known of it."""
        hold = self._state.holds.get(uid)
        if hold is not None and hold.firm:
            return self._again(hold, node, term)
        if known := self._known(uid, node):
            return known
        if asked is None:
            return Refusal("nothing is known of this pod here (the scheduler has started anew); it has to be filtered again")
        if not asked.asks:  # it names a resource of ours and wants none of it ("0"): it is for us to bind
            return Begun({}, ())
        if not asked.prepared:
            return Refusal(filtering.phrase(filtering.UNPREPARED))
        if node in self._state.closed:
            return Refusal(f"node {node} gets nothing new: a grant on it cannot be read")
        taken = self._taken(asked, node, hold)
        return taken if isinstance(taken, Refusal) else self._begun(asked, taken, term)

    def settle(self, uid: str, outcome: Outcome, now: float) -> None:
        """One Binding of this pod is over, or its answer is lost. What the watch has said already stands."""
        hold = self._state.holds.get(uid)
        if hold is None or not hold.firm:
            return
        if outcome is Outcome.BOUND:
            hold.stage, hold.attempts, hold.settled = Stage.BOUND, 0, now
        elif hold.stage is Stage.BOUND:
            return
        elif outcome is Outcome.UNKNOWN:
            hold.stage = Stage.UNKNOWN
        else:
            hold.attempts -= 1
            if hold.attempts <= 0:
                self._state.release(uid)

    def read(self, uid: str, pod: Pod | None, now: float) -> None:
        """What a read of the pod said, begun when no Binding of it could arrive any more. None: there is no pod of this uid.

        A read is ahead of the watch, so it confirms nothing: it tells whether the hold has to stand until the watch comes.
        """
        hold = self._state.holds.get(uid)
        if hold is None or not hold.firm:
            return
        if pod is not None and pod.metadata.uid == uid and _is_there(pod, hold):
            hold.stage, hold.attempts, hold.settled = Stage.BOUND, 0, now
        else:
            self._state.release(uid)

    def _again(self, hold: Hold, node: str, term: str) -> Begun | Refusal:
        """A Binding was begun before: the same node is the same answer."""
        if hold.node != node:
            return Refusal(f"the pod is being bound to node {hold.node}")
        if hold.stage is not Stage.BOUND:
            hold.attempts += 1
            hold.stage = Stage.BINDING if hold.stage is Stage.BINDING else Stage.UNKNOWN
        return Begun({**hold.annotations, names.TERM: term}, hold.holding.shares, bound=hold.stage is Stage.BOUND)

    def _known(self, uid: str, node: str) -> Begun | Refusal | None:
        """What the watch has said of this pod."""
        if uid in self._state.unreadable:
            return Refusal(f"the pod is bound already, with a grant that cannot be read: {self._state.unreadable[uid][1]}")
        held = self._state.fleet.holding(uid)
        if held is None or not self._state.firmly(uid):
            return None
        if held[0] != node:
            return Refusal(f"the pod is bound to node {held[0]} already")
        return Begun({}, held[1].shares, bound=True)

    def _taken(self, asked: Asked, node: str, hold: Hold | None) -> Hold | Refusal:
        """The pod's room on this node: what filter held there, or chosen now."""
        if hold is not None and hold.node == node and self._within_quota(hold):
            return hold
        self._state.release(asked.uid)
        row = self._state.fleet.row(node)
        if row is None:
            return Refusal(f"node {node} has published no device")
        try:
            placed = choosing.place(self._hook, self._state, asked, row)
        except HamiError as error:  # a plugin's
            placed = str(error)
        if isinstance(placed, str):
            return Refusal(f"node {node} cannot hold the pod any more: {placed}")
        return self._state.hold_for_a_while(node, choosing.holding(asked, placed), 0.0)

    def _within_quota(self, hold: Hold) -> bool:
        """Whether the namespace may still have what the hold takes; the quota may have changed since."""
        self._state.usage.remove(hold.holding)
        refused = choosing.refused_by_quota(self._state, hold.holding.namespace, hold.holding.shares)
        self._state.usage.add(hold.holding)
        return not refused

    def _begun(self, asked: Asked, hold: Hold, term: str) -> Begun | Refusal:
        told = self._told(asked, hold)
        if isinstance(told, Refusal):
            self._state.release(hold.uid)
            return told
        hold.annotations, hold.stage, hold.attempts = told, Stage.BINDING, 1
        self._state.holds.harden(hold)
        return Begun({**told, names.TERM: term}, hold.holding.shares)

    def _told(self, asked: Asked, hold: Hold) -> Mapping[str, str] | Refusal:
        try:
            told = grants.written(self._hook, self._catalogue, self._settings, hold.uid, hold.holding.shares)
        except HamiError as error:
            return Refusal(f"the grant cannot be written: {error}")
        size = grants.size(told) + asked.annotated
        if size > grants.LARGEST:
            return Refusal(
                f"the pod's annotations would have {size} bytes with its grant, at most {grants.LARGEST} are possible"
            )
        return told


def _is_there(pod: Pod, hold: Hold) -> bool:
    """Whether a pod has what a hold of its own keeps for it."""
    try:
        return pod.spec.node_name == hold.node and grants.may_hold(pod) and grants.same(hold.holding.shares, grants.shares(pod))
    except WireError:
        return False
