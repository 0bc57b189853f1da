"""Being told by the kernel that a file or folder has changed, instead of looking again and again: inotify.

It also tells of deaths: the last descriptor of a file that was open for writing is closed, and that is an event, also when the
process that held it was killed. The event comes a moment before the file's lock is free, so whoever finds it held still
looks once more soon. Where the kernel has no instance left for us, ``fd`` is None and one has to look again and again after
all. Source: inotify(7).
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTRIBUTES, CLOSED, MOVED_FROM, MOVED_TO, CREATED, DELETED, MODIFIED = 0x4, 0x8, 0x40, 0x80, 0x100, 0x200, 0x2
LET_GO = CLOSED | ATTRIBUTES  # of a file whose lock is waited for: its last holder has gone, or it was removed
ENTRIES = MOVED_FROM | MOVED_TO | CREATED | DELETED  # of a folder
BUFFER = 65536


@define(eq=False)
class Watch:
    """What is watched, and one descriptor that is readable when any of it has changed. Close it."""

    fd: int | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        fd = int(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self.fd = fd if fd >= 0 else None

    def add(self, path: Path, mask: int) -> None:
        """Watch a file or folder too; one that is not there any more is nothing to watch."""
        if self.fd is not None:
            _libc().inotify_add_watch(self.fd, os.fsencode(path), mask)

    def drain(self) -> bool:
        """Forget what has been told so far, and say whether it was anything."""
        told = False
        if self.fd is not None:
            with suppress(BlockingIOError):
                while os.read(self.fd, BUFFER):
                    told = True
        return told

    async def changed(self, seconds: float) -> bool:
        """Return when anything has changed since the last ``drain``, or after so long, and say which."""
        import asyncio  # 25 ms, which whoever only looks is spared

        if self.fd is None:
            await asyncio.sleep(seconds)
            return False
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_reader(self.fd, told.set)
        try:
            async with asyncio.timeout(seconds):
                await told.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self.fd)
        return self.drain()

    def close(self) -> None:
        """Watch nothing any more."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


@contextmanager
def watching() -> Iterator[Watch]:
    """A watch that is closed in the end."""
    watch = Watch()
    try:
        yield watch
    finally:
        watch.close()


@cache
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)
