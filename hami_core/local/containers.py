"""One container through its runs: start, restart by its policy, stop. Knows nothing of its pod's other containers."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from hami_core.local import output, processes, terminal
from hami_core.local.events import NOT_EXECUTABLE, NOT_FOUND, ContainerResult, Exited, Noted, Restarting, Started
from hami_core.local.manifest import ALWAYS, NEVER
from hami_core.local.tasks import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hami_core.local.events import Event
    from hami_core.local.holdings import Lease
    from hami_core.local.manifest import Container
    from hami_core.local.output import Output, Streams
    from hami_core.local.processes import Running


@frozen
class Backoff:
    """How long to wait before a restart. Kubernetes has 10, 300 and 600 s; at one's own screen patience is shorter."""

    first_s: float = 1.0
    most_s: float = 60.0
    good_s: float = 60.0  # after a run of that length the delay begins anew

    def delay(self, short_runs: int) -> float:
        """Seconds before the next start, after that many runs in a row that were not good."""
        return min(self.first_s * 2.0 ** min(short_runs - 1, 30), self.most_s) if short_runs else 0.0


@frozen
class Setting:
    """What the containers of a pod share."""

    pod: str  # its label
    lease: Lease
    grace: int
    backoff: Backoff
    output: Output
    tell: Callable[[Event], None]


@define(eq=False)
class Runs:
    """One container and its runs, one after the other."""

    container: Container
    setting: Setting
    env: Mapping[str, str]
    prefix: str
    log: Path | None  # None: output is passed through
    status: int | None = None
    restarts: int = 0
    running: Running | None = field(default=None, init=False)
    stop_signal: int = field(default=signal.SIGTERM, init=False)
    grace: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.grace = self.setting.grace

    async def run(self) -> int:
        """Run it, and again as its policy says; the status of the last run. Cancelled, it stops the process before it goes."""
        short_runs = 0
        while True:
            began = time.monotonic()
            self.status = await self._once()
            if not self._goes_on():
                return self.status
            backoff = self.setting.backoff
            short_runs = 0 if time.monotonic() - began >= backoff.good_s else short_runs + 1
            delay = backoff.delay(short_runs)
            self.setting.tell(Restarting(self.setting.pod, self.container.name, delay))
            await asyncio.sleep(delay)
            self.restarts += 1

    def kill(self) -> None:
        """End it at once."""
        if self.running:
            self.running.signal(signal.SIGKILL)

    def result(self) -> ContainerResult:
        """How it stands."""
        log = str(self.log) if self.log and self.log.exists() else ""
        return ContainerResult(self.container.name, self.container.role, self.status, self.restarts, log)

    def _goes_on(self) -> bool:
        policy = self.container.restart
        return policy == ALWAYS or (policy != NEVER and self.status != 0)

    async def _once(self) -> int:
        streams = output.kept(self.log, self.prefix, self.setting.output) if self.log else output.through()
        try:
            self.running = self._start(streams)
        except OSError as error:
            self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            self._tell_end(f"{self.container.argv[0]}: {error.strerror}")
            return self.status
        else:
            streams.begin()
            with self._terminal(self.running):
                return await self._watch(self.running)
        finally:
            self.running = None
            streams.finish()
            if streams.log and streams.log.fault:
                self.setting.tell(Noted(self.setting.pod, streams.log.fault))

    def _start(self, streams: Streams) -> Running:
        return processes.start(
            self.container.argv,
            self.env,
            self.container.folder,
            streams,
            inherited=self.setting.lease.locks[self.container.name],
            interactive=self.setting.output.interactive,
        )

    async def _watch(self, running: Running) -> int:
        """The status at the end of a run. However this is left, the process has ended."""
        try:
            self.setting.lease.add_group(self.container.name, running.leader)
            self.setting.tell(Started(self.setting.pod, self.container.name, running.process.pid))
            self.status = await running.wait()
        except asyncio.CancelledError:
            self.status = await to_the_end(running.stop(self.stop_signal, self.grace))
            self._tell_end()
            raise
        except BaseException:
            await to_the_end(running.stop(signal.SIGKILL, 0))
            raise
        self._tell_end()
        return self.status

    def _tell_end(self, why: str = "") -> None:
        assert self.status is not None  # it has just been set
        self.setting.tell(Exited(self.setting.pod, self.container.name, self.status, why))

    def _terminal(self, running: Running) -> AbstractContextManager[None]:
        if self.setting.output.interactive and terminal.is_ours():
            return terminal.given_to(running.process.pid)
        return nullcontext()
