"""The other port: metrics, whether we are well, and what would become of a pod. Reading only; nothing here decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from hami_core.errors import HamiError
from hami_core.serving.exchange import Answer, Refusal, Routes
from hami_scheduler import metrics, shape
from hami_scheduler.leadership import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hami_core.kube.watches import Health, Watches
    from hami_core.serving.exchange import App
    from hami_scheduler.cluster import Cluster
    from hami_scheduler.following import Follower
    from hami_scheduler.metrics import Work

LARGEST = 4 << 20
"""Bytes of a pod's manifest: the API server takes less."""


class Info:
    """What can be asked."""

    def __init__(
        self,
        follower: Follower,
        lists: Watches,
        health: Callable[[], Iterable[Health]],
        work: Work,
        cluster: Cluster,
    ) -> None:
        self._follower, self._lists, self._health = follower, lists, health
        self._work, self._cluster = work, cluster

    def app(self) -> App:
        """The ASGI application."""
        return Routes(
            {
                "/metrics": {"GET": self.metrics},
                "/metrics/devices": {"GET": self.devices},
                "/healthz": {"GET": self.healthz},
                "/readyz": {"GET": self.readyz},
                "/explain": {"POST": self.explain},
            },
            LARGEST,
        )

    async def metrics(self, _: bytes) -> Answer:
        """Counters, and sums by node and namespace."""
        return Answer(await metrics.page(self._work, self._cluster), content_type=metrics.CONTENT_TYPE)

    async def devices(self, _: bytes) -> Answer:
        """Every device."""
        return Answer(await metrics.devices(self._cluster), content_type=metrics.CONTENT_TYPE)

    async def healthz(self, _: bytes) -> Answer:
        """The loop answers, and nobody who watches has died. That the API server is gone is no reason to be started anew."""
        dead = [one.name for one in self._health() if not one.alive]
        return Answer(orjson.dumps({"dead": dead}), 500 if dead else 200)

    async def readyz(self, _: bytes) -> Answer:
        """Whether the lists are complete. A standby is ready too: a Deployment waits for it, and leading is no readiness.

        Who is superseded is not: it stands where another one answers.
        """
        state = self._follower.state
        ready = self._lists.complete and state.phase in {Phase.STANDBY, Phase.LEADING}
        watches = {one.name: {"synced": one.synced, "silent": one.silent, "failure": one.failure} for one in self._health()}
        stands = {"ready": ready, "phase": state.phase.value, "term": state.term, "holder": state.holder}
        told = {**stands, "failure": self._follower.failure, "watches": watches}
        return Answer(orjson.dumps(told), 200 if ready else 503)

    async def explain(self, body: bytes) -> Answer:
        """What would become of this pod now."""
        if not self._lists.complete:
            raise Refusal(503, "the lists are not complete yet")
        try:
            return Answer(orjson.dumps(self._cluster.explain(_manifest(body))))
        except HamiError as error:
            raise Refusal(422, str(error)) from error


def _manifest(body: bytes) -> dict[str, Any]:
    try:
        pod = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_manifest(str(error)) from error
    if why := shape.fault(pod):
        raise _no_manifest(why)
    return pod


def _no_manifest(why: str) -> Refusal:
    return Refusal(400, f"a Pod's manifest in JSON is asked for: {why}")
