"""What a node publishes, read from its annotations: its devices of every kind, and which of them are out of service.

Of a kind whose inventory cannot be read the node has nothing for new pods, and says so: what was read before may be wrong by
now, and a scheduler that starts anew would not know it. What pods hold there stays theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import Factory, frozen
from msgspec import Struct

from hami_core import names, wire, wishes
from hami_core.errors import WireError
from hami_core.model import LARGEST_AMOUNT, Capacity, DeviceInventory, NodeDevices

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hami_core.kube.objects import Node
    from hami_core.plugins import Catalogue


class _Published(Struct, gc=False):
    v: int
    inventory: DeviceInventory
    capacities: tuple[tuple[str, tuple[Capacity, ...]], ...]


_decode = msgspec.json.Decoder(_Published).decode


@frozen
class Published:
    """A node's devices by kind. ``faults``: why the inventory of a kind cannot be read, by kind, in one sentence each."""

    devices: Mapping[str, NodeDevices] = Factory(dict)
    cordoned: Collection[str] = ()
    faults: Mapping[str, str] = Factory(dict)


def texts(catalogue: Catalogue, node: Node) -> tuple[str | None, ...]:
    """All that ``read`` looks at: while these are the same, so is its answer."""
    own = node.metadata.annotations or {}
    return (own.get(names.DEVICE_CORDON), *(own.get(names.inventory_key(kind.name)) for kind in catalogue.kinds))


def read(catalogue: Catalogue, node: Node) -> Published:
    """What a node offers of the kinds that there are. Raises nothing: what cannot be read is a fault of its kind."""
    own = node.metadata.annotations or {}
    devices, faults = {}, {}
    for kind in catalogue.kinds:
        key = names.inventory_key(kind.name)
        if key in own:
            try:
                devices[kind.name] = _devices(kind.name, own[key], key)
            except WireError as error:
                faults[kind.name] = str(error)
    return Published(devices, wishes.cordoned(own), faults)


def _devices(kind: str, text: str, key: str) -> NodeDevices:
    """WireError: no inventory, one of another kind, or with a number that no column holds."""
    found = _decoded(text, key)
    if found.inventory.kind != kind:
        raise WireError(key, "$.inventory.kind", f"{found.inventory.kind!r} is not {kind!r}")
    for _, capacities in found.capacities:
        for capacity in capacities:
            for name, value in capacity.extra:
                if not abs(value) <= LARGEST_AMOUNT:  # nor is what is no number
                    raise WireError(key, f"device {capacity.device}", f"{name}: {value} cannot be")
    return found


def _decoded(text: str, key: str) -> NodeDevices:
    """``wire.decode``, three times as fast where nothing is wrong; the words for what is wrong are its own."""
    try:
        found = _decode(text)
        if found.v == wire.VERSION:
            return NodeDevices(found.inventory, found.capacities)
    except (ValueError, RecursionError):  # msgspec's errors are of the first kind, and the values' own
        pass
    return wire.decode(NodeDevices, text, key)
