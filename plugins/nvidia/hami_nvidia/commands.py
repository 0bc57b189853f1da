"""``hami nvidia``: what only a person with NVIDIA's GPUs asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from attrs import asdict

from hami_core.cli.output import Table, output, show, show_json

if TYPE_CHECKING:
    from hami_core.cli.session import Session

SETTING = "devices.nvidia.contextMemory"


@click.group()
def nvidia() -> None:
    """NVIDIA's GPUs."""


@nvidia.command("measure-context")
@output
@click.pass_obj
def measure_context(session: Session, output: str) -> None:
    """Measure how much memory a CUDA context takes on each GPU, and show the setting that says so.

    A process opens a context on one GPU after the other. Best on an idle machine, after a driver update.
    """
    from hami_core.local.host import no_machine
    from hami_nvidia import measure
    from hami_nvidia.settings import NvidiaSettings

    found = session.host.inventories.get("nvidia")
    if found is None or not found.devices:
        raise no_machine(session.host, "nvidia")
    own = session.settings[NvidiaSettings]
    measured = measure.measure(found.devices, own.driver_root, own.context_memory)
    figures = measure.figures(measured)
    if output == "json":
        show_json(
            {
                "machine": session.host.name,
                "contexts": [asdict(one) for one in measured],
                "setting": {f"{SETTING}.{model}": memory for model, memory in figures.items()},
            }
        )
        return
    columns = [("#", "right"), ("DEVICE", "left"), ("MODEL", "left"), ("CONTEXT MiB", "right"), ("CHARGED NOW MiB", "right")]
    rows = [(str(one.index), one.device, one.model, str(one.memory), str(one.charged)) for one in measured]
    show(Table(columns, rows, f"machine {session.host.name}"))
    click.echo(f"\nThe setting:  --set '{SETTING}={json.dumps(figures)}'")
