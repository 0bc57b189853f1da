"""What a node's devices come to: what its object says of them, and what the kubelet is offered. Pure.

Two readers have to agree: the scheduler counts by the annotation, kube-scheduler by the tokens that the kubelet advertises. So
both are made from the same devices, here. A device that is sick stays in both lists, marked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import evolve

from hami_core import names, wire
from hami_core.errors import WireError
from hami_core.model import NodeDevices
from hami_core.node.offers import Advertised, Offer
from hami_core.node.publishing import Marks
from hami_core.node.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hami_core.model import Capacity, DeviceInventory, Kind

_LABEL = 63  # letters that a label's value may have
MIXED = "mixed"  # the model of a node that has several


def marks(devices: Mapping[str, NodeDevices]) -> Marks:
    """The annotations and labels of a node with these devices, by kind."""
    annotations = {names.inventory_key(kind): wire.encode(found) for kind, found in devices.items()}
    labels = {
        names.device_label(kind, what): value
        for kind, found in devices.items()
        for what, value in _labels(found.inventory).items()
    }
    return Marks(annotations, labels)


def _labels(inventory: DeviceInventory) -> dict[str, str]:
    """By DEVICE_LABELS. They say what is built in, and do not change with its health; MiB are those of the smallest device."""
    known = [device for device in inventory.devices if device.memory] or inventory.devices
    models = {device.model for device in known}
    return {
        "count": str(len(inventory.devices)),
        "memory": str(min((device.memory for device in known), default=0)),
        "model": _label_value(next(iter(models))) if len(models) == 1 else MIXED,
    }


def _label_value(text: str) -> str:
    """As a label can have it: "NVIDIA A100-SXM4-40GB" is NVIDIA-A100-SXM4-40GB."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LABEL].strip("-._")


def offer(kind: Kind, devices: NodeDevices) -> Offer:
    """What the kubelet is offered of a kind: as many tokens of each device as it has slots."""
    return Offer(kind.resources.count, kind.name, tuple(_advertised(devices)))


def _advertised(devices: NodeDevices) -> Iterator[Advertised]:
    for capacity in _capacities(devices):
        for slot in range(capacity.slots):
            yield Advertised(str(Token(capacity.device, slot)), capacity.healthy, _numa(capacity.numa))


def _capacities(devices: NodeDevices) -> Iterator[Capacity]:
    """Every device once: it is in one splitting at a time."""
    seen = set()
    for _, capacities in devices.capacities:
        for one in capacities:
            if one.device not in seen:
                seen.add(one.device)
                yield one


def _numa(node: int | None) -> int | None:
    return None if node is None or node < 0 else node


UNDESCRIBED = "its driver does not describe it any more"


def with_lost(found: DeviceInventory, before: DeviceInventory) -> DeviceInventory:
    """What was found, and as sick what was there before, where the driver has devices that it cannot describe.

    One that vanished alone is lost and may come back: pods hold shares of it, and the kubelet counts it as sick, not as gone.
    """
    if not found.faults:
        return found
    known = {device.id for device in found.devices}
    lost = tuple(evolve(device, sick=UNDESCRIBED) for device in before.devices if device.id not in known)
    return evolve(found, devices=(*found.devices, *lost))


def schedulable(devices: NodeDevices) -> frozenset[str]:
    """The ids of the devices that may carry something new, cordons aside."""
    return frozenset(one.device for one in _capacities(devices) if one.healthy)


def closed(text: str, key: str, reason: str) -> NodeDevices | None:
    """What a node said of a kind before, with every device sick for this reason. None: it cannot be read.

    For a driver that does not say what there is: what pods hold there stays known, and nothing new comes.
    """
    try:
        before = wire.decode(NodeDevices, text, key)
    except WireError:
        return None
    devices = tuple(evolve(device, sick=reason) for device in before.inventory.devices)
    capacities = tuple((name, tuple(evolve(one, healthy=False) for one in several)) for name, several in before.capacities)
    return NodeDevices(evolve(before.inventory, devices=devices), capacities)
