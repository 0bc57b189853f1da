"""What the node's object says of its devices: our annotations and labels, and nobody else's.

Written when they differ from what the object says, and then by one patch; there is no heartbeat. Somebody who removes or
changes one has it put back. ``changes`` is pure; ``Publisher`` writes, in a thread, and takes its time after a failure.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import field, frozen

from hami_core import names
from hami_core.kube import writes
from hami_core.kube.backoff import Backoff
from hami_core.kube.errors import KubeError, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Meta

_log = logging.getLogger(__name__)


@frozen
class Marks:
    """Annotations and labels by key; None: there is none."""

    annotations: Mapping[str, str | None] = field(factory=dict)
    labels: Mapping[str, str | None] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.annotations or self.labels)


NOTHING = Marks()


def changes(wanted: Marks, seen: Meta) -> Marks:
    """What has to be written so that the object says what is wanted, and of ours nothing else."""
    annotations, labels = seen.annotations or {}, seen.labels or {}
    return Marks(
        _changes(wanted.annotations, annotations, (key for key in annotations if names.kind_of_inventory(key))),
        _changes(wanted.labels, labels, (key for key in labels if names.is_device_label(key))),
    )


def _changes(wanted: Mapping[str, str | None], seen: Mapping[str, str], ours: Iterable[str]) -> dict[str, str | None]:
    stale = dict.fromkeys(key for key in ours if key not in wanted)
    return {**stale, **{key: value for key, value in wanted.items() if seen.get(key) != value}}


def node_path(node: str) -> str:
    """Of a node's object, for requests."""
    return f"/api/v1/nodes/{quote(node, safe='')}"


class Publisher:
    """Keeps the object of one node at what is wanted. Everything on the loop, but for the writes themselves.

    ``wrote`` is told the outcome of each write: "ok", or the kind of failure.
    """

    def __init__(self, node: str, writing: Executor, wrote: Callable[[str], None], backoff: Backoff | None = None) -> None:
        self._path, self._writing, self._wrote = node_path(node), writing, wrote
        self._backoff = backoff or Backoff()
        self._wanted: Marks | None = None
        self._seen: Meta | None = None
        self._turn = asyncio.Event()
        self.failure = ""  # why the last write was in vain; empty: it was not

    @property
    def published(self) -> bool:
        """Whether the object says what is wanted, as far as is known here."""
        return self._wanted is not None and self._seen is not None and not changes(self._wanted, self._seen)

    def want(self, marks: Marks) -> None:
        """From now on the object is to say this."""
        self._wanted = marks
        self._turn.set()

    def seen(self, meta: Meta | None) -> None:
        """The object as a watch says it is; None: there is none. What is older than our own last write is no news."""
        if meta is None or self._seen is None or not _is_older(meta, self._seen):
            self._seen = meta
            self._turn.set()

    async def run(self, connection: Connection) -> None:
        """For ever."""
        while True:
            await self._turn.wait()
            self._turn.clear()
            await self._publish(connection)

    async def _publish(self, connection: Connection) -> None:
        if self._wanted is None or self._seen is None:
            return
        wrong, uid = changes(self._wanted, self._seen), self._seen.uid
        if not wrong:
            return
        try:
            write = partial(self._write, connection, wrong, uid)
            self.seen(await asyncio.get_running_loop().run_in_executor(self._writing, write))
        except KubeError as error:
            await self._pause(error)
        else:
            self._backoff.succeeded()
            self.failure = ""
            self._wrote("ok")
            _log.info("published", extra={"keys": [*wrong.annotations, *wrong.labels]})

    def _write(self, connection: Connection, wrong: Marks, uid: str) -> Meta:
        return writes.mark(connection, self._path, annotations=wrong.annotations, labels=wrong.labels, uid=uid)

    async def _pause(self, error: KubeError) -> None:
        """What the object says then decides what is written next."""
        self.failure = str(error)
        self._wrote(type(error).__name__)
        seconds = self._backoff.failed(error.retry_after if isinstance(error, TooManyRequests) else 0.0)
        _log.warning("cannot publish", extra={"error": str(error), "again_in": round(seconds, 1)})
        await asyncio.sleep(seconds)
        self._turn.set()


def _is_older(one: Meta, other: Meta) -> bool:
    """Whether it is an earlier version of the same object. Versions of one object are numbers that rise."""
    if one.uid != other.uid or not (one.resource_version.isdecimal() and other.resource_version.isdecimal()):
        return False
    return int(one.resource_version) < int(other.resource_version)
