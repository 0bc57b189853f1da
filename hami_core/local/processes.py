"""A container as a process group of this host: start it, wait for it, signal it. Knows no pod and no restart policy.

It ends with its first process: what is left of its group and session is killed, as in a container whose process 1 has ended.
What has left both (a daemon) is left alone, and its inherited lock keeps the holding (``holdings``).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from hami_core.errors import UserError
from hami_core.local import procfs
from hami_core.local.events import BY_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.local.output import Streams
    from hami_core.local.procfs import Identity

POLL = 0.05  # seconds; only on kernels before 5.3, which have no pidfd
DYING = 5.0  # seconds that a killed process may take; one that hangs in a driver takes for ever, and keeps the holding


@define(eq=False)
class Running:
    """A started container, until ``wait`` has returned."""

    process: subprocess.Popen[bytes]
    leader: Identity

    async def wait(self) -> int:
        """The exit status, once the first process has ended; the rest of its group and session is gone by then."""
        await _ended(self.process.pid)
        await self._end_rest()  # before the first is reaped: until then its number is nobody else's
        code = self.process.wait()
        return code if code >= 0 else BY_SIGNAL - code

    async def _end_rest(self) -> None:
        until = time.monotonic() + DYING
        while (rest := procfs.members(self.leader)) and time.monotonic() < until:
            for pid in rest:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(POLL / 10)

    def signal(self, number: int) -> None:
        """Signal the whole group."""
        with suppress(ProcessLookupError, PermissionError):  # gone, or all that is left runs as another user
            os.killpg(self.process.pid, number)

    async def stop(self, number: int, grace: float) -> int:
        """Ask it to end by this signal, make it end after ``grace`` seconds, and return the exit status."""
        self.signal(number)
        self.signal(signal.SIGCONT)  # a stopped process could not hear
        waiting = asyncio.ensure_future(self.wait())
        done, _ = await asyncio.wait({waiting}, timeout=grace)
        if not done:
            self.signal(signal.SIGKILL)
        return await waiting


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    folder: str,
    streams: Streams,
    inherited: int,
    interactive: bool = False,
) -> Running:
    """Start a program in a group of its own. ``inherited``: a descriptor that all its descendants hold (see ``holdings``).

    Interactive, it stays in our session, so that the terminal can be handed to it (``terminal``); else it has no terminal.
    OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(argv),
        env=dict(env),
        cwd=folder or None,
        stdin=None if interactive else subprocess.DEVNULL,
        stdout=streams.stdout,
        stderr=streams.stderr,
        pass_fds=(inherited,),
        start_new_session=not interactive,
        process_group=0 if interactive else None,
    )
    return Running(process, procfs.identity(process.pid))


def check(argv: Sequence[str], env: Mapping[str, str], folder: str, where: str) -> None:
    """Say before anything is granted that a program or its folder is not there. UserError, in one sentence."""
    if folder and not Path(folder).is_dir():
        raise UserError(f"{where}: workingDir {folder}: there is no such folder on this host")
    program = os.path.join(folder or os.curdir, argv[0]) if "/" in argv[0] else argv[0]  # noqa: PTH118  # a Path drops "./"
    if shutil.which(program, path=env.get("PATH", os.defpath)) is None:
        raise UserError(f"{where}: command {argv[0]}: there is no such program on this host (images are not used here)")


async def _ended(pid: int) -> None:
    """Return when a child of ours has ended. It is not reaped yet."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            await asyncio.sleep(POLL)
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(ended: asyncio.Future[None]) -> None:
    """A pidfd stays readable, so this may be called again."""
    if not ended.done():
        ended.set_result(None)
