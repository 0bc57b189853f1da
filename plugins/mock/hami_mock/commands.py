"""``hami mock``: the simulated machines there are, and the truth on one of them. What goes wrong there: fault_commands.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json
from hami_mock import fault_commands

if TYPE_CHECKING:
    from hami_core.cli.session import Session
    from hami_mock.machine import Truth

MIB = 1 << 20


@click.group()
def mock() -> None:
    """Simulated machines."""


for command in fault_commands.COMMANDS:
    mock.add_command(command)


@mock.command()
@output
def machines(output: str) -> None:
    """List the machines that --machine takes.

    They come with this plugin; a TOML file like theirs describes one of your own.
    """
    from hami_mock.description import load, shipped

    found = [load(name) for name in shipped()]
    if output == "json":
        show_json({"machines": [{"name": one.machine, "gpus": [gpu.profile.name for gpu in one.gpus]} for one in found]})
        return
    rows = [
        (one.machine, str(number or "-"), model, str(memory or "-"), one.joint)
        for one in found
        for model, memory, number in one.models or (("-", 0, 0),)
    ]
    columns = [("MACHINE", "left"), ("GPUS", "right"), ("MODEL", "left"), ("MiB EACH", "right"), ("JOINED BY", "left")]
    show(Table(columns, rows))


@mock.command()
@output
@click.pass_obj
def truth(session: Session, output: str) -> None:
    """Show what is allocated on the simulated machine by its driver's own books, whatever a share pretends.

    Requested is what programs asked for; physical is what that takes, rounded up and with contexts. Needs --machine.
    """
    from hami_mock.machine import truth as read

    found = read(fault_commands.folder_of(session, "the truth is known of simulated machines only"))
    if output == "json":
        show_json(asdict(found))
        return
    show(_devices(found))
    if found.processes:
        show(_processes(found))


@mock.command()
@output
@click.argument("duration")
@click.argument("name", required=False)
@click.pass_obj
def kernel(session: Session, duration: str, name: str | None, output: str) -> None:
    """Set how long kernels take.

    DURATION such as 5ms, on the machine's clock, for the kernels of NAME; without it for all that have no time of their own.
    """
    from hami_mock.machine import set_kernel
    from hami_mock.toml_table import Table

    nanoseconds = Table({"duration": duration}, "hami mock kernel", "").duration("duration", 0)
    set_kernel(fault_commands.folder_of(session), name, nanoseconds)
    if output == "json":
        show_json({"kernel": name, "nanoseconds": nanoseconds})
        return
    click.echo(f"kernels {'called ' + name if name else 'without a time of their own'} take {duration}")


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
    return Table(columns, rows, title=f"machine {found.machine}, in MiB")


def _processes(found: Truth) -> Table:
    columns = [("PID", "right"), ("#", "right"), ("REQUESTED", "right"), ("PHYSICAL", "right"), ("OF IT CONTEXTS", "right")]
    rows = [
        (str(one.pid), str(one.device), _mib(one.requested), _mib(one.physical), _mib(one.context)) for one in found.processes
    ]
    return Table(columns, rows)


def _mib(number: int) -> str:
    """Whole MiB without a fraction, others with two digits of it."""
    return str(number // MIB) if number % MIB == 0 else f"{number / MIB:.2f}"
