"""Locks that the kernel gives back when their holder dies, however it dies: flock on small files.

A lock belongs to the open file, not to the process: who inherits the descriptor holds the lock too. So one lock can mean
"somebody of this family lives" without a process number, a start time or a heartbeat. Source: flock(2).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

RETRY = 0.01  # seconds; a decision holds the machine's lock for a few milliseconds


def take(path: Path) -> int | None:
    """A descriptor that holds the file's lock until it and all its heirs are closed. None: somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Whether somebody holds the file's lock. No file, no lock. Asking disturbs no other asker: the try is a shared one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the file's lock inside. Tries again and again rather than block, so that a signal still finds us listening."""
    import asyncio  # 25 ms, which whoever only looks is spared

    while (descriptor := take(path)) is None:
        await asyncio.sleep(RETRY)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the file's lock inside if nobody else does, and say whether."""
    descriptor = take(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)
