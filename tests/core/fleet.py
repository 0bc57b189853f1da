"""Values for the core's tests, one call each; defaults are boring, so that what a test names is what matters to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hami_core import table
from hami_core.model import Capacity, Defaults, Device, DeviceInventory, Holding, Kind, Request, Resources, Share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hami_core.table import NodeTable

NAMES = Resources(
    count="acme.example/card",
    memory="acme.example/memory",
    memory_percent="acme.example/memory-percentage",
    cores="acme.example/cores",
    priority="acme.example/priority",
)
CARD, MEMORY, PERCENT, CORES, PRIORITY = NAMES.names()


def a_kind(name: str = "acme", resources: Resources = NAMES, **changes: Any) -> Kind:
    return Kind(name=name, resources=resources, visible_env=f"{name.upper()}_VISIBLE", **changes)


ACME = a_kind()
NO_COUNT = a_kind(defaults=Defaults(count=0))


def a_request(container: str = "main", **changes: Any) -> Request:
    if "percent" not in changes:
        changes.setdefault("memory", 3000)
    return Request(**{"container": container, "kind": "acme", "count": 1, **changes})


def a_capacity(device: str = "d0", memory: int = 8000, slots: int = 10, **changes: Any) -> Capacity:
    return Capacity(**{"device": device, "model": "One", "slots": slots, "memory": memory, "physical": memory, **changes})


def a_device(index: int = 0, **changes: Any) -> Device:
    return Device(**{"id": f"d{index}", "index": index, "model": "One", "memory": 8000, **changes})


def an_inventory(*devices: Device, kind: str = "acme") -> DeviceInventory:
    return DeviceInventory(kind, devices or (a_device(),))


def a_table(*nodes: Sequence[Capacity]) -> NodeTable:
    """A table of these nodes, named n0, n1 and so on."""
    return table.build([(f"n{n}", capacities) for n, capacities in enumerate(nodes)])


def a_row(*memory: int, used: Sequence[int] = (), **changes: Any) -> NodeTable:
    """A table of one node whose devices have so much memory, ``used`` of it taken by one task each."""
    row = a_table([a_capacity(f"d{w}", size, **changes) for w, size in enumerate(memory)])
    for w, amount in enumerate(used):
        row.take(0, w, 1 if amount else 0, amount, 0)
    return row


def a_share(device: str = "d0", container: str = "main", **changes: Any) -> Share:
    given = {"memory": 3000, "physical": 8000, "cores": 0, **changes}
    return Share(**{"container": container, "kind": "acme", "device": device, **given})


def a_holding(uid: str, *shares: Share) -> Holding:
    return Holding(uid, f"pod-{uid}", "default", shares or (a_share(),))


def a_container(name: str = "main", limits: object = None, **changes: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"limits": {CARD: 1} if limits is None else limits}, **changes}


def a_pod(
    *containers: dict[str, Any], inits: Sequence[dict[str, Any]] = (), annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "annotations": annotations or {}},
        "spec": {"initContainers": list(inits), "containers": list(containers) or [a_container()]},
    }
