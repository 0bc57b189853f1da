"""An API server of one node that keeps everything in memory, in place of a Connection; and what it was asked to write."""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import define, field, frozen

from hami_core.kube.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IDLE = 0.02  # seconds between two looks whether a watch is to end


@frozen
class Write:
    """One request that changes something."""

    method: str
    path: str
    body: Mapping[str, Any]


@define(eq=False)
class Cluster:
    """Nodes and pods by name."""

    objects: dict[str, dict[str, Any]] = field(factory=dict)  # by path
    writes: list[Write] = field(factory=list)
    gone: bool = False  # nobody reaches it
    refusal: Exception | None = None  # of every write
    _version: int = 100
    _watches: list[tuple[str, queue.Queue[bytes]]] = field(factory=list)
    _lock: threading.RLock = field(factory=threading.RLock)

    # --- As a Connection. ---

    def request(self, method: str, path: str, body: bytes | None = None, **_: Any) -> bytes:
        with self._lock:
            if self.gone:
                raise Unavailable("gone")
            if method == "GET":
                return self._read(path)
            self.writes.append(Write(method, path, json.loads(body or b"{}")))
            if self.refusal:
                raise self.refusal
            return self._patched(unquote(path), json.loads(body or b"{}"))

    def _read(self, path: str) -> bytes:
        if path in self.objects:
            return json.dumps(self.objects[path]).encode()
        items = [one for place, one in self.objects.items() if place.startswith(f"{path}/")]
        return json.dumps({"metadata": {"resourceVersion": str(self._version)}, "items": items}).encode()

    def _patched(self, path: str, patch: Mapping[str, Any]) -> bytes:
        if "/events/" in path:
            return b"{}"
        if path not in self.objects:
            raise NotFound(404, "NotFound", path)
        version = patch["metadata"].get("resourceVersion")
        if version not in {None, self.objects[path]["metadata"]["resourceVersion"]}:
            raise Conflict(409, "Conflict", path)
        for part in ("annotations", "labels"):
            values = {**self.objects[path]["metadata"].get(part, {}), **patch["metadata"].get(part, {})}
            self.objects[path]["metadata"][part] = {key: value for key, value in values.items() if value is not None}
        self._announce("MODIFIED", path)
        return json.dumps(self.objects[path]).encode()

    def stream(self, path: str, query: Mapping[str, str], timeout: float) -> Iterator[bytes]:
        lines: queue.Queue[bytes] = queue.Queue()
        with self._lock:
            if self.gone:
                raise Unavailable("gone")
            self._watches.append((path, lines))
        while not self.gone:
            try:
                yield lines.get(timeout=IDLE)
            except queue.Empty:
                yield b""

    # --- As a test changes it. ---

    def put(self, path: str, document: Mapping[str, Any]) -> None:
        with self._lock:
            known = path in self.objects
            self.objects[path] = json.loads(json.dumps(document))
            self._announce("MODIFIED" if known else "ADDED", path)

    def remove(self, path: str) -> None:
        with self._lock:
            self._announce("DELETED", path)
            del self.objects[path]

    def _announce(self, event: str, path: str) -> None:
        self._version += 1
        self.objects[path]["metadata"]["resourceVersion"] = str(self._version)
        line = json.dumps({"type": event, "object": self.objects[path]}).encode() + b"\n"
        for watched, lines in self._watches:
            if path.startswith(f"{watched}/"):
                lines.put(line)
