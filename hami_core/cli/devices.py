"""``hami devices``: what this machine has, and how much of it is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import output, show, show_json, table

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_core.local.view import DeviceView


@click.command()
@output
@click.pass_obj
def devices(session: Session, output: str) -> None:
    """Show the devices of this machine, what is held of each, and what is free."""
    from hami_core.local import host, view

    found = view.devices(session.host)
    if output == "json":
        show_json({"machine": session.host.name, "devices": [asdict(one) for one in found]})
        return
    if not found:
        raise host.no_machine(session.host)
    columns = [("KIND", "left"), ("#", "right"), ("DEVICE", "left"), ("MODEL", "left"), ("MEMORY MiB", "right")]
    columns += [("FREE MiB", "right"), ("CORES FREE", "right"), ("TASKS", "right"), ("STATE", "left")]
    show(table(columns, [_row(one) for one in found], title=f"machine {session.host.name}"))


def _row(one: DeviceView) -> tuple[str, ...]:
    return (
        one.kind,
        str(one.index),
        one.device,
        one.model,
        str(one.memory),
        str(one.memory_free),
        f"{one.cores_free} %",
        f"{one.slots - one.slots_free} of {one.slots}",
        f"[red]{one.sick}[/red]" if one.sick else "[green]healthy[/green]",
    )
