"""A cluster in memory for tests: nodes, pods and quotas as the watches bring them, and a clock that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from hami_core import hookimpl, names, plugins, wire
from hami_core.kube.objects import Meta, Node, Pod, PodSpec, PodStatus, QuotaSpec, ResourceQuota
from hami_core.model import NodeDevices
from hami_core.settings import resolve
from hami_core.sharing import CoreSettings
from hami_scheduler.binding import Begun
from hami_scheduler.cluster import Cluster
from hami_scheduler.settings import SchedulerSettings
from tests.core.fleet import ACME, CARD, CORES, MEMORY, a_capacity, a_container, a_device, an_inventory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hami_core.model import Kind

TERM = "host_1/1"
KEY = names.inventory_key(ACME.name)


class Plugin:
    """One kind, everything else by the core's defaults."""

    @hookimpl
    def hami_kinds(self) -> list[Kind]:
        return [ACME]


@define
class Clock:
    """Seconds that pass when a test says so."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


def _versions() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_version = _versions()


def version() -> str:
    """Of the next change in the cluster."""
    return str(next(_version))


@frozen
class World:
    """A cluster with its clock."""

    cluster: Cluster
    clock: Clock = field(factory=Clock)

    def filter(self, pod: Mapping[str, Any], *nodes: str) -> tuple[str, ...]:
        return self.cluster.filter(pod, nodes).kept

    def begin(self, pod: Mapping[str, Any], node: str) -> Begun:
        begun = self.try_to_begin(pod, node)
        assert isinstance(begun, Begun), begun
        return begun

    def try_to_begin(self, pod: Mapping[str, Any], node: str) -> object:
        meta = pod["metadata"]
        return self.cluster.begin(meta["uid"], meta["namespace"], meta["name"], node, TERM)

    def used(self) -> dict[str, int]:
        """MiB that are taken, by node."""
        (sums,) = self.cluster.by_node()
        return dict(zip(sums.nodes, sums.memory_used.tolist(), strict=True))


def a_world(*nodes: Node, quotas: Sequence[ResourceQuota] = (), clock: Clock | None = None, **settings: object) -> World:
    """A cluster of these nodes; settings by path, dots as underscores (scheduler_extender_holdSeconds)."""
    clock = clock or Clock()
    loaded = plugins.load([plugins.Found("acme", "acme", "0", Plugin)], block="")
    layer = {path.replace("_", "."): value for path, value in settings.items()}
    found = resolve({"core": CoreSettings, "scheduler": SchedulerSettings}, [("test", layer)])
    cluster = Cluster(loaded.hook, plugins.catalogue(loaded, found), found, now=clock)
    cluster.nodes_replaced(nodes)
    cluster.pods_replaced([])
    cluster.quotas_replaced(quotas)
    return World(cluster, clock)


def published(name: str, *memory: int, slots: int = 10, kind: str = ACME.name) -> str:
    """What a node publishes: devices <name>-d0 and so on of so many MiB each."""
    devices = [a_device(w, id=f"{name}-d{w}", memory=size) for w, size in enumerate(memory)]
    offered = tuple(a_capacity(f"{name}-d{w}", size, slots=slots) for w, size in enumerate(memory))
    return wire.encode(NodeDevices(an_inventory(*devices, kind=kind), (("share", offered),)))


def a_node(name: str = "n0", *memory: int, annotations: Mapping[str, str] | None = None, slots: int = 10) -> Node:
    """A node whose devices have so many MiB; one of 8000 if nothing is said."""
    own = {KEY: published(name, *(memory or (8000,)), slots=slots)} if annotations is None else dict(annotations)
    return Node(Meta(name=name, uid=f"node-{name}", annotations=own, resource_version=version()))


def a_pod(
    uid: str = "a", *containers: dict[str, Any], memory: int = 3000, cores: int = 0, namespace: str = "default", **changes: Any
) -> dict[str, Any]:
    """A pod as kube-scheduler sends it, prepared: one container that asks for a share of one device."""
    limits = {CARD: 1, MEMORY: memory, **({CORES: cores} if cores else {})}
    meta: dict[str, Any] = {"uid": uid, "name": f"pod-{uid}", "namespace": namespace, "resourceVersion": version()}
    meta["labels"] = {names.PREPARED: "true"}
    spec = {"containers": list(containers) or [a_container(limits=limits)], **changes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def seen(
    pod: Mapping[str, Any],
    node: str = "",
    annotations: Mapping[str, str] | None = None,
    *,
    phase: str = "Pending",
    label: str = "true",
    at: str = "",
) -> Pod:
    """The pod as the watch shows it."""
    meta = pod["metadata"]
    return Pod(
        Meta(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            resource_version=at or version(),
            labels={names.PREPARED: label},
            annotations=dict(annotations or {}),
        ),
        PodSpec(node_name=node),
        PodStatus(phase=phase),
    )


def a_quota(name: str = "quota", namespace: str = "default", **hard: str) -> ResourceQuota:
    """A quota of acme's resources: limits_memory="30k"."""
    resources = {"memory": MEMORY, "cores": CORES, "card": CARD}
    keys = {f"{prefix}.{resources[role]}": text for what, text in hard.items() for prefix, role in [what.split("_")]}
    return ResourceQuota(Meta(name=name, namespace=namespace, resource_version=version()), QuotaSpec(hard=keys))
