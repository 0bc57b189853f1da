"""``hami health``: which devices are sick and why, now or from now on."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.cli.session import Session
    from hami_core.local.health import DeviceHealth, Health

COLUMNS = (("KIND", "left"), ("#", "right"), ("DEVICE", "left"), ("MODEL", "left"), ("HEALTH", "left"))
SICK = 1  # the exit status


@click.command()
@click.option("--watch", is_flag=True, help="Go on until interrupted, and tell each change: a line, or a JSON object a line.")
@click.option(
    "--every", metavar="SECONDS", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="How often to look."
)
@output
@click.pass_obj
def health(session: Session, watch: bool, every: float, output: str) -> int:
    """Show which devices are sick, and why. The exit status is 1 if any is, or cannot even be described.

    Some faults are told by a driver only when they happen, such as most Xids of an NVIDIA GPU: --watch hears them, and forgets
    them when the device has been well for the time that the settings say.
    """
    from hami_core.local import health as local
    from hami_core.local.host import no_machine

    found = local.found(session.host)
    faults = [fault for inventory in session.host.inventories.values() for fault in inventory.faults]
    if not found.devices and not faults:
        raise no_machine(session.host)
    if watch:
        _tell(found.devices, output)
        _watch(session, found, every, output)
    if output == "json":
        show_json({"machine": session.host.name, "devices": [asdict(one) for one in found.devices], "faults": faults})
    else:
        show(Table(COLUMNS, [_row(one) for one in found.devices], title=f"machine {session.host.name}"))
    return SICK if faults or any(one.sick for one in found.devices) else 0


def _watch(session: Session, before: Health, every: float, output: str) -> None:
    """For ever: ^C ends it."""
    from hami_core.local import health as local

    while True:
        time.sleep(every)
        now = local.look(session.host, before)
        _tell(local.changes(before, now), output)
        for failure in now.failures:
            if str(failure) not in map(str, before.failures):
                click.echo(f"hami: {failure}", err=True)
        before = now


def _tell(devices: Sequence[DeviceHealth], output: str) -> None:
    for one in devices:
        at = int(time.time())
        if output == "json":
            click.echo(json.dumps({"v": 1, "time": at, **asdict(one)}))
        else:
            stamp = time.strftime("%H:%M:%S", time.localtime(at))
            click.echo(f"{stamp}  {one.kind} {one.index}  {one.device}  {_words(one)}")


def _row(one: DeviceHealth) -> tuple[str, ...]:
    return one.kind, str(one.index), one.device, one.model, _words(one)


def _words(one: DeviceHealth) -> str:
    return f"sick: {one.sick}" if one.sick else "well"
