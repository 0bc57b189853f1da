"""Taking single devices of a node out of service, and back: by the node's annotation, whose words belong to its operator.

Nothing new is placed on a device that is named there; what runs goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import names, wire, wishes
from hami_core.errors import UserError, WireError
from hami_core.kube import writes
from hami_core.kube.errors import Conflict
from hami_core.kube.listing import read_all
from hami_core.kube.objects import Node
from hami_core.model import NodeDevices
from hami_core.node.publishing import node_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from hami_core.kube.connection import Connection

NODES = "/api/v1/nodes"
ATTEMPTS = 10  # when others write to the same node


def find(connection: Connection, devices: Collection[str], node: str) -> dict[str, list[str]]:
    """Node -> those of these devices that it publishes. ``node``: look there only; empty: on all.

    UserError: nobody publishes one, with what is there.
    """
    nodes = [writes.read(connection, node_path(node), Node)] if node else read_all(connection, NODES, Node, {}).objects
    there = {one.metadata.name: list(_devices(one)) for one in nodes}
    found = {name: [device for device in devices if device in own] for name, own in there.items()}
    missing = set(devices).difference(*found.values())
    if missing:
        raise UserError(_missing(sorted(missing), node, there.get(node, ())))
    return {name: own for name, own in found.items() if own}


def _missing(devices: Sequence[str], node: str, there: Iterable[str]) -> str:
    where = f"the node {node} publishes" if node else "no node publishes"
    known = f"; it has {', '.join(there) or 'none'}" if node else ""
    return f"{', '.join(devices)}: {where} {'no such device' if node else 'such a device'}{known}"


def _devices(node: Node) -> Iterator[str]:
    for key, text in (node.metadata.annotations or {}).items():
        if names.kind_of_inventory(key):
            try:
                yield from (device.id for device in wire.decode(NodeDevices, text, key).inventory.devices)
            except WireError:  # of another version: what it has cannot be told
                continue


def change(connection: Connection, node: str, devices: Collection[str], *, out: bool) -> bool:
    """Take devices of a node out of service, or back. Whether that changed anything; others' words stay. KubeError."""
    for left in reversed(range(ATTEMPTS)):
        meta = writes.read(connection, node_path(node), Node).metadata
        before = (meta.annotations or {}).get(names.DEVICE_CORDON, "")
        after = changed(before, devices, out=out)
        if wishes.cordoned({names.DEVICE_CORDON: before}) == wishes.cordoned({names.DEVICE_CORDON: after}):
            return False
        try:
            annotations = {names.DEVICE_CORDON: after or None}
            writes.mark(
                connection, node_path(node), annotations=annotations, labels={}, uid=meta.uid, version=meta.resource_version
            )
        except Conflict:
            if not left:
                raise
        else:
            return True
    raise AssertionError("the last attempt returns or raises")


def changed(text: str, devices: Collection[str], *, out: bool) -> str:
    """The annotation's text with these devices, or without them; the order of the others stays."""
    listed = [word.strip() for word in text.split(",") if word.strip()]
    if out:
        return ",".join(dict.fromkeys([*listed, *devices]))
    return ",".join(dict.fromkeys(word for word in listed if word not in devices))
