"""``hami node serve``: the parts put together, started and ended.

One loop owns all state. Drivers are asked in a child process through a thread of its own; reflectors run in threads and hand
their batches to the loop; writes and work on files have small pools. Killing the process at any time loses nothing: what there
is is found again, what was published stands, and containers keep what they were given.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hami_core.kube.backoff import Backoff, Pace
from hami_core.kube.objects import Node
from hami_core.kube.reflector import Reflector
from hami_core.kube.watches import Source, Watches
from hami_core.node import comparing, devices, info, inventory, kubelet, metrics
from hami_core.node.allocation import Allocation
from hami_core.node.devices import Devices
from hami_core.node.housekeeping import Housekeeping
from hami_core.node.looking import Looking
from hami_core.node.offers import Offers
from hami_core.node.own_node import OwnNode
from hami_core.node.podresources import PodResources
from hami_core.node.pods import NodePod, Pods
from hami_core.node.preparing import Preparation
from hami_core.node.publishing import Publisher
from hami_core.node.regions import Regions
from hami_core.node.settings import AgentSettings
from hami_core.node.telling import Teller
from hami_core.serving import logs
from hami_core.serving.server import Address, Server, ending

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from hami_core.asking import Drivers
    from hami_core.kube.connection import Connection
    from hami_core.kube.objects import Meta
    from hami_core.node.offers import Offer
    from hami_core.site import Site

PACE = Pace(first=0.2, cap=15.0)
"""After a failure of the API server: there is an agent on every node, and when it is back all of them are there at once."""

TICK = 1.0
"""Seconds between looks at what runs out by itself."""

COMPARE = 30.0
"""Seconds between two looks into the kubelet's books."""

_log = logging.getLogger("hami_core.node")


@frozen(eq=False)
class Agent:
    """What one process is told. ``connect`` finds the way to the API server; it takes half a second and may raise UserError."""

    site: Site
    node: str
    drivers: Drivers
    connect: Callable[[], Connection]

    @property
    def own(self) -> AgentSettings:
        """The agent's settings."""
        return self.site.settings[AgentSettings]

    async def serve(self) -> None:
        """Until SIGTERM or SIGINT."""
        stop = ending()
        with (
            ThreadPoolExecutor(1, "drivers") as asking,
            ThreadPoolExecutor(1, "write") as writing,
            ThreadPoolExecutor(2, "files") as filing,
        ):
            running = Running(self, Threads(asking, writing, filing), stop)
            try:
                await running.start()
                await stop.wait()
            finally:
                await running.stop()
                self.drivers.close()  # a question that hangs is not waited for
        if running.fault is not None:
            raise running.fault


@frozen
class Threads:
    """Where what blocks is done."""

    asking: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    filing: ThreadPoolExecutor


