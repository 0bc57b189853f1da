"""The edge of leadership: what is watched, how it reaches the loop, and when what was listed counts as complete.

Pods, nodes and quotas are watched by everybody, so that a standby is warm and a missing right is seen before it is needed. Who
gains the leadership lists them anew: the former leader's last Bindings may have overtaken what stood in the lists before.
Reflectors run in threads; everything else here runs on the loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen

from hami_scheduler.leadership import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hami_core.kube.objects import Lease
    from hami_scheduler.claiming import Claims
    from hami_scheduler.leadership import Leadership

T = TypeVar("T")


class Watching(Protocol):
    """A reflector: one resource listed and watched in a thread, for ever."""

    synced: bool
    last_contact: float
    restarts: int
    failure: str

    def run(self, stop: threading.Event) -> None: ...


@frozen
class Source(Generic[T]):
    """One resource and what is done with it. ``reflector`` makes one for a sink."""

    name: str
    reflector: Callable[[Any], Watching]
    replaced: Callable[[list[T]], None]
    changed: Callable[[list[tuple[str, T]]], None]


@define(eq=False)
class _OnLoop(Generic[T]):
    """A reflector's sink that hands everything to the loop, until it is closed; what was handed before then is dropped."""

    _loop: asyncio.AbstractEventLoop
    _source: Source[T]
    _complete: Callable[[], None]
    _broken: Callable[[Exception], None]
    _open: bool = field(default=True, init=False)

    def close(self) -> None:
        self._open = False

    def replaced(self, objects: list[T]) -> None:
        self._loop.call_soon_threadsafe(self._replaced, objects)

    def changed(self, batch: list[tuple[str, T]]) -> None:
        self._loop.call_soon_threadsafe(self._changed, batch)

    def died(self, error: Exception) -> None:
        """Whoever hands over has ended by a fault: what he has not handed over will not come."""
        with suppress(RuntimeError):  # the loop has ended before
            self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if self._open:
            self.close()
            self._broken(error)

    def _replaced(self, objects: list[T]) -> None:
        self._give(self._source.replaced, objects, self._complete)

    def _changed(self, batch: list[tuple[str, T]]) -> None:
        self._give(self._source.changed, batch)

    def _give(self, take: Callable[[Any], None], what: object, then: Callable[[], None] = lambda: None) -> None:
        if self._open:
            try:
                take(what)
            except Exception as error:
                self._fail(error)
            else:
                then()


@frozen(eq=False)
class _Watch:
    """A reflector at work."""

    source: Source[Any]
    sink: _OnLoop[Any]
    reflector: Watching
    stop: threading.Event
    thread: threading.Thread

    def close(self) -> None:
        self.sink.close()
        self.stop.set()


@frozen
class Health:
    """How a watch is. ``silent``: seconds since the API server was last heard; None: never. ``failure``: why it waits."""

    name: str
    synced: bool
    silent: float | None
    lists: int
    failure: str
    alive: bool


