"""Why a pod waits, told to people: one event and one annotation for each pod that does, and nothing for pods that fit at once.

    the sentence is new           written soon
    it is the same                nothing: kube-scheduler tries a pod again and again
    it has changed                written, but not more often than every 30 seconds for one pod
    the pod is bound, or gone     forgotten; the Binding itself clears the annotation, so that costs no write

Our write changes the pod, after which kube-scheduler tries it once more: the answer is the same sentence, so it ends there.
The same is used on purpose where kube-scheduler would not try a pod again though there is room: because nothing that it watches
has happened (``wake``), or because it heard of the room before we did and asked too early (``freed``).
All writes together are bounded, so a thousand waiting pods cost no more than ten writes a second.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field

from hami_core import names
from hami_core.kube.errors import Conflict, KubeError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from concurrent.futures import Executor

AGAIN = 30.0
"""Seconds between two sentences about one pod."""

RATE = 10.0
"""Pods a second that are written to, at most."""

SOON, NEAR, LATE = 0.5, 5.0, 15.0
"""Seconds after room has come in which kube-scheduler may still ask by itself: SOON for pods that it tried in the NEAR past, as
that may have been because of this very room; it tries the others within its longest back-off of ten seconds."""

_AGAIN = re.compile(r" \(tried again [0-9:]+ UTC\)$")
_log = logging.getLogger(__name__)


class Board(Protocol):
    """Where notices are put. Called in threads; may raise KubeError."""

    def waiting(self, pod: Waiting, text: str, *, event: bool) -> None:
        """The annotation, and an event beside it."""


@define(eq=False)
class Waiting:
    """A pod that waits, and what people know of it."""

    uid: str
    namespace: str
    name: str
    text: str  # why, as of the last try
    told: str = ""  # what was written
    at: float = field(default=float("-inf"))  # when
    tried: float = 0.0  # when kube-scheduler last asked
    again: float = float("inf")  # when it is to be told to ask again
    first: str = ""  # when its event was first recorded
    count: int = 0  # how often

    def due(self, now: float) -> bool:
        """Whether something is to be written now."""
        return self.again <= now or (self.text != self.told and now - self.at >= AGAIN)


def _annotations(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    return (pod.get("metadata") or {}).get("annotations") or {}


class Notices:
    """The pods that wait, by uid."""

    def __init__(
        self,
        board: Board,
        threads: Executor,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._board, self._threads, self._clock, self._wall = board, threads, clock, wall
        self._pods: dict[str, Waiting] = {}
        self._news = asyncio.Event()
        self._freed = self._freed_last = float("inf")  # the first and the last time since it was looked at

    def __len__(self) -> int:
        return len(self._pods)

    def told(self, uid: str) -> bool:
        """Whether a pod carries an annotation of ours that says that it waits."""
        return bool(self._pods[uid].told) if uid in self._pods else False

    # --- What happens to pods. ---

    def waits(self, pod: Mapping[str, Any], why: str) -> None:
        """No node can hold it."""
        known = self._known(pod)
        known.text, known.tried, known.again = why, self._clock(), float("inf")
        self._news.set()

    def fits(self, pod: Mapping[str, Any]) -> None:
        """A node can hold it. What it was told before is remembered until it is bound, so that its Binding clears it."""
        if names.WAITING in _annotations(pod):
            self._known(pod)

    def _known(self, pod: Mapping[str, Any]) -> Waiting:
        """What is known of a pod; after a start, by its own annotation."""
        meta = pod.get("metadata") or {}
        uid = str(meta.get("uid") or "")
        if uid not in self._pods:
            told = _AGAIN.sub("", str(_annotations(pod).get(names.WAITING) or ""))
            self._pods[uid] = Waiting(uid, meta.get("namespace") or "", meta.get("name") or "", told, told)
        return self._pods[uid]

    def keep(self, uids: Collection[str]) -> None:
        """These are all the pods that are not bound."""
        for uid in self._pods.keys() - uids:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """It is bound, or gone."""
        self._pods.pop(uid, None)

    def clear(self) -> None:
        """Another leads."""
        self._pods.clear()

    def wake(self) -> None:
        """Room may have come of which kube-scheduler knows nothing: let it try those again that have been refused."""
        for pod in self._pods.values():
            pod.again = self._clock()
        self._news.set()

    def freed(self) -> None:
        """Room has come of which kube-scheduler knows, too. Asked for any number of times, it costs little."""
        self._freed_last = self._clock()
        self._freed = min(self._freed, self._freed_last)

    def _look_for_the_early(self, now: float) -> None:
        """Who asked before the room had come, and has not asked since, will be told to."""
        if now - self._freed >= SOON:
            freed, self._freed = self._freed_last, float("inf")
            for pod in self._pods.values():
                if pod.tried <= freed:
                    pod.again = min(pod.again, now if freed - pod.tried < NEAR else now + LATE)

    # --- Writing. ---

    async def run(self) -> None:
        """Write what is due, one pod after the other, for ever."""
        while True:
            pod = self.next()
            if pod is None:
                await self._something()
            else:
                await self.write(pod)
                await asyncio.sleep(1 / RATE)

    def next(self) -> Waiting | None:
        """The pod that has waited longest to be written to."""
        now = self._clock()
        self._look_for_the_early(now)
        return min((pod for pod in self._pods.values() if pod.due(now)), key=lambda pod: pod.at, default=None)

    async def _something(self) -> None:
        """Until there is news, or a pod's 30 seconds may be over."""
        self._news.clear()
        try:
            async with asyncio.timeout(SOON):
                await self._news.wait()
        except TimeoutError:
            return

    async def write(self, pod: Waiting) -> None:
        """Tell people about one pod."""
        text, same = pod.text, pod.text == pod.told
        shown = f"{text} (tried again {self._wall():%H:%M:%S} UTC)" if same else text
        pod.again, pod.at, before = float("inf"), self._clock(), pod.told
        pod.told = text
        try:
            write = partial(self._board.waiting, pod, shown, event=text != before)
            await asyncio.get_running_loop().run_in_executor(self._threads, write)
        except (NotFound, Conflict):  # gone, and perhaps another of its name is there
            self.forget(pod.uid)
        except KubeError as error:  # the next sentence is soon enough
            pod.told = before
            _log.warning("a notice was not written", extra={"pod_uid": pod.uid, "error": str(error)})
        except Exception:
            _log.exception("a notice failed", extra={"pod_uid": pod.uid})
