"""What /proc says about processes: who one is beyond a number that the kernel uses again, and who is in its group.

Not here: starting, signalling or waiting for a process (``processes``). Source of the fields: proc_pid_stat(5).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")


@frozen
class Identity:
    """A process that cannot be taken for a later one of the same number."""

    pid: int
    start: int  # clock ticks from boot


@frozen
class Stat:
    """The fields of /proc/<pid>/stat that we read."""

    identity: Identity
    state: str
    group: int
    session: int

    @property
    def is_running(self) -> bool:
        """A zombie holds nothing any more, and where process 1 does not reap it stays for ever."""
        return self.state not in {"Z", "X"}


def stat(pid: int) -> Stat | None:
    """What /proc says about one process. None: there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold blanks and brackets
    return Stat(
        identity=Identity(pid, int(fields[19])),
        state=fields[0].decode(),
        group=int(fields[2]),
        session=int(fields[3]),
    )


def identity(pid: int) -> Identity:
    """Who a running process is. ProcessLookupError: there is none of this number."""
    found = stat(pid)
    if found is None:
        raise ProcessLookupError(pid)
    return found.identity


def is_running(process: Identity) -> bool:
    """Whether this very process still runs."""
    found = stat(process.pid)
    return found is not None and found.is_running and found.identity == process


def members(leader: Identity) -> tuple[int, ...]:
    """The running processes of the group or session that this process leads or led, in the order of their numbers.

    A number is not given away again while a group or session bears it, so if somebody else has it now, ours is gone.
    """
    now = stat(leader.pid)
    if now is not None and now.identity != leader:
        return ()
    return tuple(
        sorted(found.identity.pid for found in _all() if found.is_running and leader.pid in {found.group, found.session})
    )


def _all() -> Iterator[Stat]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := stat(int(entry.name))) is not None:
            yield found
