"""A server on loopback that answers as a test says, byte by byte if need be: what a good server never does is done by this one.

Each request takes the next act of the script; the last act is for all that follow. An act gets the request and the wire.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field, frozen

from hami_core.kube.connection import connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hami_core.kube.connection import Connection

DEADLINE = 10.0  # seconds that anything may take that a test waits for
END = b"0\r\n\r\n"


@frozen
class Request:
    """What the client sent."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@frozen
class Wire:
    """The server's end of one connection."""

    sock: socket.socket
    closing: threading.Event  # the test is over

    def send(self, data: bytes) -> None:
        """As it is."""
        self.sock.sendall(data)

    def dribble(self, data: bytes, pause: float) -> None:
        """A byte at a time."""
        for byte in data:
            if self.closing.wait(pause):
                return
            self.send(bytes([byte]))

    def hang(self) -> None:
        """Say nothing any more."""
        self.closing.wait(DEADLINE)

    def reset(self) -> None:
        """Close without a word: the client gets ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close in order, in the middle of whatever was being sent."""
        self.sock.close()


@define
class Server:
    """Serves a script until it is closed."""

    acts: list[Callable[[Request, Wire], None]]
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(factory=list)
    connections: int = 0
    closing: threading.Event = field(factory=threading.Event)
    listening: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    threads: list[threading.Thread] = field(factory=list)
    turn: threading.Lock = field(factory=threading.Lock)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.listening.getsockname()[1])

    def start(self) -> None:
        """Begin to accept."""
        self._thread(self._accept)

    def close(self) -> None:
        """End every connection, and wait for all threads."""
        self.closing.set()
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in list(self.threads):
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def _thread(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            self._thread(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, EOFError):
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            sock.settimeout(0.02)
            with sock:
                while sock.fileno() >= 0:
                    request = self._request(sock)
                    with self.turn:
                        self.requests.append(request)
                        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
                    act(request, Wire(sock, self.closing))

    def _request(self, sock: socket.socket) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv(sock)
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._recv(sock)
        url = urlsplit(target)
        return Request(method, url.path, dict(parse_qsl(url.query)), headers, body)

    def _recv(self, sock: socket.socket) -> bytes:
        while not self.closing.is_set():
            with suppress(TimeoutError):
                if data := sock.recv(65536):
                    return data
                raise EOFError
        raise EOFError


@contextmanager
def serving(
    folder: Path, *acts: Callable[[Request, Wire], None], tls: ssl.SSLContext | None = None, ca: str = ""
) -> Iterator[tuple[Server, Connection]]:
    """A server with a script, and our connection to it by a kubeconfig in ``folder``."""
    server = Server(list(acts), tls)
    server.start()
    connection = connect(kubeconfig(folder, server.port, ca=ca))
    try:
        yield server, connection
    finally:
        connection.close()
        server.close()


def kubeconfig(folder: Path, port: int, *, user: Mapping[str, Any] | None = None, ca: str = "") -> Path:
    """A file that leads there; JSON is YAML."""
    cluster = {"server": f"http{'s' if ca else ''}://127.0.0.1:{port}", **({"certificate-authority": ca} if ca else {})}
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "one",
                "clusters": [{"name": "one", "cluster": cluster}],
                "users": [{"name": "one", "user": dict(user or {})}],
                "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            }
        )
    )
    return path


def head(status: int = 200, **headers: str) -> bytes:
    """The first lines of an answer."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body: object, status: int = 200, **headers: str) -> bytes:
    """An answer as a good server gives it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, Content_Length=str(len(data)), **headers) + data


def says(body: object, status: int = 200, **headers: str) -> Callable[[Request, Wire], None]:
    """The act of a good server."""
    return lambda _, wire: wire.send(whole(body, status, **headers))


def refuses(code: int, reason: str = "", message: str = "", **headers: str) -> Callable[[Request, Wire], None]:
    """The act of a server that says no."""
    return says(a_status(code, reason, message), code, **headers)


def then(data: bytes, end: str) -> Callable[[Request, Wire], None]:
    """The act of a server that sends something and then does a wire's ``reset``, ``close`` or ``hang``."""

    def act(_: Request, wire: Wire) -> None:
        wire.send(data)
        getattr(wire, end)()

    return act


def a_status(code: int, reason: str = "", message: str = "", **fields: Any) -> dict[str, Any]:
    """Kubernetes' own form of an error."""
    base = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**base, "message": message, "reason": reason, "code": code, **fields}


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked answer."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def a_pod(name: str, version: int = 1, **annotations: str) -> dict[str, Any]:
    """A pod as the API server writes it, but short."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "annotations": annotations}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}


def a_list(*items: object, version: int = 1, more: str = "") -> dict[str, Any]:
    """A page."""
    return {"kind": "PodList", "metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


def an_event(kind: str, obj: object) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def a_bookmark(version: int) -> bytes:
    """As the API server sends it for pods."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return an_event(
        "BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": None}, "status": {}}
    )


def watches(*lines: bytes) -> bytes:
    """The beginning of a watch."""
    return head(Transfer_Encoding="chunked") + b"".join(chunk(line) for line in lines)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it does."""
    until = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < until, "it did not come to that in time"
        threading.Event().wait(0.005)
