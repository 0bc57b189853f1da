"""The one write of a leadership: our word on kube-scheduler's Lease. Whether it got there is told by the Lease alone, as seen.

So what became of a claim does not matter: an answer that is lost changes nothing, and one that failed is followed by the next,
with the next Lease that is seen. kube-scheduler renews its Lease twice a second; it writes back the annotations that it has
read, and reads the Lease anew where ours came in between.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from hami_core.kube.objects import Lease


@define(eq=False)
class Claims:
    """One claim at a time, one for each state of the Lease. ``write`` is called in a thread; ``failed`` hears why, once."""

    _write: Callable[[Lease, str], None]
    _threads: Executor
    _failed: Callable[[str], None]
    failure: str = field(default="", init=False)  # of the last claim; empty: it was answered
    _lease: Lease | None = field(default=None, init=False)
    _word: str = field(default="", init=False)
    _tried: bool = field(default=False, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def want(self, lease: Lease | None, word: str = "") -> None:
        """This word on this Lease, which is the last that was seen. None: on no Lease any more."""
        if lease is not self._lease or word != self._word:
            self._lease, self._word, self._tried = lease, word, False
        if lease is not None and not self._tried and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._claim(), name="claim")

    async def _claim(self) -> None:
        while self._lease is not None and not self._tried:
            self._tried, write = True, partial(self._write, self._lease, self._word)
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, write)
            except Exception as error:  # whatever it was: as long as the Lease does not show our word, we do not lead
                self._note(f"{error}")
            else:
                self._note("")

    def _note(self, failure: str) -> None:
        if failure and failure != self.failure:
            self._failed(failure)
        self.failure = failure
