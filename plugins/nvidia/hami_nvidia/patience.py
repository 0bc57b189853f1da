"""Several calls side by side, each given so long: a GPU that lets a call hang costs that time, and hides none of its siblings.

NVML is safe for threads, and ctypes lets other threads run during a call. A thread that hangs cannot be ended: it stays until
its process is, so this belongs in a process that may be killed, which is where the core asks.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

A = TypeVar("A")
B = TypeVar("B")


class NoAnswer(Exception):
    """A call did not come back in time. ``hangs``: whether it still has not."""

    def __init__(self, seconds: float, thread: threading.Thread) -> None:
        super().__init__(seconds)
        self.seconds, self.hangs = seconds, thread.is_alive

    def __str__(self) -> str:
        return f"no answer within {self.seconds:g} s"


@define(eq=False)
class _Call(Generic[A, B]):
    job: Callable[[A], B]
    about: A
    outcome: B | Exception | None = None

    def __call__(self) -> None:
        try:
            self.outcome = self.job(self.about)
        except Exception as error:  # told to whoever asked, not to the thread's end
            self.outcome = error


def each(things: Iterable[A], job: Callable[[A], B], seconds: float) -> list[B | Exception]:
    """What ``job`` says of each thing, in their order; for some it may be what it raised, or NoAnswer."""
    calls = [_Call(job, thing) for thing in things]
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    pairs = zip(threads, calls, strict=True)
    return [NoAnswer(seconds, thread) if thread.is_alive() else call.outcome for thread, call in pairs]  # type: ignore[misc]
