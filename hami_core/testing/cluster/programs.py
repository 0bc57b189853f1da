"""Programs that run for a control plane: started, watched, stopped, killed, paused. None outlives the process that started it.

Linux sends a child its parent's-death signal when the *thread* that started it ends. One thread per process starts them all
therefore, and lives as long as the process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hami_core.errors import HamiError
from hami_core.testing.cluster import pid_namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAUNCHER = Path(__file__).with_name("launcher.py")
STOP_SECONDS = 5.0
COMMAND_SECONDS = 120.0
POLL_SECONDS = 0.02


class ProgramFailed(HamiError):
    """A program of the control plane ended, or did not become ready; the text has the last lines of its log."""


@define(eq=False)
class Program:
    """A program with a log file: the same command may be started again and again."""

    name: str
    command: tuple[str, ...]
    log: Path
    host: str = ""  # its own host name; empty: the machine's
    env: Mapping[str, str] = field(factory=dict)  # beside this process's own
    cwd: Path | None = None
    inside: Program | None = None  # process 1 of the machine that it runs on; None: this machine
    first: bool = False  # whether it is itself process 1 of a machine of its own
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """ProgramFailed: it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise ProgramFailed(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs; a paused one does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self.running:
            self._process = _starter().submit(self._spawn).result()

    def restart(self) -> None:
        """Kill it if it runs, and start it again with the same words."""
        self.kill()
        self.start()

    def beside(
        self, command: Sequence[str], stdin: str = "", seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """What a command does that runs to its end where this program runs, process 1 of a machine. TimeoutExpired."""
        words = _words(command, inside=self.pid)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = {**os.environ, **self.env}
        process = _starter().submit(_popen, words, self.pid, env=environment, cwd="/", text=True, **pipes).result()
        try:
            out, said = process.communicate(stdin, timeout=seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(list(command), process.returncode, out, said)

    def _spawn(self) -> subprocess.Popen[bytes]:
        born = self.inside.pid if self.inside else pid_namespaces.NEW if self.first else None
        with self.log.open("ab") as log:
            return _popen(
                _words(self.command, self.host, born),
                born,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                cwd=self.cwd,
                start_new_session=True,  # a terminal's Ctrl-C is for who started the control plane: it stops its parts in order
            )

    def send(self, number: int) -> None:
        """Send it a signal: SIGSTOP and SIGCONT pause it and let it go on."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a crash would: SIGKILL, and wait until it is gone. Nothing to do if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, and SIGKILL if that is not enough in time."""
        self._end(signal.SIGTERM, seconds)

    def _end(self, number: int, seconds: float = STOP_SECONDS) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until(self, ready: Callable[[], bool], seconds: float, what: str = "ready") -> None:
        """Return as soon as ``ready()``. ProgramFailed: it ended before that, or the time is over."""
        end = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ProgramFailed(f"{self.name} ended before it was {what}:\n{self.tail()}")
            if time.monotonic() > end:
                raise ProgramFailed(f"{self.name} was not {what} after {seconds:g} s:\n{self.tail()}")
            time.sleep(POLL_SECONDS)

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _words(command: Sequence[str], host: str = "", inside: int | None = None) -> list[str]:
    """The launcher's. It sees no parent where it is born into another PID namespace."""
    parent = os.getpid() if inside is None else 0
    return [sys.executable, "-I", "-S", str(LAUNCHER), str(parent), host, str(inside or ""), *command]


def _popen(words: Sequence[str], born: int | None, **more: Any) -> subprocess.Popen[Any]:
    with pid_namespaces.children_in(born):
        return subprocess.Popen(words, **more)


@cache
def _starter_of(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts-programs")


_LOCK = threading.Lock()


def _starter() -> ThreadPoolExecutor:
    """The one thread of this process that starts programs; a forked child has one of its own."""
    with _LOCK:
        return _starter_of(os.getpid())
