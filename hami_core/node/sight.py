"""Files that others make, replace and remove: looked at several times a second, for all who wait, on any file system."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Identity = tuple[int, int, int]


def identity(path: Path) -> Identity | None:
    """What tells the file of that path from one that takes its place; numbers are used again, so its time too. None: gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


class Sight:
    """One look at a time for everybody: what it costs does not grow with those who wait."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Event, Callable[[], bool]] = {}

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            for event, is_so in self._waiting.items():
                if is_so():
                    event.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until that is so: it may be so already, or is seen with one of the looks."""
        if is_so():
            return
        event = asyncio.Event()
        self._waiting[event] = is_so
        try:
            await event.wait()
        finally:
            del self._waiting[event]
