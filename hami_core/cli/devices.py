"""``hami devices``: what this machine has, and how much of it is free."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hami_core.cli.session import Session
    from hami_core.local.view import DeviceView

COLUMNS = (
    ("#", "right"),
    ("DEVICE", "left"),
    ("MODEL", "left"),
    ("FREE MiB", "right"),
    ("CORES", "right"),
    ("TASKS", "right"),
)


@click.command()
@output
@click.pass_obj
def devices(session: Session, output: str) -> None:
    """Show the devices of this machine and what is free of each.

    FREE MiB and CORES are what may still be asked for, TASKS how many a device carries, of how many that it may.
    """
    session.soon("hami_core.local.admission", "hami_core.local.view")
    machine = session.host
    from hami_core.local import host, view

    found = view.devices(machine)
    if output == "json":
        show_json({"machine": machine.name, "devices": [asdict(one) for one in found]})
        return
    if not found:
        raise host.no_machine(machine)
    for (kind, splitting), group in groupby(found, key=lambda one: (one.kind, one.splitting)):
        show(_table(f"machine {machine.name}: {kind}, {splitting}", group))
    for one in found:
        if one.sick:
            click.echo(f"{click.style('sick', fg='red')}  {one.device}: {one.sick}")


def _table(title: str, found: Iterable[DeviceView]) -> Table:
    return Table(COLUMNS, [_row(one) for one in found], title)


def _row(one: DeviceView) -> tuple[str, ...]:
    return (
        str(one.index),
        one.device,
        one.model,
        f"{one.memory_free}/{one.memory}",
        f"{one.cores_free} %",
        f"{one.slots - one.slots_free}/{one.slots}",
    )
