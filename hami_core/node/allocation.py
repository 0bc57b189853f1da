"""What the device plugins ask of the agent: how a container is prepared, and who waits for devices."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from hami_core.model import Kind, Mounts
    from hami_core.node.metrics import Work
    from hami_core.node.pods import Pods
    from hami_core.node.preparing import Preparation
    from hami_core.node.tokens import Token
    from hami_core.site import Site


class Allocation:
    """Answers on the loop; work on files is done in ``filing``, so that a slow disk keeps nobody else."""

    def __init__(
        self,
        where: Site,
        preparation: Preparation,
        pods: Pods,
        filing: Executor,
        work: Work,
    ) -> None:
        self._site, self._preparation, self._pods = where, preparation, pods
        self._filing, self._work = filing, work

    def kind(self, name: str) -> Kind:
        """The kind of that name."""
        return self._site.catalogue.kind(name)

    async def mounts(self, kind: Kind, taken: Sequence[Token]) -> Mounts:
        """What a container with these tokens is given. OSError or HamiError: it must not start."""
        begun, outcome = time.monotonic(), "refused"
        try:
            loop = asyncio.get_running_loop()
            mounts = await loop.run_in_executor(self._filing, self._preparation.prepare, kind.name, taken)
            outcome = "ok"
        finally:
            self._work.prepared.labels(kind.name, outcome).observe(time.monotonic() - begun)
        self._pods.served(kind.name, taken)
        return mounts

    def waiting(self, kind: Kind) -> Iterable[Sequence[str]]:
        """The devices of each container that was granted some of the kind and has no token yet; the oldest first."""
        return self._pods.waiting(kind.name)
