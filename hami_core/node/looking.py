"""Asking the drivers again and again: what there is, and what is sick. In a thread: a question may last to its deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from hami_core import site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from hami_core.asking import Asker
    from hami_core.model import DeviceInventory
    from hami_core.node.devices import Devices
    from hami_core.node.settings import AgentSettings
    from hami_core.plugins import Failure
    from hami_core.site import Site

    Said = tuple[str, dict[str, str], tuple[Failure, ...]]  # kind, device -> reason, who could not say

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Looking:
    """Keeps ``devices`` at what the drivers say. ``changed`` is called after every answer.

    ``asked`` is told of each question, discover or health, how many seconds it took.
    """

    def __init__(
        self,
        where: Site,
        node: str,
        drivers: Asker,
        thread: Executor,
        devices: Devices,
        own: AgentSettings,
        changed: Callable[[], None],
        asked: Callable[[str, float], None],
    ) -> None:
        self._site, self._node, self._drivers, self._thread = where, node, drivers, thread
        self._devices, self._own, self._changed, self._asked = devices, own, changed, asked
        self._discovered = 0.0
        self._told: set[str] = set()
        self.looks = 0  # how often everybody was asked
        self.failures: tuple[str, ...] = ()  # of the last answers, a sentence each
        self._failed: dict[str, list[str]] = {}

    @property
    def complete(self) -> bool:
        """Whether everybody was asked once."""
        return self.looks > 0

    async def run(self) -> None:
        """For ever."""
        while True:
            if not self.complete or time.monotonic() - self._discovered >= self._own.discover_every:
                await self._discover()
            await self._look()
            self.looks += 1
            self._changed()
            await asyncio.sleep(self._own.health_every)

    async def _discover(self) -> None:
        found = await self._ask("discover", lambda: site.discover(self._site, self._drivers, self._node))
        self._discovered = time.monotonic()
        self._devices.found(found, self._discovered)
        self._note("discover", found.failures)

    async def _look(self) -> None:
        inventories = self._devices.inventories
        said = await self._ask("health", lambda: self._health(inventories))
        for kind, reasons, failures in said:
            if not failures:
                self._devices.told(kind, reasons, time.monotonic())
        self._note("health", [failure for _, _, failures in said for failure in failures])

    def _health(self, inventories: Sequence[DeviceInventory]) -> list[Said]:
        return [(one.kind, *site.health(self._site, self._drivers, one)) for one in inventories]

    async def _ask(self, what: str, question: Callable[[], T]) -> T:
        begun = time.monotonic()
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, question)
        self._asked(what, time.monotonic() - begun)
        return answer

    def _note(self, what: str, failures: Iterable[Failure]) -> None:
        """Tell what fails once, for as long as it does."""
        self._failed[what] = [str(failure) for failure in failures]
        self.failures = tuple(dict.fromkeys(text for several in self._failed.values() for text in several))
        for text in self.failures:
            if text not in self._told:
                _log.warning("a driver or device fails", extra={"error": text})
        self._told = set(self.failures)
