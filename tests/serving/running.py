"""A server for tests: on a thread of its own, with its own loop, as real as in the product."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import uvloop

from hami_core.serving.certificates import Lives, Material, renewed
from hami_core.serving.server import Address, Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from hami_core.serving.exchange import App
    from hami_core.serving.protocol import Limits
    from hami_core.serving.tls import CertSwap

HOST = "127.0.0.1"
PATIENCE = 10.0


def material(stored: Material | None = None) -> Material:
    """What serves this host."""
    return renewed(datetime.now(UTC), (HOST, "localhost"), stored, Lives())


def client_context(bundle: bytes) -> ssl.SSLContext:
    """A client that trusts these authorities alone."""
    return ssl.create_default_context(cadata=bundle.decode())


class Running:
    """A server that serves, and its loop."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server, self.loop = server, loop

    @property
    def port(self) -> int:
        """Where."""
        return self.server.address.port

    def call(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run something in its loop, and wait for it."""

        async def run() -> None:
            await function()

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)


@contextmanager
def running(app: App, *, tls: CertSwap | None = None, limits: Limits | None = None) -> Iterator[Running]:
    """Serve it on a free port of this host."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(app, Address(HOST, 0), tls=tls, limits=limits)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE)
        yield Running(server, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(1.0), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
