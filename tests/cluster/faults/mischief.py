"""What can go wrong between a client and the API server, each as a value; and which requests it befalls.

A fault is asked at three moments of an exchange: when the request has come (nothing is sent on yet), when the API server has
answered (whatever was asked is done by then), and for every piece of the answer's body.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from tests.cluster.faults import http1

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

REASONS = {
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class CutError(Exception):
    """The connection to the client is to be cut, here and now."""


class Fault:
    """One that does nothing: what each kind changes is its own."""

    async def asked(self, dice: random.Random) -> bytes:
        """Before the request is sent on. Bytes: the answer instead of the API server's. CutError: cut."""
        return b""

    async def answered(self) -> None:
        """The API server has answered; the client knows nothing yet. CutError: cut."""

    async def passing(self, piece: bytes) -> AsyncIterator[bytes]:
        """A piece of the answer's body, as it is to go on."""
        yield piece


@frozen
class Delay(Fault):
    """The request is late: by so many seconds, or by something between them and ``most``."""

    seconds: float
    most: float = 0.0

    async def asked(self, dice: random.Random) -> bytes:
        """Late."""
        await asyncio.sleep(dice.uniform(self.seconds, max(self.seconds, self.most)))
        return b""


@frozen
class LateAnswer(Fault):
    """It is done at once, and the answer takes its time."""

    seconds: float

    async def answered(self) -> None:
        """Late."""
        await asyncio.sleep(self.seconds)


@frozen
class LostRequest(Fault):
    """The connection breaks before the API server has heard of anything."""

    async def asked(self, dice: random.Random) -> bytes:
        """Broken."""
        raise CutError


@frozen
class LostAnswer(Fault):
    """What was asked is done, and nobody learns of it."""

    async def answered(self) -> None:
        """Broken."""
        raise CutError


@frozen
class HalfAnswer(Fault):
    """The connection breaks in the middle of the answer's body."""

    async def passing(self, piece: bytes) -> AsyncIterator[bytes]:
        """Half of the first piece, then broken."""
        yield piece[: len(piece) // 2]
        raise CutError


@frozen
class Drip(Fault):
    """The answer comes byte by byte, with a pause after each."""

    pause: float = 0.001

    async def passing(self, piece: bytes) -> AsyncIterator[bytes]:
        """One by one."""
        for n in range(len(piece)):
            yield piece[n : n + 1]
            await asyncio.sleep(self.pause)


@frozen
class Instead(Fault):
    """An answer of the proxy's own with this status; the API server hears nothing."""

    status: int
    retry_after: int = 0  # seconds; 0: the field is left out

    async def asked(self, dice: random.Random) -> bytes:
        """Kubernetes' Status, as the API server words it."""
        reason = REASONS[self.status]
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": f"scripted {self.status}",
            "reason": reason,
            "code": self.status,
        }
        extra = f"retry-after: {self.retry_after}\r\n" if self.retry_after else ""
        return http1.answer(self.status, reason, json.dumps(status).encode(), extra)


@frozen
class ClosedWatch(Fault):
    """A watch ends properly after so many seconds, as the API server closes one. The proxy looks at the clock."""

    seconds: float


@define(eq=False)
class Hold(Fault):
    """A request is held where the test wants it until it is let go; even if its client has died meanwhile.

    ``carried_out``: after the API server has done it, else before it hears of it.
    """

    carried_out: bool = False
    arrived: threading.Event = field(factory=threading.Event, init=False)
    _let_go: threading.Event = field(factory=threading.Event, init=False)

    async def asked(self, dice: random.Random) -> bytes:
        """Held before."""
        if not self.carried_out:
            await self._held()
        return b""

    async def answered(self) -> None:
        """Held after."""
        if self.carried_out:
            await self._held()

    def let_go(self) -> None:
        """Everything that is held, and all that come later, go on."""
        self._let_go.set()

    async def _held(self) -> None:
        self.arrived.set()
        while not self._let_go.is_set():
            await asyncio.sleep(0.005)


@define(eq=False)
class Rule:
    """Which requests a fault befalls: by method and a pattern that is searched in the target (path and query).

    ``chance``: of each that matches. ``skip``: so many matches pass first. ``times``: so many are hit, then none; None: all.
    """

    method: str
    target: re.Pattern[str]
    fault: Fault
    chance: float = 1.0
    skip: int = 0
    times: int | None = None
    hits: int = 0

    def befalls(self, method: str, target: str, dice: random.Random) -> bool:
        """Whether this request is hit. Asked once for each."""
        if self.method not in {"*", method} or not self.target.search(target):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times == self.hits or (self.chance < 1 and dice.random() >= self.chance):
            return False
        self.hits += 1
        return True
