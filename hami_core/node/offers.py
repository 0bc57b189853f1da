"""What the kubelet is offered of each resource: kept by the agent, awaited by the streams that tell the kubelet.

All on the agent's loop. A stream that is slow misses what was offered in between, never the newest.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Final

from attrs import evolve, frozen

NONE: Final = 0
"""The version before the first: whoever waits for one behind it gets what is offered now."""


@frozen
class Advertised:
    """One token as the kubelet is told of it. A sick one stays in the node's capacity and leaves what is allocatable."""

    token: str
    healthy: bool = True
    numa: int | None = None  # None: the kernel does not say


@frozen
class Offer:
    """The whole list of one resource. Empty: the resource is retired, or nothing of it is there."""

    resource: str  # the name in a pod's limits
    kind: str
    devices: tuple[Advertised, ...] = ()

    @cached_property
    def tokens(self) -> frozenset[str]:
        """All of them, healthy or not."""
        return frozenset(one.token for one in self.devices)


class Offers:
    """The current offer of each resource, with a version that rises when it changes."""

    def __init__(self) -> None:
        self._current: dict[str, tuple[int, Offer]] = {}
        self._turn = asyncio.Event()  # set, and replaced, at every change

    def put(self, offer: Offer) -> None:
        """Offer this from now on. The same again wakes nobody."""
        version, before = self._current.get(offer.resource, (NONE, None))
        if offer != before:
            self._current[offer.resource] = version + 1, offer
            self._wake()

    def retire(self, resource: str) -> None:
        """Offer nothing of the resource any more: the node's capacity of it is 0 at once. KeyError: it never was offered."""
        self.put(evolve(self._current[resource][1], devices=()))

    def current(self, resource: str) -> Offer:
        """What is offered now. KeyError: the resource never was."""
        return self._current[resource][1]

    def resources(self) -> tuple[str, ...]:
        """The names of all that was ever offered, retired ones too: in the order in which they came."""
        return tuple(self._current)

    async def changed(self, resource: str, version: int = NONE) -> tuple[int, Offer]:
        """The newest offer of the resource behind that version, as soon as there is one; and its own version."""
        while self._current.get(resource, (NONE, None))[0] <= version:
            await self._turn.wait()
        return self._current[resource]

    async def joined(self, known: int) -> tuple[str, ...]:
        """``resources()``, as soon as there are more than so many."""
        while len(self._current) <= known:
            await self._turn.wait()
        return self.resources()

    def _wake(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()
