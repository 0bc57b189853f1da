"""Pods from their first container to their last: admitted, started in order, watched, stopped, and their holdings given back.

Init containers run one after the other, sidecars from their place in the list until the ordinary containers have ended. Several
pods run at the same time. The first signal to us stops them all (twice: kills them), a request stops one (``stopping``); every
way out gives back what was held, and writes down how it ended (``pods``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from hami_core.errors import ValidationError
from hami_core.local import admission, changes, environment, logs, output, pods, processes, procfs, tasks
from hami_core.local.containers import Backoff, Runs, Setting
from hami_core.local.events import BY_SIGNAL, TIMED_OUT, Finished, Granted, Noted, Played, PodResult, Queued, Started
from hami_core.local.manifest import INIT, MAIN, SIDECAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hami_core.decision import Ask
    from hami_core.local.admission import Admitted
    from hami_core.local.events import Event
    from hami_core.local.host import Host
    from hami_core.local.manifest import Container, PodSpec
    from hami_core.local.output import Output
    from hami_core.model import Share

LISTEN, UNTOLD = 60.0, 1.0  # seconds between looks for a request that the kernel should have told of, or where it tells nothing
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(
    host: Host,
    specs: Sequence[PodSpec],
    tell: Callable[[Event], None],
    passed_on: Output = output.THROUGH,
    backoff: Backoff = Backoff(),  # noqa: B008  # frozen
) -> Played:
    """Run these pods on the machine until they have ended, and say how. ``tell`` hears of every event as it happens.

    To be called in the main thread, because it listens for signals. UserError, before anything is started or held: a pod asks
    for what cannot be meant, could never fit, or names a program that this host does not have.
    """
    host.drivers.close()  # all that is needed of them is known, and pods run for long
    asked = [_asks(host, pod, named=len(specs) > 1) for pod in specs]
    for pod in specs:
        _check_programs(host, pod)
    run = _Play(host, tell, passed_on, backoff, specs)
    return asyncio.run(run.all(asked))


def _asks(host: Host, pod: PodSpec, named: bool) -> tuple[Ask, ...]:
    """What the pod asks. ``named``: it is one of several, so a message has to say which."""
    try:
        return admission.asks(host, pod)
    except ValidationError as error:
        if not named:
            raise
        where = " of ".join(part for part in (error.where, f'pod "{pod.label}"') if part)
        raise ValidationError(error.field, error.value, error.hint, where) from error


def _check_programs(host: Host, pod: PodSpec) -> None:
    for container in pod.containers:
        env = environment.of(host, container, (), host.folder.path, environment.caller())
        processes.check(container.argv, env, container.folder, f'pod "{pod.label}", container "{container.name}"')


@define(eq=False)
class _Play:
    """One command's pods. Single-threaded: everything happens in one event loop."""

    host: Host
    tell: Callable[[Event], None]
    output: Output
    backoff: Backoff
    specs: Sequence[PodSpec]
    lives: list[_Life] = field(factory=list)
    received: int = 0  # the signal that ends it all
    tasks: list[asyncio.Task[PodResult]] = field(factory=list)

    async def all(self, asked: Sequence[Sequence[Ask]]) -> Played:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._interrupt, number)
        self.lives = [_Life(self, pod, asks, self._written_down(pod)) for pod, asks in zip(self.specs, asked, strict=True)]
        self.tasks = [asyncio.ensure_future(life.live()) for life in self.lives]
        listening = asyncio.ensure_future(self._listen())
        try:
            results = await asyncio.gather(*self.tasks)
        finally:  # if one pod ended in an error of ours, the others give back what they hold first
            await tasks.ended([*self.tasks, listening])
        return Played(self.host.name, self.host.machine is not None, tuple(results))

    def _interrupt(self, number: int) -> None:
        """The first signal asks every container to end: an interactive one gets it as it is, others SIGTERM. A second kills."""
        again, self.received = bool(self.received), number
        for life in self.lives:
            for runs in life.runs.values():
                runs.stop_signal = number if self.output.interactive else signal.SIGTERM
                if again:
                    runs.kill()
        if not again:
            for life in self.lives:
                life.stop()

    async def _listen(self) -> None:
        """Stop a pod when somebody asks for it, whoever and whenever it is."""
        with changes.watching() as watch:
            for life in self.lives:
                watch.add(life.written.path, changes.MOVED_TO)
            while True:
                for life in self.lives:
                    life.heed()
                await watch.changed(UNTOLD if watch.fd is None else LISTEN)

    def _written_down(self, pod: PodSpec) -> pods.Writer:
        names = tuple(container.name for container in pod.containers)
        owner, now = procfs.identity(os.getpid()), int(time.time())
        record = pods.Record(pod.uid, pod.name, pod.namespace, names, owner, now, pod.grace, self.output.is_kept)
        return pods.create(self.host.folder, record)

    def prefix(self, pod: PodSpec, container: Container) -> str:
        """What stands before a container's lines: as little as tells it apart. Empty: it is alone."""
        if not self.output.shown:
            return ""
        several_here = len(pod.containers) > 1
        if len(self.specs) == 1:
            return f"{container.name} | " if several_here else ""
        return f"{pod.label}/{container.name} | " if several_here else f"{pod.label} | "


