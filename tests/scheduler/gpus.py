"""A small cluster of real models of GPUs, as docs/explain.md has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import names, plugins, settings, site, wire
from hami_core.kube.objects import Meta, Node
from hami_core.model import Device, DeviceInventory
from hami_scheduler.cluster import Cluster
from tests.scheduler.world import Clock, World, version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings

T4, A100 = ("Tesla T4", 15360), ("NVIDIA A100-SXM4-40GB", 40960)


def a_cluster(nodes: Mapping[str, tuple[tuple[str, int], ...]], cordoned: Mapping[str, str]) -> World:
    """Nodes by name with their GPUs; ``cordoned``: the annotation of nodes that have one."""
    loaded = plugins.load(block="mock")
    found = settings.resolve(plugins.settings_classes(loaded), [])
    catalogue = plugins.catalogue(loaded, found)
    cluster = Cluster(loaded.hook, catalogue, found, now=Clock())
    cluster.nodes_replaced([_node(loaded, catalogue, found, name, gpus, cordoned) for name, gpus in nodes.items()])
    cluster.pods_replaced([])
    cluster.quotas_replaced([])
    return World(cluster)


def _node(
    loaded: Plugins,
    catalogue: Catalogue,
    found: Settings,
    name: str,
    gpus: tuple[tuple[str, int], ...],
    cordoned: Mapping[str, str],
) -> Node:
    devices = [Device(f"GPU-{name}-{index}", index, model, memory) for index, (model, memory) in enumerate(gpus)]
    offered = site.offered(loaded, catalogue, found, DeviceInventory("nvidia", tuple(devices)))
    own = {names.inventory_key("nvidia"): wire.encode(offered)}
    if name in cordoned:
        own[names.DEVICE_CORDON] = cordoned[name]
    return Node(Meta(name=name, uid=f"node-{name}", annotations=own, resource_version=version()))


def a_pod(name: str, namespace: str = "default", annotations: Mapping[str, str] | None = None, **limits: int) -> dict[str, Any]:
    """A pod of the cluster, prepared, that asks by the ends of NVIDIA's names."""
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": version()}
    container = {
        "name": "main",
        "resources": {"limits": {f"nvidia.com/{knob.replace('_', '-')}": str(value) for knob, value in limits.items()}},
    }
    labels = {names.PREPARED: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**meta, "labels": labels, "annotations": dict(annotations or {})},
        "spec": {"schedulerName": "hami-scheduler", "containers": [container]},
    }