class Watches:
    """Reflectors, each in a thread. ``begin`` lists everything anew, and calls back once, when all lists are there.

    ``broken`` is told what a source raised, which has not taken what it was given; and what ended a reflector.
    """

    def __init__(
        self,
        sources: Sequence[Source[Any]],
        broken: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources, self._broken, self._clock = sources, broken, clock
        self._watches: list[_Watch] = []
        self.begun = False
        self._lists: dict[str, int] = {}
        self.complete = False

    def begin(self, then: Callable[[], None] = lambda: None) -> None:
        """From nothing. Lists that are on their way for somebody else no longer count."""
        self.close()
        self.begun = True
        missing = {source.name for source in self._sources}

        def arrived(name: str) -> None:
            if name in missing:
                missing.remove(name)
                if not missing:
                    self.complete = True
                    then()

        self._watches = [self._watch(source, arrived) for source in self._sources]

    def _watch(self, source: Source[Any], arrived: Callable[[str], None]) -> _Watch:
        sink = _OnLoop(asyncio.get_running_loop(), source, lambda: arrived(source.name), self._broken)
        reflector, stop = source.reflector(sink), threading.Event()

        def run() -> None:
            try:
                reflector.run(stop)
            except Exception as error:  # whatever it was, nobody watches any more
                sink.died(error)

        thread = threading.Thread(target=run, name=f"watch {source.name}", daemon=True)
        thread.start()
        return _Watch(source, sink, reflector, stop, thread)

    def close(self) -> None:
        """No object comes any more. Threads end by themselves."""
        self.complete = False
        for watch in self._watches:
            watch.close()
            self._lists[watch.source.name] = self._lists_of(watch)
        self._watches = []

    def health(self) -> list[Health]:
        """How every watch is."""
        return [self._health(watch) for watch in self._watches]

    def _health(self, watch: _Watch) -> Health:
        at = watch.reflector
        silent = self._clock() - at.last_contact
        return Health(
            name=watch.source.name,
            synced=at.synced,
            silent=silent if math.isfinite(silent) else None,
            lists=self._lists_of(watch),
            failure=at.failure,
            alive=watch.thread.is_alive(),
        )

    def _lists_of(self, watch: _Watch) -> int:
        """All that there were, of this watch and of those before it."""
        return self._lists.get(watch.source.name, 0) + int(watch.reflector.synced) + watch.reflector.restarts


class Follower:
    """Our leadership as the Lease and the lists make it, for everybody who has to know."""

    def __init__(
        self,
        leadership: Leadership,
        lists: Watches,
        claims: Claims,
        changed: Callable[[Leadership, Leadership], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._lists, self._claims, self._changed, self._clock = leadership, lists, claims, changed, clock
        self._lease: Lease | None = None
        self._turn = asyncio.Event()
        self._over = False
        self._term = ""

    @property
    def state(self) -> Leadership:
        """Where we stand."""
        return self._state

    @property
    def failure(self) -> str:
        """Why our word is not on the Lease; empty: it is, or is not meant to be."""
        return self._claims.failure if self._state.phase is Phase.CLAIMING else ""

    def term(self) -> str:
        """Of our leadership; empty: we do not lead. Any thread may ask."""
        return self._term

    async def opened(self, timeout: float) -> bool:
        """Whether we lead now, or within so many seconds. For kube-scheduler, which asks whoever is in its place."""
        if not self._term:
            self._to(self._state.asked(self._clock()))
        if not self._term and timeout > 0:
            try:
                async with asyncio.timeout(timeout):
                    await self._turn.wait()
            except TimeoutError:
                return False
        return bool(self._term)

    def give_up(self) -> None:
        """Lead no more, whatever the Lease says."""
        self._over, self._term = True, ""
        self._turn.clear()
        self._lists.close()
        self._claims.want(None)

    # --- The Lease's source. ---

    def lease_listed(self, leases: list[Lease]) -> None:
        """The Lease as it is; there is at most one of its name. Who does not lead lists now, to be warm."""
        self._see(leases[0] if leases else None)
        if self._state.phase is Phase.STANDBY and not self._lists.begun:
            self._lists.begin()

    def lease_changed(self, batch: list[tuple[str, Lease]]) -> None:
        """Each counts: between two Leases of one term another may have led, if it was deleted meanwhile."""
        for event, lease in batch:
            self._see(None if event == "DELETED" else lease)

    def _see(self, lease: Lease | None) -> None:
        self._lease = lease
        self._to(self._state.seen(lease, self._clock()))

    # --- Transitions. ---

    def _to(self, new: Leadership) -> None:
        if self._over:
            return
        old, self._state = self._state, new
        self._term = new.term if new.leading else ""
        if new.leading:
            self._turn.set()
        else:
            self._turn.clear()
        self._claims.want(self._lease if new.phase is Phase.CLAIMING else None, new.word)
        if new.phase is not old.phase or new.term != old.term:
            self._changed(old, new)
            self._act()

    def _act(self) -> None:
        """What the phase that has just begun needs."""
        term = self._state.term
        if self._state.phase is Phase.GRACE:
            asyncio.get_running_loop().call_later(self._state.grace, self._passed)
        elif self._state.phase is Phase.LISTING:
            self._lists.begin(lambda: self._to(self._state.listed(term, self._clock())))

    def _passed(self) -> None:
        """The grace should be over; a timer may be early by a tick of its own clock, and another term may have begun."""
        now = self._clock()
        self._to(self._state.passed(now))
        if self._state.phase is Phase.GRACE:
            left = self._state.since + self._state.grace - now
            asyncio.get_running_loop().call_later(max(left, 0.001), self._passed)
