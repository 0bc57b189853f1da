"""A hami that carries pods out behind everybody's back: it survives the terminal that it was started from.

It is forked before anything heavy is imported, says on the terminal what goes wrong and what is granted, and leaves the
terminal as soon as each of its pods is granted or has its place in the queue. What it says from then on is kept (``pods``).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from hami_core.local import pods
from hami_core.local.events import Finished, Granted, Queued

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hami_core.local.events import Event
    from hami_core.local.manifest import PodSpec
    from hami_core.local.state import Folder

STDIN, STDOUT, STDERR = 0, 1, 2
READY = b"."


def start(work: Callable[[Callable[[], None]], int]) -> int | None:
    """Do the work in a process of its own. None: it called what it is given, and goes on alone; else its exit status.

    In that process this does not return.
    """
    read, write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        _be(work, write)
    os.close(write)
    try:
        if _verdict(read) == READY:
            return None
    finally:
        os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _verdict(read: int) -> bytes:
    """Ctrl-C meanwhile is the child's too, which is in our group still: its verdict counts."""
    while True:
        with suppress(KeyboardInterrupt):
            return os.read(read, 1)


def _be(work: Callable[[Callable[[], None]], int], write: int) -> NoReturn:
    status = 1

    def gone() -> None:
        with suppress(BrokenPipeError):  # whoever started us was killed meanwhile
            os.write(write, READY)
        os.close(write)

    try:
        status = work(gone)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class Departure:
    """Hears the events of the pods, passes them on, and calls ``depart`` when the last of them has its place."""

    def __init__(
        self, folder: Folder, specs: Sequence[PodSpec], tell: Callable[[Event], None], depart: Callable[[], None]
    ) -> None:
        self._told = folder.pods / specs[0].uid / pods.TOLD
        self._waited_for = {spec.label for spec in specs}
        self._tell, self._depart = tell, depart

    def tell(self, event: Event) -> None:
        """One event."""
        self._tell(event)
        if self._waited_for and isinstance(event, Granted | Queued | Finished):
            self._waited_for.discard(event.pod)
            if not self._waited_for:
                self._depart()

    def leave(self) -> None:
        """A session of our own: no terminal, and none of its signals. What is said from now on goes into a file."""
        os.setsid()
        told = os.open(self._told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        sys.stdout.flush()
        sys.stderr.flush()
        for source, target in ((nothing, STDIN), (told, STDOUT), (told, STDERR)):
            os.dup2(source, target)
        os.close(told)
        os.close(nothing)
