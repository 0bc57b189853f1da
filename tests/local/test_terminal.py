"""An interactive run on a terminal of its own: a pseudo-terminal, with a hami that leads its session as a login shell would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.local.acme import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CTRL_C, CTRL_Z = b"\x03", b"\x1a"
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
HAMI = """
import sys
from pathlib import Path
from hami_core.local import output, play, run
from tests.local.acme import a_host
here = a_host(Path(sys.argv[1]))
pod = run.pod(sys.argv[2:], {}, here.catalogue)
sys.exit(play.play(here, [pod], lambda event: None, output.TERMINAL).status)
"""


class Terminal:
    """The side of a terminal where a person sits."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.shown = b""

    def types(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def shows(self, text: bytes) -> bool:
        """Read until the text is there. False: the other side closed without it."""
        while text not in self.shown:
            try:
                self.shown += os.read(self.descriptor, 4096)
            except OSError:  # EIO: nobody has the other side open any more
                return False
        return True


@contextmanager
def running(root: Path, program: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = os.openpty()
    words = [sys.executable, "-c", HAMI, str(root), "sh", "-c", program]
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, *words[1:]],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        yield Terminal(ours), process
    os.close(ours)


def test_what_is_typed_is_read_by_the_workload(tmp_path: Path) -> None:
    with running(tmp_path, "echo ready; read word; echo got $word; exit 4") as (terminal, process):
        assert terminal.shows(b"ready")
        terminal.types(b"hello\n")
        assert terminal.shows(b"got hello")
        assert process.wait(60) == 4


def test_ctrl_c_is_the_workloads_and_so_is_the_answer(tmp_path: Path) -> None:
    with running(tmp_path, "trap 'echo heard; exit 6' INT; echo ready; read word; read word") as (terminal, process):
        assert terminal.shows(b"ready")
        terminal.types(CTRL_C)
        assert terminal.shows(b"heard")
        assert process.wait(60) == 6


def test_ctrl_z_stops_hami_too_and_both_go_on_together(tmp_path: Path) -> None:
    with running(tmp_path, "read word; echo ready; read word; echo got $word; exit 7") as (terminal, process):
        terminal.types(b"go\n")  # who reads from a terminal has it
        assert terminal.shows(b"ready")
        terminal.types(CTRL_Z)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

        process.send_signal(signal.SIGCONT)
        terminal.types(b"hello\n")

        assert terminal.shows(b"got hello")
        assert process.wait(60) == 7
