"""uvicorn's HTTP protocol with an end to everything: headers and bodies that come too slowly, and too many of anything.

What uvicorn 0.54 leaves open with httptools: a connection that never finishes its headers or body lives for ever, and headers
have no greatest length. A client that is cut off has had its time; one that can still listen is told why, as JSON.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from attrs import frozen
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import is_ssl

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping


@frozen
class Limits:
    """What one server gives its clients. Times in seconds, sizes in bytes."""

    handshake: float = 5.0  # for TLS
    headers: float = 5.0  # from the first byte of a request, or from the beginning of a connection
    request: float = 15.0  # from the first byte to the last
    exchange: float = 60.0  # from the first byte of a request to the end of its answer
    idle: int = 120  # between requests; longer than Go's clients keep a connection, so that they end it and not we
    header_bytes: int = 32 << 10
    connections: int = 512


_NUMBERS = count(1)


class Whole(RequestResponseCycle):
    """One request and its answer, which is written at once: in two pieces it costs both sides another turn. Unless it is large.

    The application's headers have its length; they are ours, so nobody checks them again.
    """

    _start: MutableMapping[str, Any] | None

    async def send(self, message: Any) -> None:
        """Keep the head until the body is there, or its first part; wait with the next until the client has taken enough."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start, self.response_started, self.waiting_for_100_continue = message, True, False
            return
        if self.response_complete:
            raise RuntimeError("an answer has one head and one body")
        head, self._start = b"" if self._start is None else self._head(self._start), None
        self.transport.write(head if self.scope["method"] == "HEAD" else head + message["body"])
        if message.get("more_body"):
            return
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head(self, start: MutableMapping[str, Any]) -> bytes:
        headers = start["headers"]
        if (b"connection", b"close") in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % header for header in headers]
        return b"".join((STATUS_LINE[start["status"]], *lines, b"\r\n"))


class Patient(HttpToolsProtocol):
    """One connection. Its deadline is that of what it waits for: headers, the rest of a request, the end of its answer."""

    def __init__(self, *words: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*words, **named)
        self.limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._header_bytes = 0
        self._ending = False
        self._number = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it. Where there are too many, one goes that has had its chance: who keeps silent keeps nobody out."""
        self._take(transport)
        self._number = next(_NUMBERS)
        self._wait(self.limits.headers, self._cut)
        if len(self.connections) > self.limits.connections:
            silent = (one for one in self.connections if isinstance(one, Patient) and one.cycle is None)
            waiting = (one for one in silent if not one.transport.is_closing())
            min(waiting, key=lambda one: one._number, default=self)._cut()

    def _take(self, transport: asyncio.Transport) -> None:
        """As uvicorn does, but for the addresses, which no application of ours reads.

        Go's clients keep two idle connections, and kube-scheduler has more Bindings than that on their way: every other one
        comes on a new connection.
        """
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)
        self.server = self.client = None
        self.scheme = "https" if is_ssl(transport) else "http"

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget its deadlines."""
        self._wait(None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Count what comes before a body does: a request line and headers without end would fill the memory."""
        if self.transport.is_closing():
            return
        self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.limits.header_bytes:
            self.refuse(431, f"a request's headers have at most {self.limits.header_bytes >> 10} KiB")

    def on_message_begin(self) -> None:
        """Begin to wait for headers."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        if not self._is_busy():
            self._wait(self.limits.headers, self._late)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        self._in_headers = False
        self._begin()
        if self._ending:
            self.cycle.keep_alive = False
        if not self.pipeline:
            self._wait(self.limits.request, self._late)

    def _begin(self) -> None:
        """Ask the application, or later if it is asked already: as uvicorn does, but for what we never serve (WebSockets)."""
        version, url = self.parser.get_http_version(), httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"], self.scope["query_string"] = url.path, url.query or b""
        before = self._is_busy()
        self.cycle = Whole(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def on_message_complete(self) -> None:
        """Begin to wait for our own answer to be taken."""
        super().on_message_complete()
        if self._is_busy() and not self.pipeline:
            self._wait(self.limits.exchange, self._cut)

    def on_response_complete(self) -> None:
        """Wait for the next request; for the rest of this one, which nobody wants any more; or for what is sent to be taken."""
        super().on_response_complete()
        if self.transport.is_closing() or self.cycle.more_body:
            self._wait(self.limits.headers, self._cut)
        else:
            self._wait(self.limits.exchange if self._is_busy() else None, self._cut)

    def shutdown(self) -> None:
        """End after the request that has begun, or now if none has."""
        self._ending = True
        if not self._in_headers:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection at once: closing waits for the client to take what it never took."""
        self._cut()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP."""
        self.refuse(400, msg)

    def refuse(self, status: int, sentence: str) -> None:
        """Answer in place of the application, and end the connection. Nothing is put in the middle of another answer."""
        if self._is_busy() and (self.cycle.response_started or self._in_headers or self.pipeline):
            self._cut()
        elif not self.transport.is_closing():
            body = b'{"error":"%s"}' % sentence.encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + body)
            self.transport.close()
            self._wait(self.limits.headers, self._cut)

    def _is_busy(self) -> bool:
        """Whether an answer is owed."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's own type forgets that there is none at first
        return cycle is not None and not cycle.response_complete

    def _late(self) -> None:
        self.refuse(408, "the request came too slowly")

    def _cut(self) -> None:
        self.transport.abort()

    def _wait(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None and then is not None:
            self._deadline = self.loop.call_later(seconds, then)
