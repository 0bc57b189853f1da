"""``hami scheduler serve``: the parts put together, started and ended.

One loop owns all state. Reflectors run in threads and hand their batches to the loop; writes run in a small pool. Killing the
process at any time loses nothing: what is granted stands in the pods, and whoever starts next lists them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core.kube.objects import Lease, Node, Pod, ResourceQuota
from hami_core.kube.reflector import Reflector
from hami_core.kube.watches import Source, Watches
from hami_core.names import PREPARED
from hami_core.serving.server import Address, Server, ending
from hami_core.serving.tls import CertSwap, Files
from hami_core.sharing import CoreSettings
from hami_scheduler import auth, standins
from hami_scheduler.api import Api, leases
from hami_scheduler.binder import Binder, Patience
from hami_scheduler.claiming import Claims
from hami_scheduler.cluster import Cluster
from hami_scheduler.following import Follower
from hami_scheduler.info import Info
from hami_scheduler.leadership import Leadership
from hami_scheduler.metrics import Standing, Work
from hami_scheduler.notices import Notices
from hami_scheduler.record import Record
from hami_scheduler.server import Extender
from hami_scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pluggy import HookRelay

    from hami_core.kube.connection import Connection
    from hami_core.plugins import Catalogue
    from hami_core.settings import Settings
    from hami_scheduler.leadership import Leadership as Led

THREADS = 16
"""Bindings at a time. kube-scheduler binds in the background, many at once; a Binding takes milliseconds."""

ENDED = ("Succeeded", "Failed")

TICK = 1.0
"""Seconds between looks at what has run out."""

DEPTH = 12_000
"""Levels of a text that is decoded: the API server takes 10,000 of anybody. For twice as many there is no stack."""

_log = logging.getLogger("hami_scheduler")


@frozen(eq=False)
class Scheduler:
    """Everything that runs in one process."""

    hook: HookRelay
    catalogue: Catalogue
    settings: Settings
    connection: Connection

    @property
    def own(self) -> SchedulerSettings:
        """The scheduler's settings."""
        return self.settings[SchedulerSettings]

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT. What is in flight then is finished."""
        stop = ending()
        access = auth.access(self.own)
        with ThreadPoolExecutor(THREADS, "write") as writing, ThreadPoolExecutor(1, "notice") as noticing:
            running = Running(self, access, writing, noticing, stop)
            await running.start()
            await stop.wait()
            await running.stop()
        if running.fault is not None:
            raise running.fault


class Running:
    """The parts of one process, on the loop that it is made in."""

    def __init__(
        self,
        scheduler: Scheduler,
        access: auth.Access,
        writing: ThreadPoolExecutor,
        noticing: ThreadPoolExecutor,
        end: asyncio.Event,
    ) -> None:
        own, core = scheduler.own, scheduler.settings[CoreSettings]
        identity = own.identity or socket.gethostname()
        self.fault: BaseException | None = None
        self._end = end
        self._catalogue = scheduler.catalogue
        self.work = Work()
        self.cluster = Cluster(scheduler.hook, scheduler.catalogue, scheduler.settings, now=time.monotonic)
        api = Api(scheduler.connection, identity, core.scheduler_name, self.work.wrote)
        self.notices = Notices(api, noticing)
        self.record = Record(self.work, self.notices)
        self.lists = Watches(self._lists(scheduler.connection), self._broken)
        leadership, claims = Leadership(identity, secrets.token_hex(8)), Claims(api.claim, writing, self.record.not_claimed)
        self.follower = Follower(leadership, self.lists, claims, self._turned)
        self.lease = Watches([self._lease(scheduler.connection, core)], self._broken)
        patience = Patience(answer=own.timeout, arrive=own.timeout)  # by then the API server has given it up, too
        self.binder = Binder(self.cluster, api, writing, self.follower.term, self.notices.told, self.record, patience)
        self.work.registry.register(Standing(self.cluster, self.follower, self._health))
        self._tasks: list[asyncio.Task[None]] = []
        self._access = access
        self._tls = CertSwap(_files(access).read(), access.tls.client_ca.read_bytes()) if access.tls else None
        extender = Extender(self.cluster, self.binder, self.follower, self.record)
        self.extender = Server(extender.app(access), access.address, tls=self._tls)
        info = Info(self.follower, self.lists, self._health, self.work, self.cluster)
        self.info = Server(info.app(), Address.parse(own.metrics_address))

    async def start(self) -> None:
        """Listen, and begin to follow the Lease: all else comes from that."""
        await self.info.start()
        await self.extender.start()
        _log.info("serving", extra={"extender": str(self.extender.address), "info": str(self.info.address)})
        self.lease.begin()
        for work in (self.notices.run(), self._look_after()):
            self._begin(work)
        if self._access.tls:
            self._begin(self._renew())

    async def stop(self) -> None:
        """Take nothing new, finish what is in flight."""
        _log.info("ending", extra={"in_flight": self.binder.in_flight})
        await self.extender.stop(self.binder.patience.answer)
        await self.binder.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.lease.close()
        self.lists.close()
        await self.info.stop(0.1)

    # --- What is watched. ---

    def _lists(self, connection: Connection) -> list[Source[Any]]:
        cluster = self.cluster
        node, quota = partial(standins.node, self._catalogue), partial(standins.quota, self._catalogue)
        nodes = _reflector(connection, "/api/v1/nodes", Node, node)
        pods = _reflector(connection, "/api/v1/pods", Pod, standins.pod, label=f"{PREPARED}=true")
        quotas = _reflector(connection, "/api/v1/resourcequotas", ResourceQuota, quota)
        return [
            Source("nodes", nodes, cluster.nodes_replaced, self._nodes_changed),
            Source("pods", pods, self._pods_replaced, self._pods_changed),
            Source("resourcequotas", quotas, cluster.quotas_replaced, self._quotas_changed),
        ]

    def _lease(self, connection: Connection, core: CoreSettings) -> Source[Lease]:
        return Source(
            "lease",
            _reflector(connection, leases(core.namespace), Lease, standins.lease, field=f"metadata.name={core.scheduler_name}"),
            self.follower.lease_listed,
            self.follower.lease_changed,
        )

    def _nodes_changed(self, batch: list[tuple[str, Node]]) -> None:
        if self.cluster.nodes_changed(batch):
            self.notices.freed()

    def _pods_replaced(self, pods: list[Pod]) -> None:
        self.cluster.pods_replaced(pods)
        self.notices.keep({pod.metadata.uid for pod in pods if not pod.spec.node_name})

    def _pods_changed(self, batch: list[tuple[str, Pod]]) -> None:
        self.cluster.pods_changed(batch)
        for event, pod in batch:
            if event == "DELETED" or pod.spec.node_name:
                self.notices.forget(pod.metadata.uid)
            if event == "DELETED" or pod.status.phase in ENDED:
                self.notices.freed()

    def _quotas_changed(self, batch: list[tuple[str, ResourceQuota]]) -> None:
        """kube-scheduler does not watch quotas: who was refused because of one would wait for minutes."""
        self.cluster.quotas_changed(batch)
        self.notices.wake()

    def _broken(self, error: BaseException) -> None:
        """The books could not take what was watched, or nobody watches: whoever starts next makes them anew."""
        _log.critical("ending: the books are wrong, or will be", exc_info=error)
        self.follower.give_up()
        self.fault = self.fault or error
        self._end.set()

    def _turned(self, old: Led, new: Led) -> None:
        self.record.turned(old, new)
        if new.leading:
            _settle_memory()

    def _health(self) -> list[Any]:
        return [*self.lease.health(), *self.lists.health()]

    # --- What runs beside. ---

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._left)
        self._tasks.append(task)

    def _left(self, task: asyncio.Task[None]) -> None:
        """What runs beside runs to the end: without it holds would not end, or nobody would be told."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)

    async def _look_after(self) -> None:
        """Once a second: what has run out, and what has not been seen for too long."""
        while True:
            await asyncio.sleep(TICK)
            expired = self.cluster.expire()
            if expired:
                self.work.expired.inc(expired)
                self.notices.wake()
            if self.follower.term():
                await self.binder.look(self.cluster.doubts())

    async def _renew(self) -> None:
        """The certificate's files, when they are replaced."""
        while True:
            await asyncio.sleep(TICK)
            try:
                pair = _files(self._access).read()
                assert self._tls is not None
                self._tls.swap(pair)
            except Exception as error:  # half of a pair, for a moment
                _log.warning("the certificate cannot be used", extra={"error": str(error)})


def _files(access: auth.Access) -> Files:
    assert access.tls is not None
    return Files(access.tls.cert, access.tls.key)


def _reflector(
    connection: Connection,
    path: str,
    shape: type[Any],
    instead: Callable[[bytes, Exception], Any],
    label: str = "",
    field: str = "",
) -> Callable[[Any], Any]:
    """``instead``: what stands for an object that cannot be decoded."""
    return lambda sink: Reflector(connection, path, shape, sink, label_selector=label, field_selector=field, unreadable=instead)


def _settle_memory() -> None:
    """What the first lists brought stays for long; looking through it again and again would cost more than all decisions."""
    gc.collect()
    gc.freeze()


def run(scheduler: Scheduler) -> None:
    """In this process, until a signal ends it."""
    import uvloop

    gc.set_threshold(50_000, 20, 100)
    sys.setrecursionlimit(DEPTH)  # else one pod with deep managedFields would hide all others
    uvloop.run(scheduler.serve())
