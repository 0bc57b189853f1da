"""``hami ps``: who holds what on this machine, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import output, show, show_json, table

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_core.local.view import HoldingView, ShareView


@click.command()
@output
@click.pass_obj
def ps(session: Session, output: str) -> None:
    """Show who holds which share, how much of it is used, and who waits."""
    from hami_core.local import view

    found = view.ps(session.host)
    if output == "json":
        show_json({"machine": session.host.name, **asdict(found)})
        return
    columns = [("POD", "left"), ("CONTAINER", "left"), ("DEVICE", "left"), ("USED MiB", "right"), ("LIMIT MiB", "right")]
    columns += [("CORES", "right"), ("PROCESSES", "left"), ("AGE", "right")]
    rows = [_row(holding, share) for holding in found.holdings for share in holding.shares]
    show(table(columns, rows, title=f"machine {session.host.name}"))
    for waiting in found.waiting:
        show(f"[yellow]waits[/yellow] {waiting.name}: {waiting.why}")
    for fault in found.faults:
        click.echo(f"hami: {fault}", err=True)


def _row(holding: HoldingView, share: ShareView) -> tuple[str, ...]:
    return (
        holding.name,
        share.container,
        share.device,
        "?" if share.used is None else str(share.used),
        str(share.memory),
        f"{share.cores} %" if share.cores else "-",
        " ".join(map(str, share.pids)) or "-",
        f"{holding.age_s} s",
    )
