"""Where a container's output goes: straight to ours, or through a pipe, line by line, to ours and to a log file.

Straight through, a program keeps its terminal, and lives on if hami is killed. A pipe tells several containers apart and keeps
our standard output free for JSON; its programs get SIGPIPE if they write after hami was killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, frozen

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.state import Folder

STDOUT, STDERR = 1, 2
CHUNK = 65536  # bytes; the capacity of a pipe (pipe(7))
KEPT = 32  # logs of pods; older ones are removed when a new one is written


@frozen
class Output:
    """How the output of a command's containers is passed on."""

    to_stderr: bool = False  # all of it, because our standard output is taken
    interactive: bool = False  # the container gets our standard input and the terminal; else its input is empty


THROUGH = Output()
TO_STDERR = Output(to_stderr=True)
TERMINAL = Output(interactive=True)


@define
class Pipe:
    """One stream of one container on its way to us."""

    read: int
    target: int
    prefix: bytes
    log: int
    rest: bytes = b""

    def pump(self) -> bool:
        """Pass on what is there. False: nothing is there now, or ever again."""
        try:
            chunk = os.read(self.read, CHUNK)
        except BlockingIOError:
            return False
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        self._write(b"".join(self.prefix + line + b"\n" for line in lines), b"".join(line + b"\n" for line in lines))
        if not chunk:
            asyncio.get_running_loop().remove_reader(self.read)
        return bool(chunk)

    def finish(self) -> None:
        """Pass on what is left, also a last line without an end. Waits for nobody who holds the other end still."""
        while self.pump():
            pass
        if self.rest:
            self._write(self.prefix + self.rest + b"\n", self.rest)
        asyncio.get_running_loop().remove_reader(self.read)
        os.close(self.read)

    def _write(self, shown: bytes, logged: bytes) -> None:
        write_all(self.log, logged)
        with suppress(BrokenPipeError):  # our reader has gone; the log goes on
            write_all(self.target, shown)


@define
class Streams:
    """Standard output and error of one run of one container: descriptors for its process, and pipes to us if there are any."""

    stdout: int | None  # None: ours
    stderr: int | None
    pipes: tuple[Pipe, ...] = ()
    log: int | None = None

    def begin(self) -> None:
        """The process has its ends now: close ours of them, and listen."""
        self._close_theirs()
        loop = asyncio.get_running_loop()
        for pipe in self.pipes:
            loop.add_reader(pipe.read, pipe.pump)

    def _close_theirs(self) -> None:
        for descriptor in (self.stdout, self.stderr):
            if descriptor is not None:
                os.close(descriptor)
        self.stdout = self.stderr = None

    def finish(self) -> None:
        """The process is gone, or never came: pass on the rest and close."""
        self._close_theirs()
        for pipe in self.pipes:
            pipe.finish()
        if self.log is not None:
            os.close(self.log)


def through() -> Streams:
    """Ours."""
    return Streams(None, None)


def piped(log: Path, prefix: str, output: Output) -> Streams:
    """Two pipes to our streams, each line with the prefix, and both to the log file."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    logged = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    ends = [os.pipe(), os.pipe()]
    targets = (STDERR if output.to_stderr else STDOUT, STDERR)
    for read, _ in ends:
        os.set_blocking(read, False)
    pipes = tuple(Pipe(read, target, prefix.encode(), logged) for (read, _), target in zip(ends, targets, strict=True))
    return Streams(ends[0][1], ends[1][1], pipes, logged)


def write_all(descriptor: int, data: bytes) -> None:
    """All of it, however small the pieces are that the other side takes."""
    while data:
        data = data[os.write(descriptor, data) :]


def remove_old_logs(folder: Folder) -> None:
    """Remove the logs of all but the latest pods, and of those that hold something still."""
    paths = [path for path in folder.logs.iterdir() if not (folder.holdings / path.name).exists()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
