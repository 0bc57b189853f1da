"""The edge of leadership: when what was listed counts as complete.

Pods, nodes and quotas are watched by everybody, so that a standby is warm and a missing right is seen before it is needed. Who
gains the leadership lists them anew: the former leader's last Bindings may have overtaken what stood in the lists before.
Everything here runs on the loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from hami_scheduler.leadership import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_core.kube.objects import Lease
    from hami_core.kube.watches import Watches
    from hami_scheduler.claiming import Claims
    from hami_scheduler.leadership import Leadership


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
