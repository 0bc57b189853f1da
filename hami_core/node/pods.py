"""The pods of this node as the API server says: which live, what they were granted, and who still waits for its tokens.

Nothing that a container gets depends on it: grants reach containers by the kubelet. It is for what is cleaned up, told and
steered. On the agent's loop.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen
from msgspec import Struct
from msgspec import field as of

from hami_core import names, wire
from hami_core.errors import WireError
from hami_core.kube.objects import Meta  # noqa: TC001  # msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hami_core.node.tokens import Token

ENDED = ("Succeeded", "Failed")


class Container(Struct, gc=False):
    """Its name."""

    name: str = ""


class PodSpec(Struct, gc=False, rename="camel"):
    """Its containers."""

    containers: list[Container] = of(default_factory=list)
    init_containers: list[Container] | None = None


class PodStatus(Struct, gc=False, rename="camel"):
    """``start_time``: when the kubelet took it on; None: it has not yet."""

    phase: str = ""
    start_time: str | None = None


class NodePod(Struct, gc=False):
    """A pod as its node needs it."""

    metadata: Meta
    spec: PodSpec = of(default_factory=PodSpec)
    status: PodStatus = of(default_factory=PodStatus)


@frozen
class Held:
    """What one container was granted of one kind."""

    container: str
    kind: str
    devices: tuple[str, ...]


class Pods:
    """The pods that live on this node, the oldest Binding first."""

    def __init__(self) -> None:
        self.complete = False  # there was a list
        self._pods: dict[str, NodePod] = {}  # by uid
        self._held: dict[str, tuple[Held, ...]] = {}
        self._served: Counter[tuple[str, str, str]] = Counter()  # (uid, container, kind) that have their tokens

    def replaced(self, pods: list[NodePod]) -> None:
        """These are all."""
        now = {pod.metadata.uid for pod in pods}
        for uid in [uid for uid in self._pods if uid not in now]:
            self._forget(uid)
        for pod in pods:
            self._put(pod)
        self.complete = True

    def changed(self, batch: list[tuple[str, NodePod]]) -> None:
        """What happened to pods, in order."""
        for event, pod in batch:
            if event == "DELETED":
                self._forget(pod.metadata.uid)
            else:
                self._put(pod)

    def _put(self, pod: NodePod) -> None:
        uid = pod.metadata.uid
        if pod.status.phase in ENDED:
            self._forget(uid)
            return
        before = self._pods.get(uid)
        self._pods[uid] = pod
        if before is None or before.metadata.annotations != pod.metadata.annotations:
            self._held[uid] = tuple(_held(pod))

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        for held in self._held.pop(uid, ()):
            self._served.pop((uid, held.container, held.kind), None)

    # --- What is asked. ---

    def regions(self) -> frozenset[str]:
        """The file names of the regions that containers of pods that live here may have."""
        return frozenset(
            names.region_file(names.grant_id(uid, container.name))
            for uid, pod in self._pods.items()
            for container in (*pod.spec.containers, *(pod.spec.init_containers or ()))
        )

    def oldest(self, now: float) -> float:
        """When the oldest of them was taken on by the kubelet, in seconds of the epoch; ``now`` where there is none."""
        begun = (_seconds(pod.status.start_time) for pod in self._pods.values() if pod.status.start_time)
        return min(begun, default=now)

    def holders(self, kind: str, device: str) -> list[NodePod]:
        """The pods that hold a share of a device."""
        return [
            pod
            for uid, pod in self._pods.items()
            if any(held.kind == kind and device in held.devices for held in self._held.get(uid, ()))
        ]

    def waiting(self, kind: str) -> list[Sequence[str]]:
        """The devices of each container that was granted some of a kind and has no tokens yet, the oldest first."""
        return [held.devices for _, held in self._waiting(kind)]

    def served(self, kind: str, tokens: Iterable[Token]) -> None:
        """A container got these tokens: the first that waits for just these devices, if there is one."""
        got = Counter(token.device for token in tokens)
        for uid, held in self._waiting(kind):
            if Counter(held.devices) == got:
                self._served[uid, held.container, kind] += 1
                return

    def granted(self) -> Iterator[tuple[str, str, Held]]:
        """Of every container with a grant the namespace and name of its pod, and what it was granted."""
        for uid, pod in self._pods.items():
            yield from ((pod.metadata.namespace, pod.metadata.name, held) for held in self._held.get(uid, ()))

    def _waiting(self, kind: str) -> Iterator[tuple[str, Held]]:
        for uid, pod in self._pods.items():
            if pod.status.start_time is None:
                for held in self._held.get(uid, ()):
                    if held.kind == kind and not self._served[uid, held.container, kind]:
                        yield uid, held


def _held(pod: NodePod) -> Iterator[Held]:
    """By container and kind. A grant that cannot be read grants nothing."""
    own = pod.metadata.annotations or {}
    for container in (*(pod.spec.init_containers or ()), *pod.spec.containers):  # the kubelet's order
        key = names.grant_key(container.name)
        try:
            shares = wire.shares(own[key], container.name, key) if own.get(key) else ()
        except WireError:
            continue
        for kind in dict.fromkeys(share.kind for share in shares):
            yield Held(container.name, kind, tuple(share.device for share in shares if share.kind == kind))


def _seconds(text: str) -> float:
    """Of a time as Kubernetes writes it; the beginning of all times if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
