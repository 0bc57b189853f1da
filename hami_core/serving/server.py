"""uvicorn as this project starts and stops it: its protocol and parser, a lifecycle of our own, several servers in one process.

uvicorn's own ``Server`` takes the signals of the process, knows no handshake timeout, and ticks ten times a second.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from attrs import frozen
from uvicorn.server import ServerState

from hami_core.errors import UserError
from hami_core.serving.protocol import Limits, Patient

if TYPE_CHECKING:
    from hami_core.serving.exchange import App
    from hami_core.serving.tls import CertSwap

BACKLOG = 1024


@frozen
class Address:
    """Where a server listens. Host "": all addresses; port 0: one that is free."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """HOST:PORT, [IPv6]:PORT or :PORT, as settings check it."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Server:
    """One listening address and its connections, on the loop that ``start`` was called in."""

    def __init__(self, app: App, address: Address, *, tls: CertSwap | None = None, limits: Limits | None = None) -> None:
        self._address, self._tls, self._limits = address, tls, limits or Limits()
        self._config = uvicorn.Config(
            app,
            http=Patient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=self._limits.idle,
        )
        self._state = ServerState()
        self._listener: asyncio.Server | None = None

    @property
    def address(self) -> Address:
        """Where it listens, the port that was free included."""
        assert self._listener is not None, "not started"
        return Address(self._address.host, self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._state.connections)

    async def start(self) -> Address:
        """Listen. UserError: the address cannot be had."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # whoever sends garbage would fill the log
        self._config.load()
        protocol = partial(Patient, config=self._config, server_state=self._state, app_state={}, limits=self._limits)
        context = self._tls.front if self._tls else None
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                protocol,
                sock=_listening(self._address),
                ssl=context,
                ssl_handshake_timeout=self._limits.handshake if context else None,
                ssl_shutdown_timeout=self._limits.handshake if context else None,
            )
        except OSError as error:
            raise UserError(f"cannot listen on {self._address}: {error.strerror or error}") from error
        return self.address

    async def stop(self, patience: float) -> None:
        """Take nothing new, finish what has begun, and cut off what is not done after so many seconds."""
        if self._listener is None:
            return
        self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while (self._state.connections or self._state.tasks) and loop.time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self._state.connections):
            connection.transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)


def _listening(address: Address) -> socket.socket:
    """One socket, so that there is one port; for all addresses one of both families where the host has both."""
    if not address.host and socket.has_dualstack_ipv6():
        return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)


def ending() -> asyncio.Event:
    """Set when the process is asked to end (SIGTERM, SIGINT). In the main thread's loop."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event
