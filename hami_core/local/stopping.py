"""Ending a pod from outside, and waiting for its end.

The hami that carries the pod out does it, asked by a note in the pod's folder (``pods``): so nothing is started again, its
place in the queue or its shares are given back, and its record tells the end. Where that hami was killed, or does not answer,
the processes are signalled from here, none that is not the holding's (``kin``).
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core.local import changes, holdings, kin, locks, pods, procfs

if TYPE_CHECKING:
    from hami_core.local.pods import Known, Record
    from hami_core.local.procfs import Identity
    from hami_core.local.state import Folder

RUNNING, ENDED = "running", "ended"
LOOK = 1.0  # seconds between looks for what the kernel does not tell: that a hami was killed
ANSWER = 2.0  # seconds that a hami may take on top of what it grants its containers
DYING = 5.0  # seconds that a killed process may take
POLL = 0.02


async def reached(folder: Folder, record: Record, what: str, seconds: float | None = None) -> Known | None:
    """The pod, once it is RUNNING or has ENDED; an end comes instead of either. None: neither came in so many seconds."""
    until = None if seconds is None else time.monotonic() + seconds
    with changes.watching() as watch:
        watch.add(folder.pods / record.uid, changes.MOVED_TO)
        watch.add(folder.holdings, changes.MOVED_FROM)
        for lock in (folder.holdings / record.uid).glob(f"*/{holdings.ALIVE}"):
            watch.add(lock, changes.CLOSED)
        while True:
            known = pods.now(folder, record)
            if not known.is_live or (what == RUNNING and known.phase != pods.WAITING):
                return known
            rest = LOOK if until is None else min(until - time.monotonic(), LOOK)
            if rest <= 0:
                return None
            await watch.changed(rest)


@frozen
class Stopped:
    """A pod as it was left. ``left``: its processes that live all the same."""

    known: Known
    left: tuple[int, ...] = ()


async def stop(folder: Folder, record: Record, grace: int | None = None) -> Stopped:
    """End the pod: SIGTERM, after ``grace`` seconds (None: as its manifest says) SIGKILL."""
    patience = record.grace if grace is None else grace
    pods.ask_to_stop(folder, record.uid, pods.StopRequest(grace))
    if procfs.is_running(record.owner):
        _awaken(record.owner)
        known = await _while_carried_out(folder, record, patience + DYING + ANSWER)
        if not known.is_live:
            return Stopped(known)
        patience = 0 if procfs.is_running(record.owner) else patience
    await _end(folder, record, patience)
    with locks.locked_if_free(folder.lock) as ours:  # not for the lock's sake: its holder may be one that a signal has stopped
        live = holdings.heal(folder) if ours else [found for found in holdings.find(folder) if holdings.is_live(found)]
    remains = next((found for found in live if found.uid == record.uid), None)
    return Stopped(pods.now(folder, record), kin.of(remains.path, record.owner).processes() if remains else ())


async def _while_carried_out(folder: Folder, record: Record, seconds: float) -> Known:
    """The pod when it has ended, when its hami was killed, or when the time is over."""
    until = time.monotonic() + seconds
    while True:
        known = await reached(folder, record, ENDED, min(LOOK, max(until - time.monotonic(), 0)))
        if known is not None:
            return known
        if time.monotonic() >= until or not procfs.is_running(record.owner):
            return pods.now(folder, record)


async def _end(folder: Folder, record: Record, grace: float) -> None:
    """Signal the pod's processes from here."""
    whose = kin.of(folder.holdings / record.uid, record.owner)
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, DYING)):
        until, signalled = time.monotonic() + seconds, set[int]()
        while (found := whose.processes()) and (time.monotonic() < until or not signalled):
            for pid in found:
                if number == signal.SIGKILL or pid not in signalled:
                    whose.signal(pid, number)
                signalled.add(pid)
            await asyncio.sleep(POLL)


def _awaken(owner: Identity) -> None:
    """A hami that was stopped, by Ctrl-Z perhaps, could not hear."""
    with kin.pinned(owner.pid) as send:
        found = procfs.stat(owner.pid)
        if found is not None and found.identity == owner and found.is_stopped:
            send(signal.SIGCONT)
