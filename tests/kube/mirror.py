"""A sink that keeps what it is told, and what it was told in order; and a reflector's thread around it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hami_core.kube.backoff import Backoff, Pace
from hami_core.kube.objects import Pod
from hami_core.kube.reflector import Reflector
from tests.kube.scripted import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hami_core.kube.connection import Connection


@define
class Mirror:
    """Pods by name, and the calls that made them so."""

    pods: dict[str, str] = field(factory=dict)  # name -> version
    told: list[Any] = field(factory=list)

    def replaced(self, objects: list[Pod]) -> None:
        """All there is."""
        self.pods = {pod.metadata.name: pod.metadata.resource_version for pod in objects}
        self.told.append(("replaced", sorted(self.pods)))

    def changed(self, batch: list[tuple[str, Pod]]) -> None:
        """One after the other."""
        for kind, pod in batch:
            if kind == "DELETED":
                self.pods.pop(pod.metadata.name, None)
            else:
                self.pods[pod.metadata.name] = pod.metadata.resource_version
        self.told.append([(kind, pod.metadata.name) for kind, pod in batch])

    def unreadable(self, raw: bytes, error: Exception) -> None:
        """Kept beside the rest."""
        self.told.append(("unreadable", raw, type(error).__name__))


def a_reflector(connection: Connection, mirror: Mirror, patience: float = 5.0, wait: float = 0.01) -> Reflector[Pod]:
    backoff = Backoff(Pace(first=wait, cap=wait))
    return Reflector(connection, "/api/v1/pods", Pod, mirror, patience=patience, backoff=backoff, unreadable=mirror.unreadable)


@contextmanager
def running(reflector: Reflector[Any]) -> Iterator[None]:
    """In a thread that must end within a second of being told to."""
    stop = threading.Event()
    thread = threading.Thread(target=reflector.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()
