"""What /proc says about processes: who one is beyond a number that the kernel uses again, and who is in its group.

Not here: starting, signalling or waiting for a process (``processes``). Source of the fields: proc_pid_stat(5).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

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
    def is_stopped(self) -> bool:
        """By a signal (SIGSTOP, Ctrl-Z) or a debugger, until it is told to go on."""
        return self.state in {"T", "t"}

    @property
    def is_running(self) -> bool:
        """A zombie holds nothing any more, and where process 1 does not reap it stays for ever."""
        return self.state not in {"Z", "X"}


def stat(pid: int) -> Stat | None:
    """What /proc says about one process. None: there is no such process."""
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:  # noqa: PTH123  # read for every process that there is
            text = file.read()
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


def members(leader: Identity, among: Sequence[Stat] | None = None) -> tuple[int, ...]:
    """The running processes of the group or session that this process leads or led, in the order of their numbers.

    A number is not given away again while a group or session bears it, so if somebody else has it now, ours is gone.
    ``among``: everybody, as ``everybody`` has seen them, for who asks about many.
    """
    now = stat(leader.pid)
    if now is not None and now.identity != leader:
        return ()
    seen = everybody() if among is None else among
    return tuple(sorted(found.identity.pid for found in seen if found.is_running and belongs(found, leader)))


def belongs(found: Stat, leader: Identity) -> bool:
    """Whether a process is of the group or session that this number bears."""
    return leader.pid in {found.group, found.session}


def everybody() -> tuple[Stat, ...]:
    """Every process that there is, as it was when it was looked at."""
    with os.scandir(PROC) as entries:
        numbers = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return tuple(found for number in numbers if (found := stat(number)) is not None)


def command(pid: int) -> str:
    """The words of its command line with blanks between them; a kernel's thread or a zombie has none."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def environment(pid: int) -> tuple[str, ...]:
    """The variables that it was started with, as far as we may look into it."""
    try:
        return tuple((PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0"))
    except OSError:
        return ()


def has_open(pid: int, files: Container[str]) -> bool:
    """Whether it has one of these files open, as far as we may look into it. ``files``: real paths."""
    folder = f"{PROC}/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  # no Path for each of thousands
            with suppress(OSError):
                if os.readlink(f"{folder}/{name}") in files:  # noqa: PTH115
                    return True
    return False
