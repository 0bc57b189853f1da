"""Where chunks and lines end, in bytes that arrive in pieces of any size. Pure; nothing here reads from anywhere.

Both take what has arrived and give what is complete. A piece is copied once, however many pieces a line is made of.
"""

from __future__ import annotations

END = b"\r\n"
SIZE_LINE = 4096  # bytes that the line with a chunk's size may have, its extensions included
LINE = 64 << 20  # bytes of one line; etcd keeps no object of more than a few MiB


class Chunks:
    """The payload of HTTP's chunked coding (RFC 9112, 7.1). ``finished``: the last chunk was seen; trailers stay unread."""

    def __init__(self) -> None:
        self.finished = False
        self._left = 0  # bytes of the present chunk that are still to come
        self._skip = 0  # bytes of the end of line behind it
        self._rest = b""  # a size line's beginning

    def feed(self, data: bytes) -> bytes:
        """The payload in what has arrived. ValueError: this is no chunked coding."""
        data, self._rest = self._rest + data, b""
        payload: list[bytes] = []
        at = 0
        while at < len(data) and not self.finished:
            if self._left:
                at = self._take(data, at, payload)
            elif self._skip:
                at = self._end(data, at)
            else:
                at = self._size(data, at)
        return b"".join(payload)

    def _take(self, data: bytes, at: int, payload: list[bytes]) -> int:
        piece = data[at : at + self._left]
        payload.append(piece)
        self._left -= len(piece)
        self._skip = 0 if self._left else len(END)
        return at + len(piece)

    def _end(self, data: bytes, at: int) -> int:
        part = data[at : at + self._skip]
        if not END[-self._skip :].startswith(part):
            raise ValueError("no end of line behind a chunk")
        self._skip -= len(part)
        return at + len(part)

    def _size(self, data: bytes, at: int) -> int:
        end = data.find(END, at)
        if end < 0:
            self._rest = data[at:]
            if len(self._rest) > SIZE_LINE:
                raise ValueError("a chunk without a size")
            return len(data)
        self._left = int(data[at:end].partition(b";")[0], 16)
        if self._left < 0:
            raise ValueError("a chunk of a negative size")
        self.finished = self._left == 0
        return end + len(END)


class Counted:
    """A payload of known length."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def finished(self) -> bool:
        """Whether all of it has come."""
        return self._left == 0

    def feed(self, data: bytes) -> bytes:
        """The payload in what has arrived."""
        payload = data[: self._left]
        self._left -= len(payload)
        return payload


class Lines:
    """Lines of a stream, without their ends."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now; an empty line is none. ValueError: a line without end."""
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        if not others:
            self._size += len(first)
            if self._size > LINE:
                raise ValueError(f"a line of more than {LINE} bytes")
            return []
        lines = [b"".join(self._pieces), *others[:-1]]
        self._pieces, self._size = [others[-1]], len(others[-1])
        return [line for line in lines if line]

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return any(self._pieces)
