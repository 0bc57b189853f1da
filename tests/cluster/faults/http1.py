"""HTTP/1.1 as far as a proxy needs it: heads, and bodies in the pieces in which they came. Nothing here decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncIterator

LARGEST_PIECE = 64 * 1024


@frozen
class Head:
    """The start line and the fields of a request or an answer, and their bytes as they came."""

    raw: bytes
    start: tuple[str, str, str]  # method, target, version; or version, status, reason
    fields: tuple[tuple[str, str], ...]

    def field(self, name: str) -> str:
        """The value of a field, in lower case; empty if there is none."""
        return next((value for key, value in self.fields if key == name), "")

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start[1])


async def read_head(reader: StreamReader) -> Head:
    """The next head. asyncio.IncompleteReadError: the other side has closed."""
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *rest = raw.decode("latin-1").split("\r\n")
    words = [*first.split(" ", 2), "", ""]
    fields = (line.partition(":") for line in rest if line)
    return Head(raw, (words[0], words[1], words[2]), tuple((key.lower(), value.strip().lower()) for key, _, value in fields))


async def body(reader: StreamReader, head: Head, *, empty: bool = False) -> AsyncIterator[bytes]:
    """The bytes that follow a head, framing included, as they come. ``empty``: there are none, whatever the fields say."""
    if empty:
        return
    if head.field("transfer-encoding") == "chunked":
        async for piece in _chunks(reader):
            yield piece
    else:
        async for piece in _counted(reader, int(head.field("content-length") or "0")):
            yield piece


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.split(b";")[0], 16)
        yield size + await reader.readexactly(length + 2)
        if not length:
            return


async def _counted(reader: StreamReader, left: int) -> AsyncIterator[bytes]:
    while left:
        piece = await reader.readexactly(min(left, LARGEST_PIECE))
        left -= len(piece)
        yield piece


def has_no_body(method: str, answer: Head) -> bool:
    """Whether an answer ends with its head."""
    return method == "HEAD" or answer.status in {204, 304}


def answer(status: int, reason: str, document: bytes, extra: str = "") -> bytes:
    """A whole answer in JSON. ``extra``: further fields, each closed by CRLF."""
    fields = f"content-type: application/json\r\ncontent-length: {len(document)}\r\n{extra}"
    return f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n".encode() + document
