"""A mirror of one resource: listed once, then watched; listed anew only when the server has forgotten where we were.

One thread for each. What a sink is told is the server's view, some moments late: after ``replaced`` and the changes behind it
a sink holds what the server held at one version. A lost connection costs a gap in time, never a change: the watch goes on from
the last version that was heard of.
"""

from __future__ import annotations

import logging
import math
import random
import time
from typing import TYPE_CHECKING, Final, Generic, Protocol

import msgspec

from hami_core.kube.backoff import Backoff
from hami_core.kube.errors import Gone, KubeError, TooManyRequests, Unavailable
from hami_core.kube.events import Events
from hami_core.kube.framing import Lines
from hami_core.kube.listing import TIMEOUT, T, Unreadable, read_all
from hami_core.kube.transport import stopping

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from hami_core.kube.connection import Connection
    from hami_core.kube.events import Batch

log: Final = logging.getLogger(__name__)

PATIENCE: Final = 90.0  # seconds without a byte; the API server sends a bookmark about once a minute
LIFE: Final = (240, 480)  # seconds a watch is asked to last: by chance, so that those of many clients do not end together
SHORT: Final = 1.0  # seconds: a watch that ended sooner, and told nothing, has failed; resuming it at once would be a busy loop


class Sink(Protocol[T]):
    """Who keeps the objects. Called from the reflector's thread, one call at a time."""

    def replaced(self, objects: list[T]) -> None:
        """This is all there is: after every full list."""

    def changed(self, batch: list[tuple[str, T]]) -> None:
        """``("ADDED" | "MODIFIED" | "DELETED", object)`` in the server's order; with DELETED, its last state."""


def report_unreadable(raw: bytes, error: Exception) -> None:
    """The log's line for an object that a sink will never see: which it is, and not what is in it."""
    log.error("an object of the API server cannot be read: %s: %s", _which(raw), error)


def _which(raw: bytes) -> str:
    try:
        metadata = msgspec.json.decode(raw)["metadata"]
        return f"{metadata.get('namespace', '')}/{metadata.get('name', '')} ({metadata.get('uid', '')})"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return f"{len(raw)} bytes without a name"


class Reflector(Generic[T]):
    """Keeps a sink up with one resource of the API server.

    ``unreadable`` is told of each object that is not of the shape, before ``replaced`` of the list that it stands in, or at its
    place among the changes; what it gives is handed to the sink in its stead. What it or a sink raises ends ``run``. The public
    attributes are for health checks: written by the reflector's thread, read by any.
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        shape: type[T],
        sink: Sink[T],
        *,
        label_selector: str = "",
        field_selector: str = "",
        patience: float = PATIENCE,
        backoff: Backoff | None = None,
        unreadable: Callable[[bytes, Exception], T | None] = report_unreadable,
    ) -> None:
        self.synced = False  # a full list has been handed over
        self.last_contact = -math.inf  # monotonic: when the server last said anything
        self.restarts = 0  # lists after the first
        self.unreadable = 0  # objects that were not of the shape
        self.failure = ""  # why it waits, in words; empty: it does not
        self._connection, self._path, self._shape, self._sink = connection, path, shape, sink
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._query = {key: value for key, value in selectors.items() if value}
        self._patience, self._tell = patience, unreadable
        self._backoff = backoff or Backoff()
        self._events = Events(shape)
        self._version = ""  # empty: the next step is to list

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. That is noticed within half a second, but for the five that a connection may take to be made."""
        token = stopping.set(stop)
        try:
            while not stop.is_set():
                self._attempt(stop)
        finally:
            stopping.reset(token)

    def _attempt(self, stop: threading.Event) -> None:
        try:
            self._step(stop)
        except KubeError as error:
            if isinstance(error, Gone):
                self._version = ""
            if not stop.is_set():
                self._pause(stop, error)

    def _step(self, stop: threading.Event) -> None:
        if not self._version:
            self._list()
        else:
            self._watch(stop)

    def _list(self) -> None:
        listed = read_all(self._connection, self._path, self._shape, self._query, timeout=min(self._patience, TIMEOUT))
        self._heard()
        instead = [self._report(each) for each in listed.unreadable]
        self._sink.replaced([*listed.objects, *(one for one in instead if one is not None)])
        self.restarts += self.synced
        self.synced = True
        self._version = listed.version

    def _watch(self, stop: threading.Event) -> None:
        begun, before = time.monotonic(), self._version
        try:
            self._follow(stop)
        finally:
            lasted = self._version != before or time.monotonic() - begun >= SHORT
            if lasted:
                self._backoff.succeeded()
        if not lasted and not stop.is_set():
            raise Unavailable("a watch ended as soon as it had begun")

    def _follow(self, stop: threading.Event) -> None:
        """One watch, to its end."""
        lines = Lines()
        for data in self._stream():
            if data:
                self._heard()
                self._hand_over(self._events.decode(_split(lines, data)))
            if stop.is_set():
                return
        if lines.pending:
            raise Unavailable("a watch ended in the middle of a line")

    def _stream(self) -> Iterator[bytes]:
        query = {
            **self._query,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*LIFE)),  # noqa: S311  chance, not secrecy
        }
        return self._connection.stream(self._path, query, self._patience)

    def _hand_over(self, batch: Batch[T]) -> None:
        """All changes of a batch, then the version that they lead to: what a sink has not got is asked for again."""
        changes: list[tuple[str, T]] = []
        for change in batch.changes:
            if isinstance(change, Unreadable):
                self._give(changes)
                instead = self._report(change)
                changes = [] if instead is None else [(change.event, instead)]
            else:
                changes.append(change)
        self._give(changes)
        if batch.version:
            self._version = batch.version
        if batch.failure is not None:
            raise batch.failure

    def _give(self, changes: list[tuple[str, T]]) -> None:
        if changes:
            self._sink.changed(changes)

    def _report(self, each: Unreadable) -> T | None:
        self.unreadable += 1
        return self._tell(each.raw, each.error)

    def _heard(self) -> None:
        self.last_contact, self.failure = time.monotonic(), ""

    def _pause(self, stop: threading.Event, error: KubeError) -> None:
        seconds = self._backoff.failed(error.retry_after if isinstance(error, TooManyRequests) else 0.0)
        self.failure = str(error)
        log.warning("%s: %s; again in %.1f s", self._path, error, seconds)
        stop.wait(seconds)


def _split(lines: Lines, data: bytes) -> list[bytes]:
    try:
        return lines.feed(data)
    except ValueError as error:
        raise Unavailable(f"a watch that cannot be read: {error}") from error
