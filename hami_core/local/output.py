"""Where a container's output goes: straight to ours, or through us, to ours and to its log.

Straight through is for the one command of ``run``: it keeps its terminal, and lives on if hami is killed. Everything else goes
through us, so that it is kept (``logs``), several containers are told apart, and our standard output is free for JSON. A
container that is alone does not notice: where ours is a terminal it writes to one too, of the same size, where our two streams
are one it has one, and what it writes is passed on as it comes. If hami is killed, its next write fails (SIGPIPE, EIO).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import select
import signal
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from hami_core.local import logs

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.local.logs import Log

STDOUT, STDERR = 1, 2
CHUNK = 65536  # bytes; the capacity of a pipe (pipe(7))


@frozen
class Output:
    """How the output of a command's containers is passed on."""

    to_stderr: bool = False  # all of it, because our standard output is taken
    interactive: bool = False  # the container gets our standard input, output and terminal; else its input is empty
    shown: bool = True  # False: nobody is there to read, it is kept alone

    @property
    def is_kept(self) -> bool:
        """Whether it goes through us. An interactive command's does not, unless our standard output is taken."""
        return self.to_stderr or not self.interactive

    def target(self, stream: int) -> int | None:
        """Which of our descriptors a stream goes to."""
        if not self.shown:
            return None
        return STDERR if self.to_stderr else stream


THROUGH = Output()
TO_STDERR = Output(to_stderr=True)
TERMINAL = Output(interactive=True)
KEPT_ALONE = Output(shown=False)


@define(eq=False)
class Channel:
    """One stream of one container on its way through us."""

    read: int
    stream: str  # its name in the log
    target: int | None
    prefix: bytes
    log: Log
    rest: bytes = b""

    def pump(self) -> bool:
        """Pass on what is there. False: nothing is there now, or ever again."""
        try:
            chunk = os.read(self.read, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:  # a terminal whose programs have gone
            if error.errno != errno.EIO:
                raise
            chunk = b""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if lines:
            self.log.write(self.stream, lines)
        if len(self.rest) > logs.LONGEST and not self.prefix:
            self.log.write(self.stream, [self.rest], whole=False)
            self.rest = b""
        self._show(b"".join(self.prefix + line + b"\n" for line in lines) if self.prefix else chunk)
        if not chunk:
            asyncio.get_running_loop().remove_reader(self.read)
        return bool(chunk)

    def finish(self) -> None:
        """Pass on what is left, also a last line without an end. Waits for nobody who holds the other end still."""
        while self.pump():
            pass
        if self.rest:
            self.log.write(self.stream, [self.rest])
            if self.prefix:
                self._show(self.prefix + self.rest + b"\n")
        asyncio.get_running_loop().remove_reader(self.read)
        os.close(self.read)

    def resize(self) -> None:
        """Give a terminal of ours the size of the one that it stands for."""
        if self.target is not None and os.isatty(self.read):
            _copy_size(self.target, self.read)

    def _show(self, data: bytes) -> None:
        if self.target is None:
            return
        try:
            write_all(self.target, data)
        except OSError as error:  # our reader has gone, or his disk is full; the log goes on
            self.target = None
            if error.errno not in {errno.EPIPE, errno.EIO}:
                self.log.fault = f"{self.stream}: {error.strerror}; what came after is in its log alone"


@define(eq=False)
class Streams:
    """Standard output and error of one run of one container: descriptors for its process, and channels to us if any."""

    stdout: int | None  # None: ours
    stderr: int | None
    channels: tuple[Channel, ...] = ()
    log: Log | None = None
    resizing: bool = field(default=False, init=False)

    def begin(self) -> None:
        """The process has its ends now: close ours of them, and listen."""
        self._close_theirs()
        loop = asyncio.get_running_loop()
        for channel in self.channels:
            loop.add_reader(channel.read, channel.pump)
        if any(os.isatty(channel.read) for channel in self.channels):
            loop.add_signal_handler(signal.SIGWINCH, self._resize)
            self.resizing = True

    def _resize(self) -> None:
        for channel in self.channels:
            channel.resize()

    def _close_theirs(self) -> None:
        for descriptor in {self.stdout, self.stderr} - {None}:
            os.close(descriptor)  # type: ignore[arg-type]  # None has been taken away
        self.stdout = self.stderr = None

    def finish(self) -> None:
        """The process is gone, or never came: pass on the rest and close."""
        self._close_theirs()
        if self.resizing:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGWINCH)
        for channel in self.channels:
            channel.finish()
        if self.log is not None:
            self.log.close()


def through() -> Streams:
    """Ours."""
    return Streams(None, None)


def kept(path: Path, prefix: str, output: Output) -> Streams:
    """Two channels to our streams, lines with the prefix, and to a fresh log. One, where both would go to one place."""
    log = logs.fresh(path)
    targets = output.target(STDOUT), output.target(STDERR)
    if not prefix and not output.to_stderr and _is_same(*targets):
        theirs, channel = _channel(logs.STDOUT, targets[0], "", log)
        return Streams(theirs, theirs, (channel,), log)
    stdout, out = _channel(logs.STDOUT, targets[0], prefix, log)
    stderr, err = _channel(logs.STDERR, targets[1], prefix, log)
    return Streams(stdout, stderr, (out, err), log)


def _channel(stream: str, target: int | None, prefix: str, log: Log) -> tuple[int, Channel]:
    """The end for the process, and ours. A terminal, if it is alone and would see one without us."""
    if target is not None and not prefix and os.isatty(target):
        read, theirs = _terminal(target)
    else:
        read, theirs = os.pipe()
    os.set_blocking(read, False)
    return theirs, Channel(read, stream, target, prefix.encode(), log)


def _terminal(like: int) -> tuple[int, int]:
    """Ours and theirs of a new terminal of that one's size, which leaves to that one what becomes of each character."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    _copy_size(like, ours)
    return ours, theirs


def _copy_size(source: int, target: int) -> None:
    with suppress(OSError):
        fcntl.ioctl(target, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8))


def _is_same(one: int | None, other: int | None) -> bool:
    """Whether two of our descriptors are one file, pipe or terminal: then the order of what goes there is to be kept."""
    if one is None or other is None:
        return False  # the log tells them apart
    return one == other or os.path.samestat(os.fstat(one), os.fstat(other))


def write_all(descriptor: int, data: bytes) -> None:
    """All of it, however small the pieces are that the other side takes, and whoever made it non-blocking."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
