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
from hami_core.model import Capacity, DeviceInventory, NodeDevices  # msgspec reads them at run time

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
                devices[kind.name] = _devices(catalogue, kind.name, own[key], key)
            except WireError as error:
                faults[kind.name] = str(error)
    return Published(devices, wishes.cordoned(own), faults)


def _devices(catalogue: Catalogue, kind: str, text: str, key: str) -> NodeDevices:
    """WireError: no inventory, one of another kind, or with numbers that no table of ours has a column for."""
    found = _decoded(text, key)
    if found.inventory.kind != kind:
        raise WireError(key, "$.inventory.kind", f"{found.inventory.kind!r} is not {kind!r}")
    offered = dict(found.capacities)
    for splitting in catalogue.splittings[kind]:
        _check(offered.get(splitting.name, ()), {name for name, _ in splitting.columns}, f"{key} ({splitting.name})")
    return found


def _decoded(text: str, key: str) -> NodeDevices:
    """``wire.decode``, three times as fast where nothing is wrong; the words for what is wrong are its own."""
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = None
    if found is None or found.v != wire.VERSION:
        return wire.decode(NodeDevices, text, key)
    return NodeDevices(found.inventory, found.capacities)


def _check(capacities: Collection[Capacity], columns: Collection[str], what: str) -> None:
    unknown = {name for capacity in capacities for name, _ in capacity.extra if name not in columns}
    if unknown:
        raise WireError(what, "extra", f"nobody here decides by {', '.join(sorted(unknown))}")
    if len({capacity.device for capacity in capacities}) != len(capacities):
        raise WireError(what, "device", "an id stands there twice")
