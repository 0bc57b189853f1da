"""One process at a time, where several may want to make the same thing in the cache."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def alone(lock: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file; ``waits`` is called once if somebody else does. The kernel lets go of it with its holder."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            waits()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
