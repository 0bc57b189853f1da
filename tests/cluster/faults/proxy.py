"""A TLS proxy between one client and the API server, whose faults are scripted while it runs.

    with Proxy(upstream, seed=7) as proxy:
        rule = proxy.when("POST", "/binding$", LostAnswer(), times=1)
        ...                                             # the client runs by proxy.kubeconfig(token)
        with proxy.gone():                              # connections are refused
            ...

It runs on an event loop in a thread of its own. A request that it has read whole is sent on whatever becomes of its client, as
packets travel on when their sender dies; unless a fault says otherwise. Watches end with their client.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import http
import json
import random
import re
import ssl
import threading
import warnings
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

import trustme
from attrs import define, field, frozen

from tests.cluster.faults import http1
from tests.cluster.faults.mischief import ClosedWatch, CutError, Fault, Rule

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")
BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
LAST_CHUNK = b"0\r\n\r\n"


@frozen
class Upstream:
    """Where the API server is, whom it is trusted by, and, if the client cannot show one through a proxy, a certificate."""

    url: str
    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For connections to it."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


@define
class Exchange:
    """One request, as the proxy saw it. ``answered``: with what status by the API server; ``status``: what the client got.

    0: nothing.
    """

    method: str
    target: str
    hit: bool
    answered: int = 0
    status: int = 0


@define(eq=False)
class Proxy:
    """Listens from ``__enter__`` to ``__exit__``, on one port all the time. ``seed`` decides what chance decides."""

    upstream: Upstream
    seed: int = 0
    exchanges: list[Exchange] = field(factory=list, init=False)
    _rules: list[Rule] = field(factory=list, init=False)
    _frozen: bool = field(default=False, init=False)
    _port: int = field(default=0, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _connections: set[asyncio.Task[None]] = field(factory=set, init=False)
    _watches: set[asyncio.Event] = field(factory=set, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop, init=False)
    _authority: trustme.CA = field(factory=trustme.CA, init=False)
    _dice: random.Random = field(init=False)
    _inward: ssl.SSLContext = field(init=False)
    _outward: ssl.SSLContext = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._outward = self.upstream.context()
        self._inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(self._inward)
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        gc.disable()
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._cut_everything())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        with warnings.catch_warnings():  # connections that broke in the middle of a handshake are known to asyncio alone, which
            warnings.simplefilter(
                "ignore", ResourceWarning
            )  # leaves them to the collector: it comes now, and not to another test
            gc.collect()
        gc.enable()

    # --- For the client. ---

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self._port}"

    def kubeconfig(self, token: str = "") -> str:
        """For a client that shows this token; empty: the proxy shows its certificate for it."""
        ca = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": ca}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "proxy", "cluster": cluster}],
                "users": [{"name": "client", "user": {"token": token} if token else {}}],
                "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "client"}}],
                "current-context": "proxy",
            }
        )

    # --- For the test: what is to go wrong. ---

    def when(
        self, method: str, target: str, fault: Fault, *, chance: float = 1.0, skip: int = 0, times: int | None = None
    ) -> Rule:
        """From now on the fault befalls what matches (see Rule). Several rules may befall one request, in their order."""
        rule = Rule(method, re.compile(target), fault, chance, skip, times)
        self._rules = [*self._rules, rule]
        return rule

    def calm(self) -> None:
        """Nothing is to go wrong any more; what is frozen goes on."""
        self._rules = []
        self._frozen = False

    def freeze_watches(self) -> None:
        """No byte of any watch passes, and nobody is told, until ``calm``."""
        self._frozen = True

    def thaw_watches(self) -> None:
        """They go on."""
        self._frozen = False

    def close_watches(self) -> None:
        """Every watch that is open ends properly."""
        self._do(self._close_watches())

    def cut_connections(self) -> None:
        """Every connection breaks; new ones are taken."""
        self._do(self._break())

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """All connections break, and new ones are refused."""
        self._do(self._cut_everything())
        try:
            yield
        finally:
            self._do(self._listen())

    # --- Inside the loop. ---

    def _do(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._inward, backlog=256)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _cut_everything(self) -> None:
        if self._server:
            self._server.close()
        await self._break()

    async def _close_watches(self) -> None:
        for closing in self._watches:
            closing.set()

    async def _break(self) -> None:
        broken = list(self._connections)
        for connection in broken:
            connection.cancel()
        await asyncio.gather(*broken, return_exceptions=True)
        await asyncio.sleep(0.01)  # for what was aborted to be closed by the loop

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        onward: list[tuple[StreamReader, StreamWriter]] = []
        try:
            while await self._exchange(reader, writer, onward):
                pass
            writer.close()
            await writer.wait_closed()  # as long as its client likes, or until it is cut
        except (*BROKEN, CutError, asyncio.CancelledError):
            pass
        for _, way in [*onward, (reader, writer)]:
            way.transport.abort()  # as a machine that is gone: no farewell, and nothing that a second cut could interrupt
        self._connections.discard(task)

    async def _exchange(
        self, reader: StreamReader, writer: StreamWriter, onward: list[tuple[StreamReader, StreamWriter]]
    ) -> bool:
        """One request and its answer. False: the client wants no more on this connection."""
        request = await http1.read_head(reader)
        method, target, _ = request.start
        content = b"".join([piece async for piece in http1.body(reader, request)])
        faults = [rule.fault for rule in self._rules if rule.befalls(method, target, self._dice)]
        exchange = Exchange(method, target, bool(faults))
        self.exchanges.append(exchange)
        for fault in faults:
            if instead := await fault.asked(self._dice):
                exchange.status = int(instead.split(b" ", 2)[1])
                await _send(writer, instead)
                return True
        if not onward:
            there = urlsplit(self.upstream.url)
            onward.append(await asyncio.open_connection(there.hostname, there.port, ssl=self._outward))
        source, way = onward[0]
        await _send(way, request.raw + content)
        answer = await http1.read_head(source)
        exchange.answered = answer.status
        for fault in faults:
            await fault.answered()
        exchange.status = answer.status
        await _send(writer, answer.raw)
        if "watch=" in target and answer.status == http.HTTPStatus.OK:
            await self._watch(self._pass(source, writer, exchange, answer, faults), writer, faults)
            return False
        await self._pass(source, writer, exchange, answer, faults)
        return "close" not in {request.field("connection"), answer.field("connection")}

    async def _watch(self, passing: Coroutine[None, None, None], writer: StreamWriter, faults: list[Fault]) -> None:
        """Until the API server ends it, the client goes, or it is to be closed."""
        closing = asyncio.Event()
        self._watches.add(closing)
        ends = [passing, writer.wait_closed(), closing.wait()]
        ends += [asyncio.sleep(fault.seconds) for fault in faults if isinstance(fault, ClosedWatch)]
        tasks = [asyncio.ensure_future(end) for end in ends]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
            else:
                await _send(writer, LAST_CHUNK)
        finally:
            self._watches.discard(closing)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(
        self, source: StreamReader, writer: StreamWriter, exchange: Exchange, answer: http1.Head, faults: list[Fault]
    ) -> None:
        """The answer's body, through every fault in turn."""
        async for piece in http1.body(source, answer, empty=http1.has_no_body(exchange.method, answer)):
            while self._frozen and "watch=" in exchange.target:
                await asyncio.sleep(0.01)
            async for part in _through(faults, piece):
                await _send(writer, part)


async def _through(faults: Sequence[Fault], piece: bytes) -> AsyncIterator[bytes]:
    if not faults:
        yield piece
        return
    async for part in faults[0].passing(piece):
        async for one in _through(faults[1:], part):
            yield one


async def _send(writer: StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
