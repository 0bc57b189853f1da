"""Events on pods whose device has become sick, or well again: what runs goes on, and its owner should know.

Told once, as far as the API server takes it: an event that is lost is no harm, and what is true now is on the node.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from hami_core.kube import writes
from hami_core.kube.errors import KubeError
from hami_core.names import NODE_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Meta
    from hami_core.node.devices import Change

MOST: Final = 1000  # that wait to be written

_log = logging.getLogger(__name__)


@frozen
class _Event:
    pod: Meta
    change: Change
    when: str


class Teller:
    """Writes events in a thread. ``wrote`` is told the outcome of each."""

    def __init__(self, node: str, writing: Executor, wrote: Callable[[str], None]) -> None:
        self._node, self._writing, self._wrote = node, writing, wrote
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(MOST)

    def tell(self, pod: Meta, change: Change) -> None:
        """The pod holds a share of the device."""
        try:
            self._queue.put_nowait(_Event(pod, change, datetime.now(UTC).isoformat(timespec="seconds")))
        except asyncio.QueueFull:
            self._wrote("dropped")

    async def run(self, connection: Connection) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            event = await self._queue.get()
            try:
                await loop.run_in_executor(self._writing, self._write, connection, event)
                self._wrote("ok")
            except KubeError as error:
                self._wrote(type(error).__name__)
                _log.warning("an event is lost", extra={"pod": event.pod.name, "error": str(error)})

    def _write(self, connection: Connection, event: _Event) -> None:
        writes.record_event(
            connection, instance=self._node, controller=NODE_AGENT, **words(event.pod, event.change, event.when)
        )


def words(pod: Meta, change: Change, when: str) -> dict[str, Any]:
    """What the event says. Its name is the same for one change, however often it is written."""
    digest = sha256(f"{pod.uid} {change.kind} {change.device} {change.reason} {when}".encode()).hexdigest()[:16]
    sick = bool(change.reason)
    about = f"the {change.kind} device {change.device} of this pod"
    return {
        "namespace": pod.namespace,
        "name": f"{pod.name[:230]}.{digest}",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "reason": "DeviceUnhealthy" if sick else "DeviceHealthy",
        "note": f"{about} is sick: {change.reason}" if sick else f"{about} is well again",
        "action": "HealthCheck",
        "kind": "Warning" if sick else "Normal",
        "when": when,
    }