class Running:
    """The parts of one process, on the loop that it is made in."""

    def __init__(self, agent: Agent, threads: Threads, end: asyncio.Event) -> None:
        own, node, folder = agent.own, agent.node, Path(agent.own.host_folder)
        self.fault: BaseException | None = None
        self.standing = devices.Standing()
        self._agent, self._threads, self._end = agent, threads, end
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.work = metrics.Work()
        self._devices = Devices(agent.site, own.settle, own.silence)
        self._met = False  # what the node's object said before we began is known
        self._wanted: devices.Standing | None = None  # what the publisher was given last
        self.pods, self.offers = Pods(), Offers()
        self.own_node = OwnNode(self._seen)
        regions = Regions(folder / "regions")
        self.preparation = Preparation(agent.site, folder, regions)
        self.housekeeping = Housekeeping(
            folder, regions, self.preparation, self.pods, self._offered, threads.filing, self.work.removed.inc
        )
        self.publisher = Publisher(node, threads.writing, partial(self.work.wrote, "node"), Backoff(PACE))
        self.teller = Teller(node, threads.writing, partial(self.work.wrote, "event"))
        self.looking = Looking(
            agent.site, node, agent.drivers, threads.asking, self._devices, own, self._look_at, self.work.asked
        )
        allocation = Allocation(agent.site, self.preparation, self.pods, threads.filing, self.work)
        self.books = PodResources(Path(own.pod_resources) / kubelet.KUBELET)
        self.compared: dict[str, comparing.Compared] = {}
        self.kubelet = kubelet.Kubelet(Path(own.plugin_path), self.offers, allocation, self.books)
        self.watches: Watches | None = None
        self.work.registry.register(metrics.Standing(self))
        self.info = Server(info.app(self.work, self.ready, self.dead), Address.parse(own.info_address))

    # --- Its life. ---

    async def start(self) -> None:
        """Listen, and ask the drivers while the way to the API server is found. UserError: there is none."""
        await self.info.start()
        _log.info("serving", extra={"info": str(self.info.address), "node": self._agent.node})
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads.filing, self.preparation.install)
        self._begin("drivers", self.looking.run())
        self._begin("kubelet", self.kubelet.run())
        connection = await loop.run_in_executor(self._threads.writing, self._agent.connect)
        self.watches = Watches(self._lists(connection), self._broken)
        self.watches.begin()
        self._begin("publisher", self.publisher.run(connection))
        self._begin("events", self.teller.run(connection))
        self._begin("clock", self._watch_the_clock())
        self._begin("files", self.housekeeping.run())
        self._begin("books", self._compare())
        _settle_memory()

    async def stop(self) -> None:
        """What is published stays. The kubelet counts our devices as sick until somebody serves them again."""
        _log.info("ending")
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self.watches is not None:
            self.watches.close()
        await self.books.close()
        await self.info.stop(0.1)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._left)
        self._tasks[name] = task

    def _left(self, task: asyncio.Task[None]) -> None:
        """What runs here runs to the end: without it something would silently not be done."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken(error)

    def _broken(self, error: BaseException) -> None:
        _log.critical("ending: a part has failed", exc_info=error)
        self.fault = self.fault or error
        self._end.set()

    # --- What is watched. ---

    def _lists(self, connection: Connection) -> list[Source[Any]]:
        node = self._agent.node

        def reflector(path: str, shape: type[Any], field: str) -> Callable[[Any], Any]:
            return lambda sink: Reflector(connection, path, shape, sink, field_selector=field, backoff=Backoff(PACE))

        nodes = reflector("/api/v1/nodes", Node, f"metadata.name={node}")
        pods = reflector("/api/v1/pods", NodePod, f"spec.nodeName={node}")
        return [
            Source("node", nodes, self.own_node.replaced, self.own_node.changed),
            Source("pods", pods, self.pods.replaced, self.pods.changed),
        ]

    def _seen(self, meta: Meta | None) -> None:
        self._meet()
        self.publisher.seen(meta)

    def _meet(self) -> None:
        """Once everybody was asked, and the node's object is there: what it said before we began."""
        if not self._met and self.looking.complete and self.own_node.is_there:
            self._met = True
            self._devices.remember(self.own_node.annotations, time.monotonic())
            self._look_at()

    # --- Devices. ---

    def _look_at(self) -> None:
        """What is offered now, told to everybody who has to know."""
        self._meet()
        before, now = self.standing, self._devices.standing(time.monotonic())
        self.standing = now
        if now is not before:
            self._offer(before, now)
            self._tell(devices.changes(before, now))
        if self._met and now is not self._wanted:
            self._wanted = now
            self.publisher.want(inventory.marks(now.offered))

    def _offer(self, before: devices.Standing, now: devices.Standing) -> None:
        catalogue = self._agent.site.catalogue
        for kind, found in now.offered.items():
            self.offers.put(inventory.offer(catalogue.kind(kind), found))
        for kind in before.offered.keys() - now.offered.keys():
            self.offers.retire(catalogue.kind(kind).resources.count)

    def _tell(self, changed: list[devices.Change]) -> None:
        for one in changed:
            level = logging.WARNING if one.reason else logging.INFO
            _log.log(level, "device", extra={"kind": one.kind, "device": one.device, "sick": one.reason})
            for pod in self.pods.holders(one.kind, one.device):
                self.teller.tell(pod.metadata, one)

    # --- What runs beside. ---

    async def _watch_the_clock(self) -> None:
        """Silence, and time to settle, run out without anybody saying so, also while a question hangs."""
        while True:
            await asyncio.sleep(TICK)
            if self.looking.complete:
                self._look_at()

    async def _compare(self) -> None:
        """What the kubelet's books say of containers with what they were granted, for metrics."""
        resources = {kind.name: kind.resources.count for kind in self._agent.site.catalogue.kinds}
        while True:
            held = await self.books.held()
            if held is not None and self.pods.complete:
                self.compared = comparing.compared(self.pods.granted(), held, resources)
            await asyncio.sleep(COMPARE)

    def _offered(self) -> dict[str, Offer]:
        """By kind."""
        kind = self._agent.site.catalogue.kind
        return {name: self.offers.current(kind(name).resources.count) for name in self.standing.offered}

    # --- What is asked from outside. ---

    @property
    def cordoned(self) -> Collection[str]:
        """The ids of the devices that are out of service."""
        return self.own_node.cordoned

    @property
    def standings(self) -> Mapping[str, kubelet.Standing]:
        """Of every resource with the kubelet."""
        return self.kubelet.standings

    def dead(self) -> list[str]:
        """The parts that have ended. That the API server or the kubelet is gone is no reason to be started anew."""
        watches = self.watches.health() if self.watches is not None else []
        return [name for name, task in self._tasks.items() if task.done()] + [one.name for one in watches if not one.alive]

    def ready(self) -> dict[str, Any]:
        """Everybody was asked, the node's object says so, the kubelet knows, and containers can be prepared."""
        resources = {name: one.failure if not one.registered else "registered" for name, one in self.standings.items()}
        parts = {
            "discovered": self.looking.complete,
            "node": self.own_node.is_there,
            "published": self.publisher.published,
            "registered": all(one.registered for one in self.standings.values()),
            "installed": not self.preparation.failure,
        }
        watches = self.watches.health() if self.watches is not None else []
        return {
            "ready": all(parts.values()),
            **parts,
            "resources": resources,
            "failures": [*self.looking.failures, *filter(None, (self.publisher.failure, self.preparation.failure))],
            "watches": {one.name: {"synced": one.synced, "silent": one.silent, "failure": one.failure} for one in watches},
        }


def _settle_memory() -> None:
    """What is loaded by now stays for long, and need not be looked through again and again."""
    gc.collect()
    gc.freeze()


def run(site: Site, node: str, drivers: Drivers, connect: Callable[[], Connection]) -> None:
    """In this process, until a signal ends it."""
    import uvloop

    logs.start("hami_core", level=site.settings[AgentSettings].log_level)
    for failure in site.catalogue.failures:
        _log.error("a plugin fails", extra={"error": str(failure)})
    uvloop.run(Agent(site, node, drivers, connect).serve())
