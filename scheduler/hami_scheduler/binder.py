"""Binding: the grant, the node and the leadership's term in one write; and what became of a write whose answer was lost.

    begin (the shares are taken) --> POST pods/<name>/binding --> BOUND      the pod has them
                                                              --> REFUSED    nothing was written: they are given back
                                                              --> UNKNOWN    they are kept; the pod is read until it is known

``begin`` and ``settle`` run on the loop that owns the cluster; the write runs in a thread. A pod that is being bound is bound
once: who asks again meanwhile gets the same answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import define, field, frozen

from hami_core import names
from hami_core.kube.errors import Conflict, Forbidden, KubeError, NotFound, Refused, TooManyRequests, Unavailable
from hami_scheduler.cluster import Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    from hami_core.kube.objects import Pod
    from hami_scheduler.cluster import Cluster, Doubt
    from hami_scheduler.protocol import Binding

T = TypeVar("T")

MARGIN = 1.0
"""Seconds before kube-scheduler gives up, by which it has its answer."""

LEAST = 0.2
"""Seconds without which a write is not begun: it could only end unknown."""


class Writes(Protocol):
    """The API server, as far as binding needs it. Called in threads; may raise KubeError."""

    def bind(
        self, *, namespace: str, name: str, uid: str, node: str, annotations: Mapping[str, str], timeout: float
    ) -> None: ...

    def pod(self, namespace: str, name: str, timeout: float) -> Pod | None:
        """The pod as it is now. None: there is none."""


class Witness(Protocol):
    """Who is told what became of each bind: metrics and logs."""

    def bound(self, binding: Binding, seconds: float) -> None: ...

    def not_bound(self, binding: Binding, reason: str, error: str) -> None: ...

    def unknown(self, binding: Binding, error: str) -> None: ...

    def resolved(self, binding: Binding, outcome: Outcome, seconds: float) -> None: ...


@frozen
class Patience:
    """How long, in seconds. ``answer``: kube-scheduler's. ``arrive``: for a write without a connection to be seen or never."""

    answer: float = 5.0
    arrive: float = 2.0
    retry: float = 0.2
    retry_most: float = 5.0

    @property
    def write(self) -> float:
        """For a write to be answered."""
        return self.answer - MARGIN


