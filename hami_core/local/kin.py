"""Which processes are a holding's, and signalling them and nobody else.

A process is a holding's if it is in the group or session of a container whose first process still runs, or if it has a lock of
the holding open, or was started with the variable that names its limits. So a group's number alone, which may be another's
after its leader has gone, proves nothing. A process is pinned by a pidfd and then looked at again before it is signalled: its
number cannot become somebody else's in between. Source: pidfd_open(2).
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import frozen

from hami_core import names
from hami_core.local import holdings, procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hami_core.local.procfs import Identity


@frozen
class Kin:
    """How the processes of one holding are known."""

    groups: tuple[Identity, ...]  # the first process of each container
    locks: frozenset[str]
    variable: str  # what the variable of each begins with
    strangers: frozenset[int]  # its hami, which has the locks too, and we ourselves

    def processes(self) -> tuple[int, ...]:
        """Those that run now, as far as we may look into them."""
        everybody = procfs.everybody()
        found = (one.identity.pid for one in everybody if one.is_running and any(procfs.belongs(one, it) for it in self.groups))
        grouped = set(found)
        open_locks = {one.identity.pid for one in everybody if one.is_running and procfs.has_open(one.identity.pid, self.locks)}
        return tuple(sorted(pid for pid in (grouped | open_locks) - self.strangers if self.has(pid)))

    def has(self, pid: int) -> bool:
        """Whether this process is one of them, now."""
        found = procfs.stat(pid)
        if found is None or not found.is_running or pid in self.strangers:
            return False
        if any(procfs.belongs(found, leader) and procfs.is_running(leader) for leader in self.groups):
            return True
        return procfs.has_open(pid, self.locks) or any(one.startswith(self.variable) for one in procfs.environment(pid))

    def signal(self, pid: int, number: int) -> None:
        """Signal a process if it is one of them."""
        with pinned(pid) as send:
            if self.has(pid):
                send(number)
                send(signal.SIGCONT)  # a stopped process could not hear


def of(path: Path, owner: Identity) -> Kin:
    """The processes of the holding in this folder, which this hami carries out or did."""
    found = holdings.read(path)
    return Kin(
        groups=tuple(group.leader for group in found.record.groups) if found.record else (),
        locks=frozenset(os.path.realpath(lock) for lock in path.glob(f"*/{holdings.ALIVE}")),
        variable=f"{names.ENV_LIMITS}={path}/",
        strangers=frozenset({os.getpid(), *((owner.pid,) if procfs.is_running(owner) else ())}),
    )


@contextmanager
def pinned(pid: int) -> Iterator[Callable[[int], None]]:
    """Inside, the number is this process's or nobody's; what is given signals it, and nobody if it has gone or is not ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # it has gone; or a kernel before 5.3, where nobody is signalled rather than somebody else
        yield lambda _: None
        return

    def send(number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, number)

    try:
        yield send
    finally:
        os.close(descriptor)
