"""The API server, as far as the scheduler writes to it and reads single objects.

Bindings, notices, our word on the Lease, and a pod when in doubt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import frozen

from hami_core import names
from hami_core.kube import writes
from hami_core.kube.errors import KubeError, NotFound, Unavailable
from hami_core.kube.objects import Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Lease
    from hami_scheduler.notices import Waiting

PATIENCE = 5.0
"""Seconds for a notice, or for our word on the Lease."""

FILTERING_FAILED = "FilteringFailed"
"""The reason of the event about a pod that waits: HAMi's."""


@frozen(eq=False)
class Api:
    """One connection as binder and notices need it. ``counted`` hears of every write: what, and its outcome."""

    connection: Connection
    instance: str  # who reports events
    controller: str
    counted: Callable[[str, str], None]

    def bind(self, *, namespace: str, name: str, uid: str, node: str, annotations: Mapping[str, str], timeout: float) -> None:
        """The one write of a pod that is granted."""
        self._count(
            "binding",
            lambda: writes.bind(
                self.connection, namespace=namespace, name=name, uid=uid, node=node, annotations=annotations, timeout=timeout
            ),
        )

    def pod(self, namespace: str, name: str, timeout: float) -> Pod | None:
        """The pod as it is now. None: there is none."""
        try:
            return writes.read(self.connection, _path(namespace, name), Pod, timeout=timeout)
        except NotFound:
            return None

    def claim(self, lease: Lease, word: str) -> None:
        """Our word on this Lease. Conflict: it has changed since; so a claim that is late is none."""
        meta = lease.metadata
        path = f"{leases(meta.namespace)}/{quote(meta.name, safe='')}"
        told = {names.EXTENDER: word}
        self._count(
            "claim", lambda: writes.annotate(self.connection, path, told, version=meta.resource_version, timeout=PATIENCE)
        )

    def waiting(self, pod: Waiting, text: str, *, event: bool) -> None:
        """Why a pod waits: an annotation, and an event of the same words."""
        told = {names.WAITING: text}
        path = _path(pod.namespace, pod.name)
        self._count("annotation", lambda: writes.annotate(self.connection, path, told, uid=pod.uid, timeout=PATIENCE))
        if event:
            self._count("event", lambda: self._event(pod, text))

    def _event(self, pod: Waiting, text: str) -> None:
        """One for each pod: a new sentence is the old event seen again."""
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        pod.first = pod.first or now
        pod.count += 1
        writes.record_event(
            self.connection,
            namespace=pod.namespace,
            name=f"{pod.name[:200]}.{pod.uid}",
            regarding=about,
            reason=FILTERING_FAILED,
            note=text,
            action="Scheduling",
            kind="Warning",
            controller=self.controller,
            instance=self.instance,
            when=pod.first,
            count=pod.count,
            last=now,
            timeout=PATIENCE,
        )

    def _count(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Unavailable as error:
            self.counted(what, "unknown" if error.unknown else "unavailable")
            raise
        except KubeError:
            self.counted(what, "refused")
            raise
        self.counted(what, "done")


def leases(namespace: str) -> str:
    """The path of a namespace's Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"


def _path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
