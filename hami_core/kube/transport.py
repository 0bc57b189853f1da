"""urllib3's connections with two more promises: an answer is there by its deadline, and a stream gives whatever has arrived.

``http.client`` has a timeout for each read alone: a server that sends a byte now and then is waited for without end. And it
reads a chunked stream chunk by chunk, where a watch has a chunk for each event and thousands may have arrived.
"""

from __future__ import annotations

import io
import math
import ssl
import time
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse, IncompleteRead
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from hami_core.kube.framing import Chunks, Counted

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Iterator

TICK: Final = 0.25  # seconds: how soon a thread that waits for the next bytes looks up
PIECE: Final = 64 << 10  # bytes asked of a socket at once
BATCH: Final = 1 << 20  # bytes after which what has arrived is handed on, though more is there
GATHER: Final = 0.01  # seconds from one piece to the next: each costs two changes of thread, however small it is

# Of a thread that can be told to stop, by what: it is looked at while an answer is waited for.
stopping: Final[ContextVar[threading.Event | None]] = ContextVar("stopping", default=None)


class Deadline(io.RawIOBase):
    """What a socket receives until the timeout that it has now is over, or the thread is to stop; then TimeoutError."""

    def __init__(self, file: io.RawIOBase, sock: socket.socket) -> None:
        self._file, self._sock = file, sock  # the file keeps the socket open, and is not read from
        limit = sock.gettimeout()
        self._until = math.inf if limit is None else time.monotonic() + limit
        self._stop = stopping.get()
        self.over = False  # nothing is read any more: what io has at hand is all

    def readable(self) -> bool:
        """As io asks."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """What comes in time."""
        while not self.over:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer was not there by its deadline")
            if self._stop is not None and self._stop.is_set():
                raise TimeoutError("the answer is not waited for any more")
            self._sock.settimeout(min(left, TICK))
            with suppress(TimeoutError):
                return self._sock.recv_into(buffer)
        return None

    def close(self) -> None:
        """With its socket's file."""
        self._file.close()
        super().close()


class Answer(HTTPResponse):
    """An answer whose headers and body must be there within the timeout that its socket has when the wait begins."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock = sock
        self._pace = Deadline(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._pace)

    def begin(self) -> None:
        """Read the head. HTTPException: the end of the body will not be told from a broken connection.

        ``http.client`` takes a head that broke off for a whole one, and then the end of the connection for the end of the body.
        """
        super().begin()
        if not self.chunked and self.length is None:
            raise HTTPException("an answer with neither a length nor chunks: where it ends cannot be known")

    def arriving(self, patience: float) -> Iterator[bytes]:
        """The body in pieces, each all that has arrived, or b"" after a TICK without any; TimeoutError after ``patience``.

        The first piece after a silence is given at once; what follows close behind is gathered. In place of ``read``, and up to
        the end of the connection's life: it is not usable for a further request.
        """
        coding = Chunks() if self.chunked else Counted(self.length or 0)
        self._pace.over = True
        data, alive = self.fp.peek(), True
        heard = time.monotonic()
        while True:
            if data:
                heard = time.monotonic()
                yield coding.feed(data)
            if coding.finished:
                return
            if not alive:
                raise IncompleteRead(b"")
            if not data:
                silent = not self._wait(heard + patience)
                yield b""
                if silent:
                    continue
            if len(data) < BATCH and (pause := heard + GATHER - time.monotonic()) > 0:
                time.sleep(pause)
            data, alive = _arrived(self._sock)

    def _wait(self, until: float) -> bool:
        """Whether something has come."""
        if time.monotonic() > until:
            raise TimeoutError("nothing came for too long")
        waiting = poll()
        waiting.register(self._sock, POLLIN)
        return bool(waiting.poll(TICK * 1000))


def _arrived(sock: socket.socket) -> tuple[bytes, bool]:
    """What a socket has at hand, and whether its other side still sends. A TLS socket gives one record at a time."""
    sock.settimeout(0)
    pieces: list[bytes] = []
    size = 0
    while size < BATCH:
        try:
            piece = sock.recv(PIECE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            break
        if not piece:
            return b"".join(pieces), False
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces), True


class PlainConnection(HTTPConnection):
    """Over TCP."""

    response_class = Answer
    _pieces: list[bytes] | None = None  # of a request that is being put together

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send head and body at once: in two TLS records they cost both sides another turn.

        With the time that this request has: the last answer has left the socket what remained of its own.
        """
        if self.sock is None:
            self.connect()
        else:
            self.sock.settimeout(self.timeout)
        pieces: list[bytes] = []
        self._pieces = pieces
        try:
            super().request(*args, **kwargs)
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, data: Any) -> None:
        """As ``http.client`` asks: head and body are two calls."""
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class SecureConnection(PlainConnection, HTTPSConnection):
    """Over TLS."""


class PlainPool(HTTPConnectionPool):
    """Of PlainConnection."""

    ConnectionCls = PlainConnection


class SecurePool(HTTPSConnectionPool):
    """Of SecureConnection."""

    ConnectionCls = SecureConnection


POOLS: Final = {"http": PlainPool, "https": SecurePool}