@define(eq=False)
class Binder:
    """The binds in flight, by the pod's uid."""

    _cluster: Cluster
    _writes: Writes
    _threads: Executor
    _term: Callable[[], str]  # of the leadership that is ours now; empty: none
    _waited: Callable[[str], bool]  # whether the pod of a uid carries the annotation of one that waits
    _witness: Witness
    _patience: Patience = Patience()
    _clock: Callable[[], float] = time.monotonic
    _running: dict[str, asyncio.Task[tuple[str, str]]] = field(factory=dict, init=False)
    _following: dict[str, asyncio.Task[Outcome]] = field(factory=dict, init=False)

    async def bind(self, binding: Binding) -> str:
        """Bind a pod, and say why not; empty: it is bound. Answers in time for kube-scheduler, whatever the API server does."""
        running = self._running.get(binding.uid)
        if running is None:
            running = asyncio.create_task(self._bound(binding), name=f"bind {binding.uid}")
            self._running[binding.uid] = running
            running.add_done_callback(lambda _: self._running.pop(binding.uid, None))
        node, error = await asyncio.shield(running)  # a caller that hangs up does not stop it
        if not error and node != binding.node:
            return f"the pod has just been bound to node {node}"
        return error

    @property
    def patience(self) -> Patience:
        """How long it waits."""
        return self._patience

    @property
    def in_flight(self) -> int:
        """Binds whose outcome is not known yet, those that nobody waits for included."""
        return len(self._running) + len(self._following)

    async def look(self, doubts: Iterable[Doubt]) -> None:
        """Read pods that should have been seen by now. Those that are being followed are read anyway."""
        for doubt in [one for one in doubts if one.uid not in self._following and one.uid not in self._running]:
            try:
                pod = await self._in_thread(partial(self._writes.pod, doubt.namespace, doubt.name, self._patience.answer))
            except KubeError:
                return
            if doubt.uid not in self._following and doubt.uid not in self._running:  # else the read is of before
                self._cluster.read(doubt.uid, pod)

    async def drain(self) -> None:
        """Until nobody waits for a bind any more. Those of unknown outcome are left: who starts next finds them by listing."""
        if self._running:
            await asyncio.wait(self._running.values())
        for task in list(self._following.values()):
            task.cancel()
        await asyncio.gather(*self._following.values(), return_exceptions=True)

    # --- One bind. ---

    async def _bound(self, binding: Binding) -> tuple[str, str]:
        """The node, and why the pod is not bound to it."""
        started, term = self._clock(), self._term()
        if binding.uid in self._following:
            return binding.node, await self._told(binding, "a Binding of this pod is on its way")
        if not term:
            return binding.node, self._refused(binding, "not leading", "this extender does not lead")
        begun = self._cluster.begin(binding.uid, binding.namespace, binding.name, binding.node, term)
        if isinstance(begun, Refusal):
            return binding.node, self._refused(binding, "no room", str(begun))
        if begun.bound:  # by a Binding whose answer kube-scheduler never got
            self._witness.bound(binding, self._clock() - started)
            return binding.node, ""
        annotations = {**begun.annotations, **({names.WAITING: ""} if self._waited(binding.uid) else {})}
        try:
            await self._in_thread(partial(self._write, binding, annotations, term, started + self._patience.write))
        except Exception as error:
            if not _may_have_arrived(error):
                self._cluster.settle(binding.uid, Outcome.REFUSED)
                return binding.node, self._refused(binding, _reason(error), str(error))
            return binding.node, await self._lost(binding, error)
        self._cluster.settle(binding.uid, Outcome.BOUND)
        self._witness.bound(binding, self._clock() - started)
        return binding.node, ""

    def _write(self, binding: Binding, annotations: Mapping[str, str], term: str, deadline: float) -> None:
        """In a thread. One that comes too late, or after the leadership has gone, writes nothing."""
        left = deadline - self._clock()
        if left < LEAST:
            raise Unavailable("too many Bindings at a time; not sent")
        if self._term() != term:
            raise Unavailable("the leadership has gone; not sent")
        self._writes.bind(
            namespace=binding.namespace,
            name=binding.name,
            uid=binding.uid,
            node=binding.node,
            annotations=annotations,
            timeout=left,
        )

    def _refused(self, binding: Binding, reason: str, error: str) -> str:
        self._witness.not_bound(binding, reason, error)
        return error

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # --- A write whose answer was lost. ---

    async def _lost(self, binding: Binding, error: Exception) -> str:
        self._cluster.settle(binding.uid, Outcome.UNKNOWN)
        self._witness.unknown(binding, f"{type(error).__name__}: {error}")
        task = asyncio.create_task(self._follow(binding), name=f"follow {binding.uid}")
        self._following[binding.uid] = task
        task.add_done_callback(lambda _: self._following.pop(binding.uid, None))
        return await self._told(binding, str(error))

    async def _told(self, binding: Binding, error: str) -> str:
        """What became of it, if that is known while kube-scheduler still waits; else that it is not."""
        task = self._following[binding.uid]
        await asyncio.wait([task], timeout=MARGIN / 2)
        if not task.done():
            return f"{error}; whether the pod is bound is not known yet"
        return "" if task.result() is Outcome.BOUND else error

    async def _follow(self, binding: Binding) -> Outcome:
        """Read the pod until it is known what became of its Binding, and settle that."""
        started, pause, answered = self._clock(), self._patience.retry, math.inf
        while True:
            asked = self._clock()
            try:
                pod = await self._in_thread(partial(self._writes.pod, binding.namespace, binding.name, self._patience.answer))
            except KubeError:
                pod, outcome = None, None
            else:
                answered = min(answered, asked)  # from then on the API server had time for what had reached it
                outcome = outcome_of(pod, binding, arrived=asked - answered >= self._patience.arrive)
            if outcome is not None:
                self._cluster.settle(binding.uid, outcome)
                self._cluster.read(binding.uid, pod)
                self._witness.resolved(binding, outcome, self._clock() - started)
                return outcome
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, self._patience.retry_most)


def _may_have_arrived(error: Exception) -> bool:
    """Whether a Binding may have been carried out all the same: after a fault that is no answer at all, too."""
    if isinstance(error, Refused):
        return False
    return not isinstance(error, Unavailable) or error.unknown


def outcome_of(pod: Pod | None, binding: Binding, *, arrived: bool) -> Outcome | None:
    """What a pod tells about its Binding. ``arrived``: what is not there by now will not come. None: not known yet."""
    if pod is None or pod.metadata.uid != binding.uid:
        return Outcome.REFUSED
    if pod.spec.node_name:
        return Outcome.BOUND if pod.spec.node_name == binding.node else Outcome.REFUSED
    return Outcome.REFUSED if arrived else None


_REASONS = {
    Conflict: "conflict",
    NotFound: "pod gone",
    Forbidden: "forbidden",
    TooManyRequests: "too many requests",
    Unavailable: "unavailable",
}


def _reason(error: Exception) -> str:
    """One of few words: it becomes a label of metrics."""
    return _REASONS.get(type(error), "refused")
