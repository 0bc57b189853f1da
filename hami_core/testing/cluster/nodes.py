"""Simulated nodes: Node objects that publish devices of any kind whose plugin is loaded, as a node agent would.

simulated = Simulated()
publish(plane.api(), simulated, [simulated.node(f"node-{n}", devices=8, model="NVIDIA A100", memory=40960) for n in range(12)])
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, uuid5

from attrs import evolve, field, frozen

from hami_core import names, plugins, settings, site, wire
from hami_core.errors import UserError
from hami_core.model import Device, DeviceInventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hami_core.plugins import Catalogue, Plugins
    from hami_core.settings import Settings
    from hami_core.testing.cluster.api import Api

NODES = "/api/v1/nodes"
UNKNOWN = "architecture bootID containerRuntimeVersion kernelVersion kubeProxyVersion machineID osImage systemUUID".split()
KIND, MODEL, MEMORY, DEVICES = "nvidia", "Tesla T4", 15360, 8  # of a node about which nothing else is said


def fake_inventory(kind: str, model: str, memory: int, devices: int, node: str) -> DeviceInventory:
    """Devices of one model, half of them on each of two NUMA nodes; ids are unique in a cluster, and the same every time."""
    return DeviceInventory(kind, tuple(_device(f"{n}.{kind}.{node}", model, memory, n, devices) for n in range(devices)))


def _device(seed: str, model: str, memory: int, n: int, of: int) -> Device:
    return Device(
        id=f"GPU-{uuid5(NAMESPACE_DNS, seed)}",
        index=n,
        model=model,
        memory=memory,
        numa=0 if n < (of + 1) // 2 else 1,
        bus=f"00000000:{n + 1:02x}:00.0",
    )


@frozen
class FakeNode:
    """A node and what is on it."""

    name: str
    inventories: tuple[DeviceInventory, ...]
    labels: Mapping[str, str] = field(factory=dict)
    annotations: Mapping[str, str] = field(factory=dict)
    cpu: str = "64"
    memory: str = "512Gi"
    pods: int = 250

    def sick(self, *devices: str, why: str = "reported sick") -> FakeNode:
        """The same node, with these devices sick, by id."""
        return evolve(self, inventories=tuple(_sick(one, devices, why) for one in self.inventories))

    def without(self, *devices: str) -> FakeNode:
        """The same node, these devices gone, by id."""
        return evolve(self, inventories=tuple(_without(one, devices) for one in self.inventories))

    def cordoned(self, *devices: str) -> FakeNode:
        """The same node, with these devices taken out of service by annotation."""
        return evolve(self, annotations={**self.annotations, names.DEVICE_CORDON: ",".join(devices)})

    @property
    def devices(self) -> tuple[str, ...]:
        """The ids of all devices."""
        return tuple(device.id for one in self.inventories for device in one.devices)


def _sick(inventory: DeviceInventory, ids: Iterable[str], why: str) -> DeviceInventory:
    return evolve(inventory, devices=tuple(evolve(one, sick=why) if one.id in ids else one for one in inventory.devices))


def _without(inventory: DeviceInventory, ids: Iterable[str]) -> DeviceInventory:
    return evolve(inventory, devices=tuple(one for one in inventory.devices if one.id not in ids))


class Simulated:
    """Nodes as the plugins that are loaded would publish them, under these settings."""

    def __init__(self, found: Plugins | None = None, decided: Settings | None = None) -> None:
        self.plugins = found or plugins.load()
        self.settings = decided or settings.resolve(plugins.settings_classes(self.plugins), ())
        self.catalogue: Catalogue = plugins.catalogue(self.plugins, self.settings)

    def node(
        self, name: str, *, kind: str = KIND, model: str = MODEL, memory: int = MEMORY, devices: int = DEVICES, **more: Any
    ) -> FakeNode:
        """A node with devices of one model. ``more``: fields of FakeNode. UserError: no plugin has devices of this kind."""
        if kind not in (kinds := [one.name for one in self.catalogue.kinds]):
            raise UserError(
                f"{kind}: no plugin that is loaded has devices of this kind; there are {', '.join(kinds) or 'none'}"
            )
        return FakeNode(name, (fake_inventory(kind, model, memory, devices, name),), **more)

    def annotations(self, node: FakeNode) -> dict[str, str]:
        """What the node publishes."""
        return {**node.annotations, **{names.inventory_key(one.kind): self._published(one)[0] for one in node.inventories}}

    def allocatable(self, node: FakeNode) -> dict[str, str]:
        """What its kubelet would count: tokens of each kind beside cpu, memory and pods."""
        counts = {self.catalogue.kind(one.kind).resources.count: str(self._published(one)[1]) for one in node.inventories}
        return {"cpu": node.cpu, "memory": node.memory, "pods": str(node.pods), **counts}

    def _published(self, inventory: DeviceInventory) -> tuple[str, int]:
        """The annotation and the tokens. By a template, as 5,000 nodes are alike but for the ids of their devices."""
        if inventory.links:
            return self._offered(inventory)
        ids = [f"device-{n}-of-the-template" for n, _ in enumerate(inventory.devices)]
        alike = evolve(inventory, devices=tuple(evolve(one, id=new) for one, new in zip(inventory.devices, ids, strict=True)))
        text, tokens = self._offered(alike)
        for device, placeholder in zip(inventory.devices, ids, strict=True):
            text = text.replace(placeholder, device.id)
        return text, tokens

    @lru_cache(maxsize=64)  # noqa: B019  # lives as long as a test's control plane
    def _offered(self, inventory: DeviceInventory) -> tuple[str, int]:
        offered = site.offered(self.plugins, self.catalogue, self.settings, inventory)
        tokens = sum(one.slots for _, capacities in offered.capacities for one in capacities if one.healthy)
        return wire.encode(offered), tokens

    def manifest(self, node: FakeNode) -> dict[str, Any]:
        """The Node object, ready from its first moment: the API server keeps the status of a node that is created."""
        allocatable = self.allocatable(node)
        labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", **node.labels}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": labels, "annotations": self.annotations(node)},
            "status": {
                "allocatable": allocatable,
                "capacity": allocatable,
                "phase": "Running",
                "nodeInfo": {**dict.fromkeys(UNKNOWN, ""), "kubeletVersion": "simulated", "operatingSystem": "linux"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Simulated", "message": "simulated"}],
            },
        }


def publish(api: Api, simulated: Simulated, nodes: Iterable[FakeNode]) -> None:
    """Create these nodes, over several connections."""
    api.each(lambda node: api.send("POST", NODES, json.dumps(simulated.manifest(node)).encode()), nodes)


def update(api: Api, simulated: Simulated, *nodes: FakeNode) -> None:
    """What has changed of nodes that are there: what they publish, and what their kubelets count."""
    for node in nodes:
        path = f"{NODES}/{node.name}"
        gone = {names.DEVICE_CORDON: None, **simulated.annotations(node)}
        api.merge(path, {"metadata": {"annotations": gone, "labels": dict(node.labels)}})
        allocatable = simulated.allocatable(node)
        api.merge(f"{path}/status", {"status": {"allocatable": allocatable, "capacity": allocatable}})


def remove(api: Api, *nodes: str) -> None:
    """Take nodes away; with none named, all."""
    if not nodes:
        api.delete(NODES)
    for name in nodes:
        api.delete(f"{NODES}/{name}")
