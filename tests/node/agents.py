"""The agent in this process, with all its parts: a vendor that exists only here, its drivers, and a cluster of one node."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field

from hami_core import hookimpl, names, plugins, site, wire
from hami_core.model import Capacity, Device, DeviceInventory, Kind, Mounts, NodeDevices, Resources
from hami_core.node.agent import Agent, Running, Threads
from tests.local.acme import Here
from tests.node.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from hami_core.asking import Drivers
    from hami_core.kube.connection import Connection
    from hami_core.model import Share

NODE = "node-1"
PATH = f"/api/v1/nodes/{NODE}"
CARD = "acme.dev/card"
KIND = Kind("acme", Resources(CARD, memory="acme.dev/mem"), "ACME_VISIBLE")
KEY = names.inventory_key("acme")
QUICK = {
    "devicePlugin.healthCheckSeconds": 0.05,
    "devicePlugin.healthSettleSeconds": 0.2,
    "devicePlugin.discoverySeconds": 0.05,
    "devicePlugin.metricsBindAddress": "127.0.0.1:0",
}


@define(eq=False)
class Vendor:
    """Its cards by id with their MiB, the sick with their reasons, and what its driver does instead of answering."""

    cards: dict[str, int] = field(factory=lambda: {"card-0": 8000, "card-1": 8000})
    sick: dict[str, str] = field(factory=dict)
    faults: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    discovery_fails: Exception | None = None
    health_fails: Exception | None = None
    hang: threading.Event | None = None  # until which a question about health has no answer
    split_fails: Exception | None = None

    @hookimpl
    def hami_kinds(self) -> list[Kind]:
        return [KIND]

    @hookimpl
    def hami_discover(self) -> list[DeviceInventory]:
        if self.discovery_fails:
            raise self.discovery_fails
        devices = (Device(card, n, "Acme One", memory) for n, (card, memory) in enumerate(self.cards.items()))
        return [DeviceInventory("acme", tuple(devices), faults=self.faults)]

    @hookimpl
    def hami_check_health(self) -> dict[str, str]:
        if self.hang:
            self.hang.wait()
        if self.health_fails:
            raise self.health_fails
        return dict(self.sick)

    @hookimpl
    def hami_split(self, inventory: DeviceInventory) -> list[Capacity]:
        if self.split_fails:
            raise self.split_fails
        return [Capacity(one.id, one.model, 2, one.memory, one.memory, healthy=not one.sick) for one in inventory.devices]

    @hookimpl
    def hami_mounts(self, kind: Kind) -> Mounts:
        return Mounts(env=((kind.visible_env, kind.hidden),), preload=self.preload)


@define(eq=False)
class World:
    """What outlives an agent."""

    folder: Path  # short: there are sockets in it
    vendor: Vendor = field(factory=Vendor)
    cluster: Cluster = field(factory=Cluster)

    def __attrs_post_init__(self) -> None:
        self.put_node()

    def put_node(self, uid: str = "node-uid", **annotations: str) -> None:
        meta = {"name": NODE, "uid": uid, "annotations": annotations, "labels": {"zone": "a"}}
        self.cluster.put(PATH, {"metadata": meta})

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Of the node's object."""
        found: Mapping[str, Any] = self.cluster.objects[PATH]["metadata"]
        return found

    @property
    def published(self) -> NodeDevices | None:
        text = self.metadata["annotations"].get(KEY)
        return None if text is None else wire.decode(NodeDevices, text, KEY)

    def schedulable(self) -> set[str] | None:
        """By the annotation."""
        published = self.published
        if published is None:
            return None
        return {one.device for _, several in published.capacities for one in several if one.healthy}

    def node_writes(self) -> int:
        return len([one for one in self.cluster.writes if one.path == PATH])

    def events(self) -> list[Mapping[str, Any]]:
        return [one.body for one in self.cluster.writes if "/events/" in one.path]


def paths(folder: Path) -> dict[str, str]:
    """The settings by which everything lies in one folder."""
    own = {"devicePlugin.hostFolder": folder / "host", "devicePlugin.podResourcesPath": folder / "books"}
    return {"devicePlugin.pluginPath": str(folder), **{path: str(value) for path, value in own.items()}}


def site_of(vendor: Vendor, folder: Path, **more: object) -> site.Site:
    found = plugins.Found("acme", "acme", "1", lambda: vendor)
    agents = plugins.Found("node", "hami-core", "1", lambda: __import__("hami_core.node.plugin", fromlist=["plugin"]))
    values = {**QUICK, **paths(folder), **more}
    loaded = plugins.load([found, agents], block="")
    assert not loaded.failures
    return site.settle(loaded, [("test", values)], None, folder, NODE)


@asynccontextmanager
async def an_agent(world: World, **more: object) -> AsyncIterator[Running]:
    """All parts at work. What one of them fails by is raised in the end."""
    where = site_of(world.vendor, world.folder, **{key.replace("__", "."): value for key, value in more.items()})
    async with parts(world, where, cast("Drivers", Here(where.plugins, 1.0))) as running:
        yield running


@asynccontextmanager
async def parts(world: World, where: site.Site, drivers: Drivers) -> AsyncIterator[Running]:
    """All parts at work on any site."""
    agent = Agent(where, NODE, drivers, lambda: cast("Connection", world.cluster))
    with ThreadPoolExecutor(1) as asking, ThreadPoolExecutor(1) as writing, ThreadPoolExecutor(2) as filing:
        running = Running(agent, Threads(asking, writing, filing), asyncio.Event())
        try:
            await running.start()
            yield running
        finally:
            await running.stop()
    if running.fault is not None:
        raise running.fault


async def eventually(is_so: Callable[[], object], seconds: float = 10) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


async def unchanged(running: Running, what: Callable[[], object], looks: int = 6) -> None:
    """That it stays the same while the drivers are asked so many times."""
    before, asked = what(), running.looking.looks
    await eventually(lambda: running.looking.looks >= asked + looks)
    assert what() == before


def offered(running: Running) -> dict[str, bool]:
    """Token -> healthy, as the kubelet is told."""
    return {one.token: one.healthy for one in running.offers.current(CARD).devices} if running.offers.resources() else {}


def a_pod(name: str, *shares: Share, phase: str = "Running", begun: str | None = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """A pod that is bound to the node, with these shares."""
    uid = f"uid-{name}"
    grants = {one.container: [other for other in shares if other.container == one.container] for one in shares}
    annotations = {
        names.grant_key(container): wire.limits_text(names.grant_id(uid, container), several, ())
        for container, several in grants.items()
    }
    return {
        "metadata": {"name": name, "namespace": "team", "uid": uid, "annotations": annotations},
        "spec": {"containers": [{"name": container} for container in [*grants] or ["main"]]},
        "status": {"phase": phase, **({"startTime": begun} if begun else {})},
    }


def pod_path(name: str) -> str:
    return f"/api/v1/pods/team/{name}"
