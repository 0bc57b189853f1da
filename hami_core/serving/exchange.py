"""A bare ASGI application: a table of paths, bodies of bounded size, answers in JSON. starlette costs half as much again.

A handler takes a request's body and gives an Answer; ``Refusal`` is one that it raises. Any other exception is a fault of ours:
it is logged and answered with 500.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from attrs import frozen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = "application/json"

_log = logging.getLogger(__name__)


@frozen
class Answer:
    """What is sent back, a large body in parts: others have their turn after each. ``last``: the connection ends with it."""

    body: bytes | Sequence[bytes]
    status: int = 200
    content_type: str = JSON
    last: bool = False


Handler = Callable[[bytes], Awaitable[Answer]]


class Refusal(Exception):
    """A request that is not served, in one sentence."""

    def __init__(self, status: int, sentence: str, *, last: bool = False) -> None:
        super().__init__(status, sentence)
        self.answer = Answer(json.dumps({"error": sentence}).encode(), status, last=last)


class _Gone(Exception):
    """The client has hung up; nobody waits for an answer."""


class Routes:
    """Path -> method -> handler. ``largest``: bytes of one body; ``together``: of all that are being read or worked on."""

    def __init__(self, table: Mapping[str, Mapping[str, Handler]], largest: int = 1 << 20, together: int = 64 << 20) -> None:
        self._table = table
        self._largest, self._together = largest, together
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        held = _Held(self)
        try:
            answer = await self._answer(scope, receive, held)
        except Refusal as refusal:
            answer = refusal.answer
        except _Gone:
            return
        except Exception:
            _log.exception("%s %s", scope["method"], scope["path"])
            answer = Refusal(500, "a fault in hami; its log has the place").answer
        finally:
            held.release()
        await _send(send, answer)

    async def _answer(self, scope: Scope, receive: Receive, held: _Held) -> Answer:
        methods = self._table.get(scope["path"])
        if methods is None:
            raise Refusal(404, f"there is nothing here; there are {', '.join(self._table)}")
        handler = methods.get(scope["method"])
        if handler is None:
            raise Refusal(405, f"this is asked by {' or '.join(methods)}")
        return await handler(await _read(scope, receive, held))

    def take(self, size: int, of_one: int) -> None:
        """Make room for bytes of a body. Refusal: it gets too long, or there is no room."""
        if of_one > self._largest:
            raise Refusal(413, f"a body has at most {self._largest} bytes", last=True)
        if self._held + size > self._together:
            raise Refusal(503, "too much is being read already; try again", last=True)
        self._held += size

    def give_back(self, size: int) -> None:
        """The bytes are gone."""
        self._held -= size


class _Held:
    """The bytes of one request's body."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.size = 0

    def take(self, size: int) -> None:
        self._routes.take(size, self.size + size)
        self.size += size

    def release(self) -> None:
        self._routes.give_back(self.size)


async def _read(scope: Scope, receive: Receive, held: _Held) -> bytes:
    """The body. What announces itself as too long is refused before it comes."""
    said = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
    held.take(said)
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        part = message.get("body", b"")
        size += len(part)
        if size > held.size:
            held.take(size - held.size)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send(send: Send, answer: Answer) -> None:
    *parts, rest = [answer.body] if isinstance(answer.body, bytes) else answer.body
    size = sum(map(len, parts)) + len(rest)
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", str(size).encode())]
    if answer.last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": rest})
