"""The lines of a watch: what each says, decoded once. Pure."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec
from attrs import Factory, mutable
from msgspec import Struct, field

from hami_core.kube.answers import of_status
from hami_core.kube.errors import KubeError, Unavailable
from hami_core.kube.listing import T, Unreadable
from hami_core.kube.objects import Meta, Status

CHANGES: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
Object = TypeVar("Object")


class Event(Struct, Generic[Object]):
    """One line."""

    type: str
    object: Object


class Versioned(Struct):
    """Of any object, its version."""

    metadata: Meta = field(default_factory=Meta)


@mutable
class Batch(Generic[T]):
    """What some lines say, in their order. ``failure``: the server's last word, behind all of it."""

    changes: list[tuple[str, T] | Unreadable] = Factory(list)
    version: str = ""  # of the last object or bookmark; empty: none
    failure: KubeError | None = None


class Events(Generic[T]):
    """Decodes lines with objects of one shape."""

    def __init__(self, shape: type[T]) -> None:
        event: Any = Event
        self._whole = msgspec.json.Decoder(event[shape])
        self._raw = msgspec.json.Decoder(event[msgspec.Raw])
        self._versioned = msgspec.json.Decoder(Versioned)
        self._status = msgspec.json.Decoder(Status)

    def decode(self, lines: list[bytes]) -> Batch[T]:
        """All lines, or those up to the server's ERROR."""
        batch: Batch[T] = Batch()
        for line in lines:
            try:
                event: Event[T] = self._whole.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                self._special(line, error, batch)
            else:
                if event.type in CHANGES:
                    batch.changes.append((event.type, event.object))
                    batch.version = event.object.metadata.resource_version or batch.version
                else:
                    self._special(line, None, batch)
            if batch.failure is not None:
                break
        return batch

    def _special(self, line: bytes, error: Exception | None, batch: Batch[T]) -> None:
        """A bookmark, an error, or an object that is not of the shape."""
        try:
            event: Event[msgspec.Raw] = self._raw.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as broken:
            batch.failure = Unavailable(f"a watch that cannot be read: {broken}")
            return
        if event.type == "ERROR":
            batch.failure = self._failure(event.object)
            return
        batch.version = self._version(event.object) or batch.version
        if event.type != "BOOKMARK":
            reason = error or ValueError(f"an event of the unknown type {event.type}")
            what = event.type if event.type in CHANGES else "MODIFIED"
            batch.changes.append(Unreadable(bytes(event.object), reason, what))

    def _failure(self, raw: msgspec.Raw) -> KubeError:
        try:
            return of_status("GET", self._status.decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Unavailable(f"an error that cannot be read: {error}")

    def _version(self, raw: msgspec.Raw) -> str:
        try:
            return self._versioned.decode(raw).metadata.resource_version
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
