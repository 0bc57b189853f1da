"""All objects of a resource, in pages: bytes to lean objects, those that cannot be read beside them.

Pages and not a list by watch (``sendInitialEvents``): in front of a real API server both took the same time, and pages work
with every version. Python's garbage collector is left alone: the shapes are outside of its care, and with it switched off a
list of 50,000 pods took as long (0.7 s). Nothing is compressed on the way: that costs a server more than a network saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec
from attrs import frozen
from msgspec import Struct, field

from hami_core.kube.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Meta

PAGE: Final = 500  # objects: what kubectl asks for; the whole at once would be twice the memory
TIMEOUT: Final = 30.0  # seconds for one page


class Kept(Protocol):
    """What a lean shape must keep: an object's version travels in it."""

    metadata: Meta


T = TypeVar("T", bound=Kept)
Part = TypeVar("Part")


class ListMeta(Struct, gc=False, rename="camel"):
    """The version of a list, and where its next page begins."""

    resource_version: str = ""
    next: str = field(default="", name="continue")


class Page(Struct, Generic[Part]):
    """One answer to a list."""

    metadata: ListMeta
    items: list[Part] | None = None


@frozen
class Unreadable:
    """An object that is not of the shape that we expect, and why. ``event``: what happened to it, of a watch."""

    raw: bytes
    error: Exception
    event: str = "MODIFIED"


@frozen
class Listed(Generic[T]):
    """All there is at one version."""

    objects: list[T]
    version: str
    unreadable: Sequence[Unreadable] = ()


class Pages(Generic[T]):
    """Decodes pages of one shape."""

    def __init__(self, shape: type[T]) -> None:
        page: Any = Page
        self._whole = msgspec.json.Decoder(page[shape])
        self._parts = msgspec.json.Decoder(page[msgspec.Raw])
        self._one = msgspec.json.Decoder(shape)

    def decode(self, body: bytes, objects: list[T], unreadable: list[Unreadable]) -> ListMeta:
        """Append what is on a page. One bad object costs the others of its page a second look, and nothing else."""
        try:
            page: Page[T] = self._whole.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._singly(body, objects, unreadable)
        objects.extend(page.items or ())
        return page.metadata

    def _singly(self, body: bytes, objects: list[T], unreadable: list[Unreadable]) -> ListMeta:
        try:
            page: Page[msgspec.Raw] = self._parts.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"a list that cannot be read: {error}") from error
        for raw in page.items or ():
            try:
                objects.append(self._one.decode(raw))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                unreadable.append(Unreadable(bytes(raw), error))
        return page.metadata


def read_all(
    connection: Connection,
    path: str,
    shape: type[T],
    query: Mapping[str, str] | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Listed[T]:
    """Every object under ``path``, as the store has it now. ``timeout`` is for one page. Raises KubeError; Gone: begin anew."""
    pages, objects, unreadable = Pages(shape), list[T](), list[Unreadable]()
    asked = {**(query or {}), "limit": str(PAGE)}
    while True:
        meta = pages.decode(connection.request("GET", path, query=asked, timeout=timeout), objects, unreadable)
        if not meta.next:
            return Listed(objects, meta.resource_version, unreadable)
        asked["continue"] = meta.next
