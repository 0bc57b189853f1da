"""Children born into another PID namespace: a new one, or that of a process. For the thread that starts programs, and no other.

Linux keeps the namespace that a thread's children are born into apart from the one that it is in itself. So a child has no
process between it and us, and its pid here is the one that it is waited for and signalled by.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hami_core.errors import HamiError

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWPID = 0x20000000
NEW = 0  # no process has this pid: a namespace of the child's own, whose process 1 it is


@contextmanager
def children_in(of: int | None) -> Iterator[None]:
    """What this thread starts meanwhile is in the namespace of the process with this pid. None: in ours."""
    if of is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        if of == NEW:
            _must(libc.unshare(CLONE_NEWPID), "a PID namespace")
        else:
            theirs = os.open(f"/proc/{of}/ns/pid", os.O_RDONLY)
            try:
                _must(libc.setns(theirs, CLONE_NEWPID), f"the PID namespace of process {of}")
            finally:
                os.close(theirs)
        yield
    finally:
        libc.setns(ours, CLONE_NEWPID)
        os.close(ours)


def _must(status: int, what: str) -> None:
    if status != 0:
        raise HamiError(f"{what}: {os.strerror(ctypes.get_errno())}")
