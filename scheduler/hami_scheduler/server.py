"""The extender's three verbs over HTTP: POST filter, prioritize, bind. A bare ASGI application: one caller, one answer at a time.

filter and prioritize are answered on the loop that owns the cluster, without a pause in between; bind waits for the API server.
What is no request is 400 with the place of the fault, what is too long 413; while another leads it is 503, after a short wait
for a leadership that is on its way.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define

from hami_core.errors import HamiError
from hami_scheduler import protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from hami_scheduler.auth import Access
    from hami_scheduler.binder import Binder
    from hami_scheduler.cluster import Cluster, Filtered

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Answer = tuple[int, bytes]

LARGEST = 64 << 20
"""Bytes of a request: 5,000 nodes in full are 54 MB, 15,000 names with a pod of the largest size 3."""

PATIENCE = 2.0
"""Seconds that a filter waits for a leadership that is on its way. A pod that is refused instead waits in kube-scheduler's back-off."""

_log = logging.getLogger(__name__)


class Gate(Protocol):
    """Whether we lead."""

    async def opened(self, timeout: float) -> bool:
        """Whether we lead now, or within so many seconds."""


class Listener(Protocol):
    """Who hears of every decision: metrics, and those who tell people why a pod waits."""

    def answered(self, verb: str, status: int, seconds: float) -> None: ...

    def filtered(self, pod: dict[str, Any], filtered: Filtered) -> None: ...

    def invalid(self, pod: dict[str, Any], error: HamiError) -> None: ...


@define(eq=False)
class Extender:
    """The ASGI application."""

    _access: Access
    _cluster: Cluster
    _binder: Binder
    _gate: Gate
    _listener: Listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        started = time.perf_counter()
        verb = self._access.verb(scope["path"]) if scope["type"] == "http" else None
        status, body = await self._answer(verb, scope, receive)
        self._listener.answered(verb if verb in VERBS else "other", status, time.perf_counter() - started)
        await _send(send, status, body)

    async def _answer(self, verb: str | None, scope: Scope, receive: Receive) -> Answer:
        if verb not in VERBS:
            return 404, protocol.failed("there is nothing here; the verbs are filter, prioritize and bind")
        if scope["method"] != "POST":
            return 405, protocol.failed(f"{verb} is asked by POST")
        body = await _body(scope, receive)
        if body is None:
            return 413, protocol.failed(f"a request has at most {LARGEST >> 20} MiB")
        try:
            return await VERBS[verb](self, body)
        except protocol.Malformed as error:
            return 400, protocol.failed(str(error))
        except Exception:
            _log.exception("%s failed", verb)
            return 500, protocol.failed("a fault in the extender; its log has the place")

    async def _filter(self, body: bytearray) -> Answer:
        request = protocol.asked(body)
        if not await self._gate.opened(PATIENCE):
            return NOT_LEADING
        try:
            filtered = self._cluster.filter(request.pod, request.names)
        except HamiError as error:  # the pod's own, or a plugin's: told to whoever looks at the pod
            self._listener.invalid(request.pod, error)
            return 200, protocol.failed(str(error))
        self._listener.filtered(request.pod, filtered)
        return 200, protocol.kept(request, list(filtered.kept), filtered.failed)

    async def _prioritize(self, body: bytearray) -> Answer:
        request = protocol.asked(body)
        if not await self._gate.opened(0):
            return NOT_LEADING
        uid = (request.pod.get("metadata") or {}).get("uid") or ""
        return 200, protocol.priorities(self._cluster.prioritize(uid, request.names))

    async def _bind(self, body: bytearray) -> Answer:
        binding = protocol.binding(body)
        if not await self._gate.opened(0):
            return NOT_LEADING
        return 200, protocol.failed(await self._binder.bind(binding))


NOT_LEADING = (503, protocol.failed("another kube-scheduler leads, or the lists are not complete yet"))
VERBS = {"filter": Extender._filter, "prioritize": Extender._prioritize, "bind": Extender._bind}  # noqa: SLF001


async def _body(scope: Scope, receive: Receive) -> bytearray | None:
    """A request's body. None: it is too long, by its own word or by what came."""
    for key, value in scope["headers"]:
        if key == b"content-length" and int(value) > LARGEST:
            return None
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST:
            return None
    return body


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