@define(eq=False)
class _Life:
    """One pod of the command, from the queue to its result."""

    play: _Play
    pod: PodSpec
    asked: Sequence[Ask]
    written: pods.Writer
    runs: dict[str, Runs] = field(factory=dict)
    shares: tuple[Share, ...] = ()
    notes: tuple[str, ...] = ()
    waited_s: float = 0.0
    reason: str = ""
    asked_to_stop: pods.StopRequest | None = None
    body: asyncio.Task[int] | None = None

    async def live(self) -> PodResult:
        status = BY_SIGNAL + signal.SIGKILL  # if an error of ours ends it
        try:
            status = await self._live()
        finally:
            with suppress(OSError):  # somebody removed the folder: he has no use for the record
                self.written.finish(pods.End(status, self.reason, int(time.time())))
        return self._result(status)

    async def _live(self) -> int:
        for note in self.pod.notes:
            self.play.tell(Noted(self.pod.label, note))
        self.notes = self.pod.notes
        self.body = asyncio.ensure_future(self._hold())
        try:
            return await asyncio.shield(self.body)
        except asyncio.CancelledError:
            self.stop()
            await tasks.to_the_end(asyncio.wait({self.body}))
            if not (self.play.received or self.asked_to_stop):
                raise
            return self._stopped_status() if self.body.cancelled() else self.body.result()

    def stop(self, reason: str = "interrupted") -> None:
        """Make the pod end: its containers are stopped, its place in the queue or its shares are given back."""
        if self.body:
            self.reason = self.reason or reason
            self.body.cancel()

    def heed(self) -> None:
        """End, if somebody asks for it; asked again, with no more patience than he has."""
        request = pods.stop_request(self.written.stop)
        if request is None or request == self.asked_to_stop:
            return
        again, self.asked_to_stop = self.asked_to_stop is not None, request
        for runs in self.runs.values():
            runs.grace = self.pod.grace if request.grace is None else request.grace
            if again and not request.grace:
                runs.kill()
        if not again:
            self.stop("stopped by hami stop")

    async def _hold(self) -> int:
        label, began = self.pod.label, time.monotonic()
        admitted = await admission.admit(self.play.host, self.pod, self.asked, lambda why: self.play.tell(Queued(label, why)))
        status = BY_SIGNAL + signal.SIGKILL
        try:
            self._granted(admitted, time.monotonic() - began)
            status = await self._within_deadline()
        except asyncio.CancelledError:
            status = self._stopped_status()
            raise
        finally:
            gone = await tasks.to_the_end(admission.release(self.play.host, admitted.lease))
            self.play.tell(Finished(label, status, self.reason, kept=not gone))
        return status

    def _granted(self, admitted: Admitted, waited_s: float) -> None:
        host, label = self.play.host, self.pod.label
        self.shares, self.waited_s = admitted.lease.record.holding.shares, waited_s
        told = admission.notes(host.catalogue.kinds, self.shares, self.asked)
        self.notes += told
        self.play.tell(Granted(label, self.shares, waited_s, told))
        setting = Setting(label, admitted.lease, self.pod.grace, self.play.backoff, self.play.output, self._tell)
        for container in self.pod.containers:
            self.runs[container.name] = self._prepared(container, admitted, setting)

    def _prepared(self, container: Container, admitted: Admitted, setting: Setting) -> Runs:
        grants = admitted.grants.get(container.name, ())
        env = environment.of(self.play.host, container, grants, admitted.lease.limits(container.name), environment.caller())
        prefix = self.play.prefix(self.pod, container)
        log = logs.path(self.written.path, container.name) if self.play.output.is_kept else None
        return Runs(container, setting, env, prefix, log)

    def _tell(self, event: Event) -> None:
        """Of its containers, in passing."""
        if isinstance(event, Started):
            with suppress(OSError):
                self.written.start()
        self.play.tell(event)

    async def _within_deadline(self) -> int:
        try:
            async with asyncio.timeout(self.pod.deadline):
                return await self._in_order()
        except TimeoutError:
            self.reason = f"activeDeadlineSeconds: {self.pod.deadline} are over"
            return self._main_status() or TIMED_OUT

    async def _in_order(self) -> int:
        """Init containers, then the ordinary ones; sidecars beside them from their place on."""
        sidecars: list[asyncio.Task[int]] = []
        try:
            for runs in self._of(INIT, SIDECAR):
                if runs.container.role == SIDECAR:
                    sidecars.append(asyncio.ensure_future(runs.run()))
                    await asyncio.sleep(0)  # started before what comes after it
                elif status := await runs.run():
                    self.reason = f'init container "{runs.container.name}" failed'
                    return status
            await tasks.together([asyncio.ensure_future(runs.run()) for runs in self._of(MAIN)])
            return self._main_status()
        finally:
            for sidecar in reversed(sidecars):
                await tasks.ended([sidecar])

    def _of(self, *roles: str) -> Iterator[Runs]:
        return (runs for runs in self.runs.values() if runs.container.role in roles)

    def _main_status(self) -> int:
        """That of the first ordinary container that failed."""
        return next((runs.status for runs in self._of(MAIN) if runs.status), 0)

    def _stopped_status(self) -> int:
        """What the containers made of the signal; the signal's own if none had been started."""
        if any(runs.status is not None for runs in self._of(MAIN)):
            return self._main_status()
        return BY_SIGNAL + (self.play.received or signal.SIGTERM)

    def _result(self, status: int) -> PodResult:
        return PodResult(
            pod=self.pod.label,
            name=self.pod.name,
            namespace=self.pod.namespace,
            uid=self.pod.uid,
            status=status,
            reason=self.reason,
            waited_s=round(self.waited_s, 3),
            shares=self.shares,
            containers=tuple(runs.result() for runs in self.runs.values()),
            notes=self.notes,
        )
