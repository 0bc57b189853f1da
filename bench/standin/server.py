"""An API server that is none: a process of its own that sends prepared bytes, so that what is measured is who reads them.

Lists come in pages, as from a real one, but of the one size that we ask for. A watch sends all it has, and then is quiet.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen

from hami_core.kube.listing import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
VERSION = 1_000_000  # of every list: above that of any object in it
QUIET = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@frozen
class Resource:
    """What is sent of one: whole answers, headers included."""

    pages: Sequence[bytes]
    watch: bytes = QUIET


def resource(kind: str, items: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]] = ()) -> Resource:
    """These objects, and what a watch tells: each of ``events`` has changed."""
    encoded = [_encoded(item) for item in items]
    starts = range(0, len(encoded), PAGE) if encoded else [0]
    pages = [
        _page(kind, encoded[start : start + PAGE], number + 1 if start + PAGE < len(encoded) else 0)
        for number, start in enumerate(starts)
    ]
    lines = (b'{"type":"MODIFIED","object":%s}\n' % _encoded(event) for event in events)
    return Resource(pages, QUIET + b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines))


def _page(kind: str, items: Sequence[bytes], following: int) -> bytes:
    meta = _encoded({"resourceVersion": str(VERSION), **({"continue": str(following)} if following else {})})
    return _answer(
        200, b'{"kind":"%s","apiVersion":"v1","metadata":%s,"items":[%s]}\n' % (kind.encode(), meta, b",".join(items))
    )


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def _encoded(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


# --- The process ------------------------------------------------------------------------------------------------------


@contextmanager
def running(module: str, *words: str) -> Iterator[Path]:
    """A kubeconfig that leads to the server that this module, started with these words, serves."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process,
    ):
        assert process.stdout is not None
        path = Path(folder) / "kubeconfig"
        path.write_text(json.dumps(_kubeconfig(int(process.stdout.readline()))))
        try:
            yield path
        finally:
            process.kill()


def _kubeconfig(port: int) -> dict[str, object]:
    return {
        "current-context": "replay",
        "contexts": [{"name": "replay", "context": {"cluster": "replay", "user": ""}}],
        "clusters": [{"name": "replay", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [],
    }


def serve(resources: Mapping[str, Resource]) -> None:
    """Print the port, and answer there until the process is killed. Resources by path."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=_converse, args=(sock, resources), daemon=True).start()


def _converse(sock: socket.socket, resources: Mapping[str, Resource]) -> None:
    with sock, suppress(OSError):
        while head := sock.recv(65536):
            sock.sendall(_answered(resources, head))


def _answered(resources: Mapping[str, Resource], head: bytes) -> bytes:
    method, target, _ = head.decode().split(" ", 2)
    url = urlsplit(target)
    query, found = dict(parse_qsl(url.query)), resources.get(url.path)
    if method != "GET" or found is None:
        return _answer(404, b"{}")
    if "watch" in query:
        return found.watch
    if query.get("limit") != str(PAGE):
        return _answer(400, b'{"message":"pages of %d are prepared"}' % PAGE)
    return found.pages[int(query.get("continue", 0))]
