"""Reflectors at work: each in a thread of its own, what it says handed to a loop, where everything else here runs."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
