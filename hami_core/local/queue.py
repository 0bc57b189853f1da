"""Who waits on this machine, in which order, and how a waiting pod notices that its turn may have come.

Two files for each waiting pod, named by its number: one whose lock the waiter holds, so that a killed one leaves the queue by
dying, and the ticket itself, which is replaced as a whole when the reason changes.

First come, first served: a pod waits behind those before it that want a kind it wants too, even if it would fit itself. Nobody
is overtaken: how long a pod will run is not known, so any backfill could delay the one that it passes. Pods that want no kind
in common do not wait for one another. All that a pod asks is granted at once, so nobody holds one thing while he waits for
another, and every pod has finitely many before it: none starves.

Nobody polls. Who stands behind another watches that one's file alone; only the first of a kind watches the holdings. So a
share that is given back wakes one waiter, not all of them. One that a signal has stopped is passed over until it goes on; the
kernel does not tell of that, so those behind look for it now and then. Deciding is not here (``admission``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from hami_core import wire
from hami_core.errors import WireError
from hami_core.local import changes, holdings, locks, procfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hami_core.local.changes import Watch
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
    why: str  # now


@frozen
class Waiting:
    """A ticket in its place. ``ticket`` None: it cannot be read; it is waited for all the same."""

    number: int
    ticket: Ticket | None
    path: Path = field(eq=False)

    def wants(self, kinds: Iterable[str]) -> bool:
        """Whether it waits for any of these kinds, as far as can be read."""
        return self.ticket is None or not set(self.ticket.kinds).isdisjoint(kinds)


@frozen
class Place:
    """One's own place in the queue."""

    path: Path
    number: int
    lock: int
    ticket: Ticket

    def explain(self, why: str) -> Place:
        """Write down why it waits now."""
        told = evolve(self, ticket=evolve(self.ticket, why=why))
        _write(self.path, told.ticket)
        return told

    def leave(self) -> None:
        """Give up the place. Needs no lock."""
        _remove(self.path)
        os.close(self.lock)


def join(folder: Folder, ticket: Ticket) -> Place:
    """The last place of the queue. Under the machine's lock."""
    number = max((_number(path) for path in _files(folder)), default=0) + 1
    path = folder.queue / f"{number:09d}"
    _write(path, ticket)  # before its lock is there: whoever sees the place can read who has it
    lock = locks.take(path)
    assert lock is not None  # the number is new, and the machine's lock keeps others from making the same
    return Place(path, number, lock, ticket)


def waiting(folder: Folder) -> tuple[Waiting, ...]:
    """Everybody who waits and lives, in order."""
    return tuple(_read(path) for path in _files(folder) if locks.is_held(path))


def heal(folder: Folder) -> tuple[Waiting, ...]:
    """Remove the tickets of the dead, and return the others in order. Under the machine's lock."""
    for path in _files(folder):
        if not locks.is_held(path):
            _remove(path)
    for record in folder.queue.glob("*.json"):  # of somebody who was killed between the two files
        if not record.with_suffix("").exists():
            record.unlink(missing_ok=True)
    return waiting(folder)


def ahead(queue: Sequence[Waiting], own: Place | None, kinds: Iterable[str]) -> Waiting | None:
    """The nearest of those who come first and want one of the kinds. Without a place of one's own, everybody comes first."""
    wanted = set(kinds)
    first = [other for other in queue if (own is None or other.number < own.number) and other.wants(wanted)]
    return first[-1] if first else None


def awake(queue: Sequence[Waiting]) -> tuple[Waiting, ...]:
    """Those who could take their turn: one that a signal has stopped (Ctrl-Z) would keep everybody behind it for ever."""
    return tuple(one for one in queue if not (one.ticket and (found := procfs.stat(one.ticket.pid)) and found.is_stopped))


def position(queue: Sequence[Waiting], one: Waiting) -> int:
    """Its place among those who want a kind that it wants, from 1: so many ends of others, and one, it waits for."""
    kinds = one.ticket.kinds if one.ticket else ()
    return 1 + sum(other.number < one.number and (not one.ticket or other.wants(kinds)) for other in queue)


def watch(folder: Folder, first: Waiting | None, watch: Watch) -> None:
    """Watch for what may bring the turn of somebody who stands behind ``first``; None: of the first himself."""
    if first is not None:
        watch.add(first.path, changes.LET_GO)
        return
    watch.add(folder.holdings, changes.MOVED_FROM | changes.MOVED_TO)
    for lock in holdings.lock_files(folder):
        watch.add(lock, changes.CLOSED)


def _files(folder: Folder) -> list[Path]:
    return sorted(path for path in folder.queue.iterdir() if path.name.isdigit())


def _number(path: Path) -> int:
    return int(path.name)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read(path: Path) -> Waiting:
    record = _record(path)
    try:
        return Waiting(_number(path), wire.decode(Ticket, record.read_bytes(), f"ticket {record}"), path)
    except (WireError, OSError):
        return Waiting(_number(path), None, path)


def _write(path: Path, ticket: Ticket) -> None:
    """As a whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(wire.encode(ticket), encoding="utf-8")
    draft.replace(_record(path))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _record(path).unlink(missing_ok=True)
