"""Who waits on this machine, in which order, and how a waiting pod notices that something changed.

One file for each waiting pod, named by its number; the one who waits holds its lock, so a killed one leaves the queue by dying.
A pod waits behind those before it that want a kind it wants too, even if it would fit itself: else a large request never would.
Deciding is not here (``admission``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import wire
from hami_core.errors import WireError
from hami_core.local import holdings, locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hami_core.local.state import Folder


@frozen
class Ticket:
    """What is written about a waiting pod."""

    uid: str
    name: str
    namespace: str
    kinds: tuple[str, ...]
    pid: int
    since: int  # seconds from 1970
    why: str


@frozen
class Waiting:
    """A ticket in its place. ``ticket`` None: it cannot be read; it is waited for all the same."""

    number: int
    ticket: Ticket | None

    def wants(self, kinds: Iterable[str]) -> bool:
        """Whether it waits for any of these kinds, as far as can be read."""
        return self.ticket is None or not set(self.ticket.kinds).isdisjoint(kinds)


@frozen
class Place:
    """One's own place in the queue."""

    path: Path
    number: int
    lock: int

    def leave(self) -> None:
        """Give up the place. Needs no lock."""
        self.path.unlink(missing_ok=True)
        os.close(self.lock)


def join(folder: Folder, ticket: Ticket) -> Place:
    """The last place of the queue. Under the machine's lock."""
    number = max((_number(path) for path in _files(folder)), default=0) + 1
    path = folder.queue / f"{number:09d}"
    lock = locks.take(path)
    assert lock is not None  # the number is new, and the machine's lock keeps others from making the same
    path.write_text(wire.encode(ticket), encoding="utf-8")
    return Place(path, number, lock)


def waiting(folder: Folder) -> tuple[Waiting, ...]:
    """Everybody who waits and lives, in order."""
    return tuple(_read(path) for path in _files(folder) if locks.is_held(path))


def heal(folder: Folder) -> tuple[Waiting, ...]:
    """Remove the tickets of the dead, and return the others in order. Under the machine's lock."""
    for path in _files(folder):
        if not locks.is_held(path):
            path.unlink(missing_ok=True)
    return waiting(folder)


def ahead(queue: Sequence[Waiting], own: Place | None, kinds: Iterable[str]) -> Waiting | None:
    """The nearest of those who come first and want one of the kinds. Without a place of one's own, everybody comes first."""
    wanted = set(kinds)
    first = [other for other in queue if (own is None or other.number < own.number) and other.wants(wanted)]
    return first[-1] if first else None


def signature(folder: Folder) -> tuple[object, ...]:
    """A value that changes when anybody joins, leaves, takes, gives back or dies. Costs some system calls, and no lock."""
    tickets = tuple(locks.is_held(path) for path in _files(folder))
    held = frozenset((path.name, holdings.has_lock(path)) for path in folder.holdings.iterdir())
    return folder.queue.stat().st_mtime_ns, tickets, held


def _files(folder: Folder) -> list[Path]:
    return sorted(path for path in folder.queue.iterdir() if path.name.isdigit())


def _number(path: Path) -> int:
    return int(path.name)


def _read(path: Path) -> Waiting:
    try:
        return Waiting(_number(path), wire.decode(Ticket, path.read_bytes(), f"ticket {path}"))
    except (WireError, OSError):
        return Waiting(_number(path), None)
