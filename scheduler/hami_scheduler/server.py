"""The extender's three verbs over HTTP: POST /filter, /prioritize, /bind.

filter and prioritize are answered on the loop that owns the cluster, without a pause in between; bind waits for the API server.
What is no request is 400 with the place of the fault; while another leads it is 503, after a short wait for a leadership on
its way. A pod that cannot be meant, or a plugin that fails on it, is an answer: kube-scheduler shows it to the pod's owner.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from hami_core.errors import HamiError
from hami_core.serving.exchange import Answer, Refusal, Routes
from hami_scheduler import asked, protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hami_core.serving.exchange import App, Handler, Receive, Scope, Send
    from hami_scheduler.auth import Access
    from hami_scheduler.binder import Binder
    from hami_scheduler.cluster import Cluster, Filtered

LARGEST = 64 << 20
"""Bytes of a request: 5,000 nodes in full are 54 MB, 15,000 names with a pod of the largest size 3."""

TOGETHER = 80 << 20
"""Bytes of all requests at a time: kube-scheduler asks for one pod at a time."""

PATIENCE = 2.0
"""Seconds that a filter waits for a leadership on its way: in kube-scheduler's back-off the pod would wait longer."""


class Gate(Protocol):
    """Whether we lead."""

    async def opened(self, timeout: float) -> bool:
        """Whether we lead now, or within so many seconds."""


class Listener(Protocol):
    """Who hears of every answer: metrics, logs, and those who tell people why a pod waits."""

    def answered(self, verb: str, status: int, seconds: float) -> None: ...

    def filtered(self, pod: dict[str, Any], filtered: Filtered) -> None: ...

    def failed(self, pod: dict[str, Any], error: HamiError) -> None: ...


class Extender:
    """What the verbs do."""

    def __init__(self, cluster: Cluster, binder: Binder, gate: Gate, listener: Listener) -> None:
        self._cluster, self._binder, self._gate, self._listener = cluster, binder, gate, listener

    def app(self, access: Access) -> App:
        """The ASGI application for those who have access."""
        verbs = {"filter": self.filter, "prioritize": self.prioritize, "bind": self.bind}
        table = {f"/{verb}": {"POST": self._timed(verb, handler)} for verb, handler in verbs.items()}
        return _guarded(Routes(table, LARGEST, TOGETHER), access)

    async def filter(self, body: bytes) -> Answer:
        """The nodes that can hold the pod, the best first."""
        request = protocol.asked(body)
        await self._lead(PATIENCE)
        try:
            filtered = self._cluster.filter(request.pod, request.names)
        except HamiError as error:
            self._listener.failed(request.pod, error)
            return Answer(protocol.failed(str(error)))
        self._listener.filtered(request.pod, filtered)
        return Answer(protocol.kept(request, list(filtered.kept), filtered.failed))

    async def prioritize(self, body: bytes) -> Answer:
        """How good each of the nodes is, 0 to 10."""
        request = protocol.asked(body)
        await self._lead(0)
        return Answer(protocol.priorities(self._cluster.prioritize(asked.uid(request.pod), request.names)))

    async def bind(self, body: bytes) -> Answer:
        """The pod bound to the node, or why it is not."""
        binding = protocol.binding(body)
        await self._lead(0)
        return Answer(protocol.failed(await self._binder.bind(binding)))

    async def _lead(self, patience: float) -> None:
        if not await self._gate.opened(patience):
            raise Refusal(503, "this extender does not lead now, or its lists are not complete yet")

    def _timed(self, verb: str, handler: Callable[[bytes], Awaitable[Answer]]) -> Handler:
        async def timed(body: bytes) -> Answer:
            started, status = time.perf_counter(), 500
            try:
                answer = await handler(body)
                status = answer.status
            except protocol.Malformed as error:
                status = 400
                raise Refusal(400, str(error)) from error
            except Refusal as refusal:
                status = refusal.answer.status
                raise
            finally:
                self._listener.answered(verb, status, time.perf_counter() - started)
            return answer

        return timed


def _guarded(routes: App, access: Access) -> App:
    """Nothing is there for whoever does not know the secret part of the URL."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = access.path(scope["path"])
        await routes({**scope, "path": path}, receive, send)

    return app
