"""The files on the node, looked after once a minute: what is missing is put back, and what belongs to nobody any more goes."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from hami_core.node import files, regions, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from hami_core.node.offers import Offer
    from hami_core.node.pods import Pods
    from hami_core.node.preparing import Preparation
    from hami_core.node.regions import Regions

EVERY: Final = 60.0  # seconds

_log = logging.getLogger(__name__)


class Housekeeping:
    """Of one node. Nothing is removed before all its pods are known.

    ``offered``: what the kubelet is offered now, by kind. ``removed`` is told how many files went.
    """

    def __init__(
        self,
        folder: Path,
        kept: Regions,
        preparation: Preparation,
        pods: Pods,
        offered: Callable[[], Mapping[str, Offer]],
        filing: Executor,
        removed: Callable[[int], None],
    ) -> None:
        self._folder, self._regions, self._preparation, self._pods = folder, kept, preparation, pods
        self._offered, self._filing, self._removed = offered, filing, removed

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)
            await self.once()

    async def once(self, young: float = regions.YOUNG) -> None:
        """Now."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._filing, self._preparation.install)
        if self._pods.complete:
            self._removed(await loop.run_in_executor(self._filing, self._clean(young)))

    def _clean(self, young: float) -> Callable[[], int]:
        """What is to be removed by what is known now: done in a thread, which has its own copy of that."""
        live, oldest, version = self._pods.regions(), self._pods.oldest(time.time()), self._preparation.version
        offers = self._offered()

        def clean() -> int:
            known = {kind: {tokens.parse(one.token) for one in offer.devices} for kind, offer in offers.items()}
            if version is not None and (gone := files.remove_old(self._folder, version, oldest)):
                _log.info("old versions are removed", extra={"versions": gone})
            return self._regions.sweep(live, known, young)

        return clean
