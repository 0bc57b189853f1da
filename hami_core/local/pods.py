"""What became of every pod that was asked for here: one folder each, kept until some time after its end.

    pods/<uid>/
      pod.json                 the Record below, replaced as a whole by the one hami that carries the pod out
      stop                     somebody asks it to end, and how (``StopRequest``); written by anybody
      told                     what hami says of a detached pod
      <container>.log ...      what its containers wrote (``logs``)

Who holds what is not here (``holdings``), nor who waits (``queue``): a record is for people and for those who wait for an end,
and nothing is granted or given back because of it. So it may be lost, or a killed hami may have left it as it was.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from hami_core import wire
from hami_core.errors import WireError
from hami_core.local import holdings, procfs, queue
from hami_core.local.procfs import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.holdings import Found
    from hami_core.local.state import Folder

RECORD, STOP, TOLD = "pod.json", "stop", "told"
_NEW = ".new-"  # a folder on its way in; only its maker looks at it
_UNFINISHED = 60  # seconds after which a folder on its way in has lost its maker
KEPT = 32  # pods that have ended; those that ended earlier are forgotten when a new one is asked for

WAITING, RUNNING, ORPHANED, ENDED, LOST = "waiting", "running", "orphaned", "ended", "lost"
LIVE = (WAITING, RUNNING, ORPHANED)


@frozen
class End:
    """How a pod ended."""

    status: int
    reason: str
    at: int  # seconds from 1970


@frozen
class Record:
    """What is written about a pod."""

    uid: str
    name: str
    namespace: str
    containers: tuple[str, ...]
    owner: Identity  # the hami that carries it out
    since: int  # seconds from 1970
    grace: int = 0  # seconds between SIGTERM and SIGKILL, as its manifest says
    kept: bool = False  # whether what its containers write is kept
    started: bool = False  # whether a container of it has been
    end: End | None = None


@frozen
class StopRequest:
    """How a pod is asked to end. ``grace``: seconds between SIGTERM and SIGKILL; None: as its manifest says."""

    grace: int | None = None


@frozen
class Known:
    """A pod as another process finds it. ``phase`` is one of WAITING ... LOST, see ``phase``."""

    record: Record
    phase: str

    @property
    def is_live(self) -> bool:
        """Whether it waits, or anything of it may still run."""
        return self.phase in LIVE


@define
class Writer:
    """A pod's record in the hands of its owner."""

    path: Path
    record: Record
    stop: Path = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stop = self.path / STOP

    def start(self) -> None:
        """Write down that it runs, the first time."""
        if not self.record.started:
            self._write(evolve(self.record, started=True))

    def finish(self, end: End) -> None:
        """Write down how it ended."""
        self._write(evolve(self.record, end=end))

    def _write(self, record: Record) -> None:
        self.record = record
        _put(self.path / RECORD, wire.encode(record))


def create(folder: Folder, record: Record) -> Writer:
    """Write down a new pod, and forget those that ended long ago."""
    _forget(folder)
    path, made = folder.pods / record.uid, folder.pods / f"{_NEW}{record.uid}"
    made.mkdir(mode=0o700)
    _put(made / RECORD, wire.encode(record))
    made.rename(path)
    return Writer(path, record)


def known(folder: Folder) -> tuple[Known, ...]:
    """Every pod that is remembered, in the order in which they were asked for."""
    held = {found.uid: found for found in holdings.find(folder)}
    waits = {one.ticket.uid for one in queue.waiting(folder) if one.ticket}
    records = {record.uid: record for path in _folders(folder) if (record := read(path)) is not None}
    records |= {uid: _of_holding(found) for uid, found in held.items() if uid not in records}
    found = [Known(record, phase(record, held.get(record.uid), record.uid in waits)) for record in records.values()]
    return tuple(sorted(found, key=lambda one: (one.record.since, one.record.uid)))


def now(folder: Folder, record: Record) -> Known:
    """The same pod, as it is now."""
    path = folder.holdings / record.uid
    found = holdings.read(path) if path.exists() else None
    fresh = read(folder.pods / record.uid) or record
    return Known(fresh, phase(fresh, found, waits=False))


def phase(record: Record, found: Found | None, waits: bool) -> str:
    """Where a pod is in its life. A killed hami writes no end: then its processes speak, as long as there are any."""
    if record.end is not None:
        return ENDED
    running = procfs.is_running(record.owner)
    if waits or (running and not record.started):
        return WAITING
    if running:
        return RUNNING
    return ORPHANED if found is not None and holdings.is_live(found) else LOST


def read(path: Path) -> Record | None:
    """The record in a pod's folder. None: there is none that can be read."""
    try:
        return wire.decode(Record, (path / RECORD).read_bytes(), f"pod {path}")
    except (WireError, OSError):
        return None


def ask_to_stop(folder: Folder, uid: str, request: StopRequest) -> None:
    """Leave a note for the hami that carries the pod out."""
    path = folder.pods / uid
    path.mkdir(mode=0o700, exist_ok=True)
    _put(path / STOP, wire.encode(request))


def stop_request(path: Path) -> StopRequest | None:
    """How the pod whose note this is was asked to end. None: it was not. One that cannot be read asks all the same."""
    try:
        return wire.decode(StopRequest, path.read_bytes(), f"request {path}")
    except WireError:
        return StopRequest()
    except OSError:
        return None


def _of_holding(found: Found) -> Record:
    """For a holding whose pod has no record: as much as the holding tells."""
    holding, record = found.holding, found.record
    containers = sorted(entry.name for entry in found.path.iterdir() if entry.is_dir()) if found.path.exists() else ()
    return Record(
        uid=found.uid,
        name=holding.name if holding else f"pod {found.uid[:8]}",
        namespace=holding.namespace if holding else "",
        containers=tuple(containers),
        owner=record.owner if record else Identity(0, 0),
        since=record.since if record else 0,
        started=True,
    )


def _forget(folder: Folder) -> None:
    for path in folder.pods.glob(f"{_NEW}*"):
        if time.time() - path.stat().st_mtime > _UNFINISHED:
            shutil.rmtree(path, ignore_errors=True)
    over: list[tuple[int, str, Path]] = []
    for path in _folders(folder):
        record = read(path)
        if (folder.holdings / path.name).exists() or (record and not record.end and procfs.is_running(record.owner)):
            continue
        over.append((record.end.at if record and record.end else 0, path.name, path))
    for _, _, path in sorted(over)[: max(len(over) - KEPT + 1, 0)]:
        shutil.rmtree(path, ignore_errors=True)


def _folders(folder: Folder) -> list[Path]:
    return [path for path in folder.pods.iterdir() if not path.name.startswith(".")]


def _put(path: Path, text: str) -> None:
    """As a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
