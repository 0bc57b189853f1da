"""``hami ps``: who holds what on this machine, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import output, show, show_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hami_core.cli.session import Session
    from hami_core.local.host import Host
    from hami_core.local.view import HoldingView, Ps, ShareView

COLUMNS = (
    ("POD", "left"),
    ("CONTAINER", "left"),
    ("DEVICE", "left"),
    ("USED MiB", "right"),
    ("OF", "right"),
    ("CORES", "right"),
    ("AGE s", "right"),
    ("PROCESSES", "left"),
)


@click.command()
@output
@click.pass_obj
def ps(session: Session, output: str) -> None:
    """Show who holds which share, and who waits.

    DEVICE is the kind and the number that `hami devices` shows. USED is what the driver counts, with what it needs for itself.
    """
    from hami_core.local import view

    found = view.ps(session.host)
    if output == "json":
        show_json({"machine": session.host.name, **asdict(found)})
        return
    _show(session.host, found)
    for fault in found.faults:
        click.echo(f"hami: {fault}", err=True)


def _show(host: Host, found: Ps) -> None:
    if found.holdings:
        numbers = {device.id: device.index for one in host.inventories.values() for device in one.devices}
        rows = [_row(holding, share, numbers) for holding in found.holdings for share in holding.shares]
        show(table(COLUMNS, rows, title=f"machine {host.name}"))
    elif not found.faults:
        click.echo(f"nobody holds anything on the machine {host.name}")
    for holding in found.holdings:
        if not holding.owner_is_running:
            click.echo(f"{holding.name}: its hami has ended; it holds its shares until its processes have ended")
    for waiting in found.waiting:
        click.echo(f"{click.style('waits', fg='yellow')}  {waiting.name}: {waiting.why}")


def _row(holding: HoldingView, share: ShareView, numbers: Mapping[str, int]) -> tuple[str, ...]:
    number = numbers.get(share.device)
    return (
        holding.name,
        share.container,
        f"{share.kind} {share.device if number is None else number}",
        "?" if share.used is None else str(share.used),
        str(share.memory),
        str(share.cores or "-"),
        str(holding.age_s),
        " ".join(map(str, share.pids)) or "-",
    )
