"""Runs ``hami`` with one function of it changed: when it is reached, the whole process stops, so that a test can kill it there.

    python stops.py hami_scheduler.cluster:Cluster.begin:after FOLDER scheduler serve ...

It stops at the first call after FOLDER/armed is there, and makes FOLDER/stopped before. The product knows nothing of it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ARMED, STOPPED = "armed", "stopped"


def stop(folder: Path) -> None:
    """All threads of the process, at once."""
    if (folder / ARMED).exists():
        (folder / ARMED).unlink()
        (folder / STOPPED).touch()
        os.kill(os.getpid(), signal.SIGSTOP)


def change(point: str, folder: Path) -> None:
    """Put the stop before or after a method."""
    module, path, when = point.split(":")
    owner, _, name = path.rpartition(".")
    place = functools.reduce(getattr, owner.split("."), importlib.import_module(module))
    setattr(place, name, stopping(getattr(place, name), when, folder))


def stopping(method: Callable[..., Any], when: str, folder: Path) -> Callable[..., Any]:
    """The method, with the stop."""

    def plain(*words: Any, **named: Any) -> Any:
        if when == "before":
            stop(folder)
        answer = method(*words, **named)
        if when == "after":
            stop(folder)
        return answer

    async def waiting(*words: Any, **named: Any) -> Any:
        if when == "before":
            stop(folder)
        answer = await method(*words, **named)
        if when == "after":
            stop(folder)
        return answer

    return functools.wraps(method)(waiting if inspect.iscoroutinefunction(method) else plain)


if __name__ == "__main__":
    from hami_core.cli import main

    change(sys.argv[1], Path(sys.argv[2]))
    sys.argv[1:3] = []
    main()
