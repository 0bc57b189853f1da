"""What the watch of pods says, carried into the books: who holds what is what bound pods' annotations say.

Events may come twice, or late beside a list: an object that is older than what is known of its pod is passed over. A pod's uid
never comes back, so what is older than its end is passed over too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core.errors import WireError
from hami_core.model import Holding
from hami_scheduler import grants
from hami_scheduler.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hami_core.kube.objects import Pod
    from hami_core.model import Share
    from hami_scheduler.state import State

GONE = 20_000, 3600.0
"""How many pods that are gone are remembered, and for how many seconds: longer than any event is late."""


class Pods:
    """The pods that the watch has shown."""

    def __init__(self, state: State, ended: Callable[[str], None], now: Callable[[], float]) -> None:
        """``ended`` is told the uid of every pod that is bound or gone: it will not be asked about again."""
        self._state, self._ended = state, ended
        self._versions: dict[str, int] = {}  # of every pod that is there
        self._gone: Recent[str, int] = Recent(*GONE, now)

    def __len__(self) -> int:
        return len(self._versions)

    def replaced(self, pods: Sequence[Pod]) -> None:
        """These are all the pods there are; except that a pod whose Binding we sent may be younger than the list."""
        here = {pod.metadata.uid for pod in pods}
        for uid in [uid for uid in self._versions if uid not in here]:
            self._leave(uid, self._versions[uid], keep_firm=True)
        for pod in pods:
            if _version(pod) < max(self._versions.get(pod.metadata.uid, 0), self._gone.get(pod.metadata.uid) or 0):
                self._turn_back(pod)
            self._see(pod)

    def _turn_back(self, pod: Pod) -> None:
        """A list is never older than what was watched before it: the API server's store has been put back."""
        self._versions.pop(pod.metadata.uid, None)
        self._gone.pop(pod.metadata.uid)
        hold = self._state.holds.get(pod.metadata.uid)
        if not pod.spec.node_name and (hold is None or not hold.firm):
            self._let_go(pod.metadata.uid)

    def changed(self, batch: Iterable[tuple[str, Pod]]) -> None:
        """What has happened, in order."""
        for event, pod in batch:
            if event == "DELETED":
                self.gone(pod)
            else:
                self._see(pod)

    def gone(self, pod: Pod) -> None:
        """A pod is deleted, or has lost the label by which it was watched."""
        uid, version = pod.metadata.uid, _version(pod)
        if version and version < self._versions.get(uid, 0):
            return
        self._leave(uid, max(version, self._versions.get(uid, 0)), keep_firm=False)

    def _leave(self, uid: str, version: int, *, keep_firm: bool) -> None:
        self._versions.pop(uid, None)
        self._gone[uid] = max(version, self._gone.get(uid) or 0)
        hold = self._state.holds.get(uid)
        if not (keep_firm and hold is not None and hold.firm):
            self._let_go(uid)

    def _see(self, pod: Pod) -> None:
        uid, version = pod.metadata.uid, _version(pod)
        if version and version <= max(self._versions.get(uid, 0), self._gone.get(uid) or 0):
            return
        self._versions[uid] = version
        if not grants.may_hold(pod):
            self._let_go(uid)
        elif pod.spec.node_name:
            self._bound(pod)

    def _let_go(self, uid: str) -> None:
        self._state.release(uid)
        self._state.open(uid)
        self._ended(uid)

    def _bound(self, pod: Pod) -> None:
        uid, node = pod.metadata.uid, pod.spec.node_name
        self._ended(uid)
        try:
            granted = grants.shares(pod)
        except WireError as error:
            self._state.release(uid)
            self._state.close(node, uid, f"pod {pod.metadata.namespace}/{pod.metadata.name} on node {node}: {error}")
            return
        self._state.open(uid)
        self._confirm(pod, node, granted)

    def _confirm(self, pod: Pod, node: str, granted: tuple[Share, ...]) -> None:
        """The pod's annotations win over what we thought that it holds."""
        uid = pod.metadata.uid
        held = self._state.fleet.holding(uid)
        if held is not None and held[0] == node and grants.same(held[1].shares, granted):
            self._state.holds.pop(uid)
            return
        self._state.release(uid)
        if granted:
            self._state.hold(node, Holding(uid, pod.metadata.name, pod.metadata.namespace, granted))


def _version(pod: Pod) -> int:
    """Resource versions grow with every change (KEP-5504). 0: nobody says."""
    text = pod.metadata.resource_version
    return int(text) if text.isdecimal() else 0
