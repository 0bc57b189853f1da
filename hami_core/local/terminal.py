"""The terminal in the hands of an interactive container: given to its process group, and taken back when it stops or ends.

What a shell does for its foreground job: Ctrl-C and Ctrl-Z reach the container's group and not us. Source: the manual of glibc,
"Implementing a Shell".
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = 0


def is_ours() -> bool:
    """Whether our standard input is a terminal, and we are in its foreground: only then it is ours to give."""
    with suppress(OSError):
        return os.isatty(STDIN) and os.tcgetpgrp(STDIN) == os.getpgrp()
    return False


@contextmanager
def given_to(group: int) -> Iterator[None]:
    """The group, whose leader is our child, has the terminal inside."""
    loop = asyncio.get_running_loop()
    former = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a background group that takes the terminal is stopped by it
    loop.add_signal_handler(signal.SIGCHLD, _follow_stop, group)
    _give(group)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)
        with suppress(OSError):
            os.tcsetpgrp(STDIN, os.getpgrp())
        signal.signal(signal.SIGTTOU, former)


def _give(group: int) -> None:
    """Put the group into the foreground, if we are there: a shell's `bg` goes on with both of us behind it."""
    if is_ours():
        os.tcsetpgrp(STDIN, group)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)  # it may have asked for the terminal before it had it, and been stopped


def _follow_stop(group: int) -> None:
    """Ctrl-Z stopped the group: stop too, so that the shell gets its prompt, and go on together with it."""
    with suppress(ChildProcessError):
        if os.waitid(os.P_PID, group, os.WSTOPPED | os.WNOHANG) is None:
            return
        os.tcsetpgrp(STDIN, os.getpgrp())
        os.kill(os.getpid(), signal.SIGSTOP)
        _give(group)
