"""``make cluster``: a control plane with simulated nodes for a person to play with, until Ctrl-C or, with --detach, until told.

python -m hami_core.testing.cluster --nodes 12 --model "NVIDIA A100-SXM4-40GB" --memory 40960
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hami_core.errors import HamiError
from hami_core.testing.cluster import binaries, modules
from hami_core.testing.cluster.control_plane import ControlPlane
from hami_core.testing.cluster.nodes import DEVICES, KIND, MEMORY, MODEL, Simulated, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_core.testing.cluster.nodes import FakeNode


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    default=modules.NEWEST,
    show_default=True,
    help="Of Kubernetes, or `oldest`. Built once, then started in seconds.",
)
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(0, 10000), help="How many simulated nodes.")
@click.option("--devices", default=DEVICES, show_default=True, type=click.IntRange(0, 64), help="How many devices on each.")
@click.option("--kind", default=KIND, show_default=True, help="Of the devices: `hami plugins` lists the kinds.")
@click.option("--model", default=MODEL, show_default=True, help="Of the devices.")
@click.option("--memory", default=MEMORY, show_default=True, type=click.IntRange(1), help="Of each device, in MiB.")
@click.option("--detach", "-d", is_flag=True, help="Return when it is ready; it runs until the process that is named is ended.")
@click.option("--build", "only_build", is_flag=True, help="Only build what is missing, and say how far it is.")
def main(version: str, nodes: int, devices: int, kind: str, model: str, memory: int, *, detach: bool, only_build: bool) -> None:
    """Start a control plane of Kubernetes with simulated nodes. No root, no container, no GPU; all of it is gone afterwards."""

    def run(ready: Callable[[], None]) -> None:
        simulated = Simulated()
        made = [simulated.node(f"node-{n}", kind=kind, model=model, memory=memory, devices=devices) for n in range(nodes)]
        _serve(ControlPlane(version, note=click.echo), simulated, made, ready)

    try:
        if only_build:
            binaries.find(modules.meant(version), ControlPlane().wanted, click.echo)
        elif detach:
            _detached(run)
        else:
            run(lambda: click.echo("Ctrl-C ends it."))
    except HamiError as error:
        raise click.ClickException(str(error)) from error


def _serve(plane: ControlPlane, simulated: Simulated, nodes: list[FakeNode], ready: Callable[[], None]) -> None:
    """Until a signal says that it is enough."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    try:
        with plane:
            publish(plane.api(), simulated, nodes)
            plane.start_scheduler()
            click.echo(_told(plane, len(nodes), time.monotonic() - start))
            ready()
            signal.pause()
    except KeyboardInterrupt:
        click.echo("ended, and removed", err=True)


def _told(plane: ControlPlane, nodes: int, seconds: float) -> str:
    """What a person needs to go on."""
    return f"""Kubernetes {plane.version} with {nodes} simulated nodes, after {seconds:.1f} s.
Its logs, and the API server's audit log, are in {plane.folder}
In another terminal:

    export KUBECONFIG={plane.kubeconfig()} PATH={Path(sys.executable).parent}:$PATH
    kubectl get nodes
    kubectl apply -f examples/gpu-pod.yaml
    kubectl get pods -o wide
"""


def _detached(run: Callable[[Callable[[], None]], None]) -> None:
    """In a process of its own, whose words are ours until it is ready."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(writer)
        run(_silenced)
        return
    os.close(writer)
    with os.fdopen(reader) as words:
        for line in words:
            click.echo(line, nl=False)
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        sys.exit(os.waitstatus_to_exitcode(status))
    click.echo(f"kill {child} ends it.")


def _silenced() -> None:
    """Nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


if __name__ == "__main__":
    main(prog_name="python -m hami_core.testing.cluster")
