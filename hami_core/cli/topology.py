"""``hami topology``: how the devices of this machine are connected, as a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.cli.session import Session
    from hami_core.model import Device, DeviceInventory, Link

SELF, UNKNOWN = "X", "-"


@click.command()
@output
@click.pass_obj
def topology(session: Session, output: str) -> None:
    """Show how devices are connected.

    Each cell has the vendor's word for the connection and its score for a pod that asks for several devices: more is better.
    "-": the driver does not say. For NVIDIA the words are those of nvidia-smi topo -m: NV4 is 4 NVLinks; PIX, PXB, PHB, NODE
    and SYS are PCIe, from near to far.
    """
    from hami_core.local import host

    inventories = [one for one in session.host.inventories.values() if one.devices]
    if output == "json":
        show_json({"machine": session.host.name, "kinds": [_document(one) for one in inventories]})
        return
    if not inventories:
        raise host.no_machine(session.host)
    for one in inventories:
        show(_matrix(f"machine {session.host.name}: {one.kind}", one))


def _document(inventory: DeviceInventory) -> dict[str, object]:
    devices = [{"index": one.index, "device": one.id, "bus": one.bus, "numa": one.numa} for one in inventory.devices]
    return {"kind": inventory.kind, "devices": devices, "links": [asdict(link) for link in inventory.links]}


def _matrix(title: str, inventory: DeviceInventory) -> Table:
    links = {frozenset((link.a, link.b)): link for link in inventory.links}
    numbers = [(str(device.index), "left") for device in inventory.devices]
    columns = [("#", "right"), *numbers, ("NUMA", "right"), ("BUS", "left")]
    return Table(columns, [_row(device, inventory, links) for device in inventory.devices], title)


def _row(device: Device, inventory: DeviceInventory, links: Mapping[frozenset[str], Link]) -> tuple[str, ...]:
    cells = (SELF if other is device else _cell(links.get(frozenset((device.id, other.id)))) for other in inventory.devices)
    return (str(device.index), *cells, UNKNOWN if device.numa is None else str(device.numa), device.bus or UNKNOWN)


def _cell(link: Link | None) -> str:
    if link is None:
        return UNKNOWN
    return f"{link.type} {link.score}{'' if link.peer is not False else ' no P2P'}"
