"""Who holds what on this machine: one folder for each pod, from its grant until the last of its processes is gone.

    holdings/<uid>/
      holding.json             the Record below
      <container>/limits       what the container's processes are told; the interposer makes its region beside it
      <container>/alive        its lock is held by hami and by every process of the container, which inherit it

A holding lives while one of its locks is held, or while a recorded process group has a running member (a program may close
every descriptor that it inherits). So it outlives a killed ``hami``, and ends with its workload without anybody's help.
A record that cannot be read is no reason to take anything for free: the limits files say the shares too. Deciding is not here
(``admission``).
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from hami_core import names, wire
from hami_core.errors import WireError
from hami_core.local import locks, procfs
from hami_core.local.procfs import Identity
from hami_core.model import Holding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hami_core.local.state import Folder

RECORD = "holding.json"
ALIVE = "alive"
_NEW, _GONE = ".new-", ".gone-"  # a folder on its way in or out; only its maker, under the machine's lock, may see one


@frozen
class Group:
    """The process group of a container: the number of its first process, which may be gone by now."""

    container: str
    leader: Identity


@frozen
class Record:
    """What is written about a holding."""

    holding: Holding
    owner: Identity  # the hami process that carries it out
    since: int  # seconds from 1970
    groups: tuple[Group, ...] = ()


@frozen
class Found:
    """A holding as another process finds it.

    ``record`` None: it cannot be read, ``fault`` says why in one sentence, and ``holding`` is what the limits files tell. That
    None too: nobody knows what is held, so nothing may be granted while it lives.
    """

    path: Path
    record: Record | None
    holding: Holding | None
    fault: str = ""

    @property
    def uid(self) -> str:
        """Whose holding it is."""
        return self.path.name


@define
class Lease:
    """A holding in the hands of its owner."""

    path: Path
    record: Record
    locks: dict[str, int] = field(factory=dict)  # container -> descriptor of its lock, to be inherited by its processes

    def limits(self, container: str) -> Path:
        """The container's limits file."""
        return self.path / container / names.LIMITS_FILE

    def add_group(self, container: str, leader: Identity) -> None:
        """Write down the process group of a container's run, in place of the last. Until then its lock speaks for it."""
        others = tuple(group for group in self.record.groups if group.container != container)
        self.record = evolve(self.record, groups=(*others, Group(container, leader)))
        _write(self.path / RECORD, wire.encode(self.record))

    def close(self) -> None:
        """Let go of the locks; the container's processes may hold them still."""
        while self.locks:
            os.close(self.locks.popitem()[1])


def create(folder: Folder, record: Record, limits: Mapping[str, str]) -> Lease:
    """Write a new holding, one limits text for each container. Under the machine's lock."""
    made = folder.holdings / f"{_NEW}{record.holding.uid}"
    lease = Lease(folder.holdings / record.holding.uid, record)
    try:
        for container, text in limits.items():
            (made / container).mkdir(parents=True)
            _write(made / container / names.LIMITS_FILE, text)
            descriptor = locks.take(made / container / ALIVE)
            assert descriptor is not None  # nobody else has seen the file yet
            lease.locks[container] = descriptor
        _write(made / RECORD, wire.encode(record))
        made.rename(lease.path)
    except BaseException:
        lease.close()
        shutil.rmtree(made, ignore_errors=True)
        raise
    return lease


def finish(lease: Lease) -> bool:
    """End a holding, and say whether it is gone: a process that left its group keeps it. Under the machine's lock."""
    lease.close()
    if is_live(Found(lease.path, lease.record, lease.record.holding)):
        return False
    _remove(lease.path)
    return True


def find(folder: Folder) -> tuple[Found, ...]:
    """Every holding there is, live or not, in the order of their uids. Needs no lock: records are replaced as a whole."""
    paths = sorted(path for path in folder.holdings.iterdir() if not path.name.startswith("."))
    found = [read(path) for path in paths]
    return tuple(one for one in found if one.holding or one.path.exists())  # one may have ended while we read


def heal(folder: Folder) -> tuple[Found, ...]:
    """Remove the holdings that nobody lives in any more, and return the live ones. Under the machine's lock."""
    for path in [*folder.holdings.glob(f"{_NEW}*"), *folder.holdings.glob(f"{_GONE}*")]:
        shutil.rmtree(path, ignore_errors=True)
    live = []
    for found in find(folder):
        if is_live(found):
            live.append(found)
        else:
            _remove(found.path)
    return tuple(live)


def is_live(found: Found) -> bool:
    """Whether anybody may still use what is held."""
    groups = found.record.groups if found.record else ()
    return has_lock(found.path) or any(procfs.members(group.leader) for group in groups)


def has_lock(path: Path) -> bool:
    """The cheaper half of ``is_live`` for a holding's folder, for looking often."""
    try:
        return any(locks.is_held(entry / ALIVE) for entry in list(path.iterdir()))
    except FileNotFoundError:  # it ended while we looked
        return False


def lock_files(folder: Folder) -> tuple[Path, ...]:
    """The files whose locks tell that somebody lives in a holding."""
    return tuple(folder.holdings.glob(f"*/*/{ALIVE}"))


def read(path: Path) -> Found:
    """The holding in this folder, as far as it can be read."""
    what = f"holding {path}"
    try:
        record = wire.decode(Record, (path / RECORD).read_bytes(), what)
    except (WireError, OSError) as error:
        why = str(error) if isinstance(error, WireError) else f"{what}: {error.strerror}"
        return _salvaged(path, why)
    return Found(path, record, record.holding)


def _salvaged(path: Path, why: str) -> Found:
    """A holding without its record: the limits files name the shares in the core's own words."""
    try:
        limits = sorted(path.glob(f"*/{names.LIMITS_FILE}"))
        found = [wire.shares(text.read_text(encoding="utf-8"), text.parent.name, str(text)) for text in limits]
    except (WireError, OSError, UnicodeDecodeError):
        return Found(path, None, None, f"{why}; until its processes have ended, nothing is granted on this machine")
    shares = tuple(share for container in found for share in container)
    holding = Holding(path.name, f"pod {path.name[:8]}", "", shares)
    return Found(path, None, holding, f"{why}; its shares are counted as its limits files tell them")


def _write(path: Path, text: str) -> None:
    """As a whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _remove(path: Path) -> None:
    gone = path.with_name(f"{_GONE}{path.name}")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
