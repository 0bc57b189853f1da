"""An API server that is none: a process of its own that sends prepared bytes, so that what is measured is who reads them.

Lists come in pages, as from a real one, but of the one size that we ask for. A watch sends all it has, and then is quiet. One
object alone may be changed while it is watched, as a Lease is.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
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
    events: bytes = b""  # chunks

    def listed(self, page: int) -> bytes:
        """An answer."""
        return self.pages[page]

    def watched(self, _: int) -> Iterator[bytes]:
        """What follows the head of a watch."""
        yield self.events


class Single:
    """A collection of one object, whose annotations may be changed by merge patches. Any thread may ask."""

    def __init__(self, kind: str, document: dict[str, Any]) -> None:
        self._kind, self._document, self._version = kind, document, VERSION
        self._changed = threading.Condition()

    def listed(self, _: int) -> bytes:
        """As a page, whole."""
        with self._changed:
            return _page(self._kind, [_encoded(self._document)], 0, self._version)

    def patched(self, patch: Mapping[str, Any]) -> bytes:
        """The object after it; 409 if the patch was made of another version."""
        given, meta = patch["metadata"], self._document["metadata"]
        with self._changed:
            if given.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
                return _answer(409, b'{"kind":"Status","reason":"Conflict","code":409}')
            self._version += 1
            meta["annotations"] = {**meta.get("annotations", {}), **given["annotations"]}
            meta["resourceVersion"] = str(self._version)
            self._changed.notify_all()
            return _answer(200, _encoded(self._document))

    def watched(self, since: int) -> Iterator[bytes]:
        """What follows the head of a watch from this version: every state that comes, but for those that are over by then."""
        while True:
            with self._changed:
                while self._version <= since:
                    self._changed.wait()
                since, event = self._version, _event(self._document)
            yield event


def resource(kind: str, items: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]] = ()) -> Resource:
    """These objects, and what a watch tells: each of ``events`` has changed."""
    encoded = [_encoded(item) for item in items]
    starts = range(0, len(encoded), PAGE) if encoded else [0]
    pages = [
        _page(kind, encoded[start : start + PAGE], number + 1 if start + PAGE < len(encoded) else 0)
        for number, start in enumerate(starts)
    ]
    return Resource(pages, b"".join(map(_event, events)))


def _page(kind: str, items: Sequence[bytes], following: int, version: int = VERSION) -> bytes:
    meta = _encoded({"resourceVersion": str(version), **({"continue": str(following)} if following else {})})
    return _answer(
        200, b'{"kind":"%s","apiVersion":"v1","metadata":%s,"items":[%s]}\n' % (kind.encode(), meta, b",".join(items))
    )


def _event(document: Mapping[str, Any]) -> bytes:
    line = b'{"type":"MODIFIED","object":%s}\n' % _encoded(document)
    return b"%x\r\n%s\r\n" % (len(line), line)


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
        subprocess.Popen(
            [sys.executable, "-m", module, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process,
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


def serve(resources: Mapping[str, Resource | Single]) -> None:
    """Print the port, and answer there until standard input ends, be it by the end of who started us. Resources by path."""
    threading.Thread(target=_end, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=_converse, args=(sock, resources), daemon=True).start()


def _end() -> None:
    sys.stdin.read()
    os._exit(0)


def _converse(sock: socket.socket, resources: Mapping[str, Resource | Single]) -> None:
    with sock, suppress(OSError), sock.makefile("rb") as asked:
        while first := asked.readline():
            method, target, _ = first.decode().split(" ", 2)
            body, url = asked.read(_length(asked)), urlsplit(target)
            for piece in _answered(resources, method, url.path, dict(parse_qsl(url.query)), body):
                sock.sendall(piece)


def _length(asked: BinaryIO) -> int:
    """Of the body, when the headers are read."""
    length = 0
    while (line := asked.readline().lower()) not in {b"", b"\r\n"}:
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return length


def _answered(
    resources: Mapping[str, Resource | Single], method: str, path: str, query: Mapping[str, str], body: bytes
) -> Iterator[bytes]:
    found, parent = resources.get(path), resources.get(path.rpartition("/")[0])
    if method == "PATCH" and isinstance(parent, Single):
        yield parent.patched(json.loads(body))
    elif method != "GET" or found is None:
        yield _answer(404, b'{"kind":"Status","reason":"NotFound","code":404}')
    elif "watch" in query:
        yield QUIET
        yield from found.watched(int(query["resourceVersion"]))
    elif query.get("limit") != str(PAGE):
        yield _answer(400, b'{"kind":"Status","reason":"BadRequest","code":400,"message":"pages of %d are prepared"}' % PAGE)
    else:
        yield found.listed(int(query.get("continue", 0)))
