"""The few writes that we make, and single reads. Each is one request: nothing is tried again here.

What was not answered may have happened: ``Unavailable.unknown``. Every write below is safe to repeat but for ``record_event``
under a new name; a Binding that had been carried out answers the second one with Conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from hami_core.kube.errors import Conflict, Invalid, Unavailable
from hami_core.kube.events import Versioned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Meta

T = TypeVar("T")

MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML; the API server of 1.34 knows no other name for it
TIMEOUT: Final = 10.0  # seconds
UID_CHANGED: Final = "metadata.uid: Invalid value"  # how the API server (422) takes a patch for another object of the same name
NOTE: Final = 1024  # bytes that events.k8s.io/v1 lets an event's note have; nobody reads more


def bind(
    connection: Connection,
    *,
    namespace: str,
    name: str,
    uid: str,
    node: str,
    annotations: Mapping[str, str],
    timeout: float = TIMEOUT,
) -> None:
    """Give a pod its node, and in the same update its annotations.

    Conflict: it is another pod of that name by now, or bound already; NotFound: it is gone. Nothing has changed then.
    The API server, too, gives up after ``timeout``: what nobody waits for any more is not to be carried out by somebody slow.
    """
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "annotations": annotations},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}/binding"
    connection.request("POST", path, orjson.dumps(binding), query={"timeout": f"{timeout:.3f}s"}, timeout=timeout)


def annotate(
    connection: Connection,
    path: str,
    annotations: Mapping[str, str | None],
    *,
    uid: str = "",
    version: str = "",
    timeout: float = TIMEOUT,
) -> None:
    """Set annotations of one object, None removes one, all others stay.

    With ``uid``: Conflict if it is another by now. With ``version``, its resourceVersion: Conflict if it has changed since.
    """
    _patch(connection, path, {"annotations": annotations, "uid": uid, "resourceVersion": version}, timeout)


def mark(
    connection: Connection,
    path: str,
    *,
    annotations: Mapping[str, str | None],
    labels: Mapping[str, str | None],
    uid: str = "",
    version: str = "",
    timeout: float = TIMEOUT,
) -> Meta:
    """``annotate`` for annotations and labels in one write; the object's metadata after it."""
    wanted = {"annotations": annotations, "labels": labels, "uid": uid, "resourceVersion": version}
    return _decoded(_patch(connection, path, wanted, timeout), Versioned).metadata


def _patch(connection: Connection, path: str, wanted: Mapping[str, Any], timeout: float) -> bytes:
    """Change metadata; what is empty is not asked for."""
    metadata = {key: value for key, value in wanted.items() if value}
    try:
        return connection.request("PATCH", path, orjson.dumps({"metadata": metadata}), content_type=MERGE, timeout=timeout)
    except Invalid as error:
        if "uid" in metadata and UID_CHANGED in error.message:
            raise Conflict(409, "Conflict", error.message) from error
        raise


def read(connection: Connection, path: str, shape: type[T], *, timeout: float = TIMEOUT) -> T:
    """One object, as the store has it now."""
    return _decoded(connection.request("GET", path, timeout=timeout), shape)


def create(connection: Connection, path: str, document: Mapping[str, Any], *, timeout: float = TIMEOUT) -> None:
    """A new object in the collection ``path``; Conflict if there is one of that name."""
    connection.request("POST", path, orjson.dumps(document), timeout=timeout)


def replace(connection: Connection, path: str, document: Mapping[str, Any], *, timeout: float = TIMEOUT) -> None:
    """The whole object, in place of the one whose ``metadata.resourceVersion`` it carries; Conflict if that has changed."""
    connection.request("PUT", path, orjson.dumps(document), timeout=timeout)


def delete(connection: Connection, path: str, *, uid: str = "", timeout: float = TIMEOUT) -> None:
    """Remove one object. With ``uid``, Conflict if it is another by now."""
    options = orjson.dumps({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}) if uid else None
    connection.request("DELETE", path, options, timeout=timeout)


def apply(
    connection: Connection,
    path: str,
    document: Mapping[str, Any],
    field_manager: str,
    *,
    force: bool = True,
    timeout: float = TIMEOUT,
) -> None:
    """Make an object have what ``document`` says, and create it if need be: server-side apply.

    ``force`` takes over fields that others manage; without it they are a Conflict.
    """
    query = {"fieldManager": field_manager, "force": "true" if force else "false"}
    connection.request("PATCH", path, orjson.dumps(document), query=query, content_type=APPLY, timeout=timeout)


def record_event(
    connection: Connection,
    *,
    namespace: str,
    name: str,
    regarding: Mapping[str, str],
    reason: str,
    note: str,
    action: str,
    kind: Literal["Normal", "Warning"],
    controller: str,
    instance: str,
    when: str,
    count: int = 1,
    last: str = "",
    timeout: float = TIMEOUT,
) -> None:
    """An event as ``kubectl describe`` shows it (core/v1: in events.k8s.io/v1 the words of an event can never change).

    ``name`` is the caller's: the same one again, with a higher ``count``, the time of the ``last`` (RFC 3339, like ``when``,
    the first) and perhaps another ``note``, is the same event seen again: server-side apply makes it or changes it.
    ``regarding``: the fields of an ObjectReference. A note that is too long is cut.
    """
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": regarding,
        "reason": reason,
        "message": _cut(note),
        "action": action,
        "type": kind,
        "source": {"component": controller},
        "reportingComponent": controller,
        "reportingInstance": instance,
        "firstTimestamp": when,
        "lastTimestamp": last or when,
        "count": count,
    }
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events/{quote(name, safe='')}"
    apply(connection, path, event, controller, timeout=timeout)


def _cut(note: str) -> str:
    whole = note.encode()
    return note if len(whole) <= NOTE else whole[: NOTE - 3].decode(errors="ignore") + "..."


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"an object that cannot be read: {error}") from error
