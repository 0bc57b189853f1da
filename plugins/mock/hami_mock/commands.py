"""``hami mock``: the simulated machines there are, and the truth on one of them, in words and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import output, show, show_json, table

if TYPE_CHECKING:
    from rich.table import Table

    from hami_core.cli.session import Session
    from hami_mock.machine import Truth

MIB = 1 << 20


@click.group()
def mock() -> None:
    """Simulated machines."""


@mock.command()
@output
def machines(output: str) -> None:
    """List the machines that come with this plugin; --machine takes their names, or a TOML file like theirs."""
    from hami_mock.description import load, shipped

    found = [load(name) for name in shipped()]
    if output == "json":
        show_json({"machines": [{"name": one.machine, "gpus": [gpu.profile.name for gpu in one.gpus]} for one in found]})
        return
    rows = [(one.machine, str(len(one.gpus)), one.gpus[0].profile.name, str(one.gpus[0].profile.memory)) for one in found]
    show(table([("MACHINE", "left"), ("GPUS", "right"), ("MODEL", "left"), ("MiB EACH", "right")], rows))


@mock.command()
@output
@click.pass_obj
def truth(session: Session, output: str) -> None:
    """Show what is allocated on the simulated machine by its driver's own books, whatever a share pretends.

    Requested is what programs asked for; physical is what that takes, rounded up and with contexts. Needs --machine.
    """
    from hami_mock.machine import truth as read

    machine = session.host.machine
    if machine is None:
        raise click.UsageError("the truth is known of simulated machines only: name one by --machine, for example t4-node")
    found = read(Path(machine.folder))
    if output == "json":
        show_json(asdict(found))
        return
    show(_devices(found))
    if found.processes:
        show(_processes(found))


def _devices(found: Truth) -> Table:
    columns = [("#", "right"), ("DEVICE", "left"), ("MODEL", "left"), ("MiB", "right")]
    columns += [(name, "right") for name in ("REQUESTED", "PHYSICAL", "PEAK REQUESTED", "PEAK PHYSICAL")]
    rows = [
        (
            str(one.index),
            one.uuid,
            one.name,
            str(one.total // MIB),
            *(_mib(number) for number in (one.requested, one.physical, one.requested_peak, one.physical_peak)),
        )
        for one in found.devices
    ]
    return table(columns, rows, title=f"machine {found.machine}, in MiB")


def _processes(found: Truth) -> Table:
    columns = [("PID", "right"), ("#", "right"), ("REQUESTED", "right"), ("PHYSICAL", "right"), ("OF IT CONTEXTS", "right")]
    rows = [
        (str(one.pid), str(one.device), _mib(one.requested), _mib(one.physical), _mib(one.context)) for one in found.processes
    ]
    return table(columns, rows)


def _mib(number: int) -> str:
    """Whole MiB without a fraction, others with two digits of it."""
    return str(number // MIB) if number % MIB == 0 else f"{number / MIB:.2f}"
