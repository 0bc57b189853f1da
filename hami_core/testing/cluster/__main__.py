"""``make cluster``: Kubernetes with hami in it and simulated nodes, for a person to play with. Until Ctrl-C, or detached.

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

from hami_core import names, plugins, settings, sources
from hami_core.errors import HamiError
from hami_core.testing.cluster import binaries, modules
from hami_core.testing.cluster.control_plane import ControlPlane
from hami_core.testing.cluster.nodes import DEVICES, KIND, MEMORY, MODEL, Simulated, publish
from hami_core.testing.cluster.ours import Hami

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_core.testing.cluster.nodes import FakeNode

READY = "ready\n"  # the last line of a detached process


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    default="",
    show_default=modules.NEWEST,
    help="Of Kubernetes, or `oldest`. Built once, then started in seconds.",
)
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(0, 10000), help="How many simulated nodes.")
@click.option("--devices", default=DEVICES, show_default=True, type=click.IntRange(0, 64), help="How many devices on each.")
@click.option("--kind", default=KIND, show_default=True, help="Of the devices: `hami plugins` lists the kinds.")
@click.option("--model", default=MODEL, show_default=True, help="Of the devices.")
@click.option("--memory", default=MEMORY, show_default=True, type=click.IntRange(1), help="Of each device, in MiB.")
@click.option("--set", "sets", metavar="A.B=C", multiple=True, help="A setting, for hami and for what the nodes publish.")
@click.option("--detach", "-d", is_flag=True, help="Return when it is ready; it runs until the process that is named is ended.")
@click.option("--build", "only_build", is_flag=True, help="Only build what is missing, and say how far it is.")
def main(
    version: str,
    nodes: int,
    devices: int,
    kind: str,
    model: str,
    memory: int,
    sets: tuple[str, ...],
    *,
    detach: bool,
    only_build: bool,
) -> None:
    """Start Kubernetes with hami in it and simulated nodes. No root, no container, no GPU; all of it is gone afterwards."""

    def run(ready: Callable[[], None]) -> None:
        simulated = _simulated(sets)
        made = [simulated.node(f"node-{n}", kind=kind, model=model, memory=memory, devices=devices) for n in range(nodes)]
        _serve(ControlPlane(version, note=click.echo), simulated, made, sets, ready)

    try:
        if only_build:
            binaries.find(modules.meant(version), ControlPlane().wanted, click.echo)
        elif detach:
            _detached(run)
        else:
            run(lambda: click.echo("Ctrl-C ends it."))
    except HamiError as error:
        raise click.ClickException(str(error)) from error


def _simulated(sets: tuple[str, ...]) -> Simulated:
    """Nodes under the settings that hami's own programs take: HAMI_SET, and what is given here."""
    found = plugins.load()
    given = ((names.ENV_SET, [text] if (text := os.environ.get(names.ENV_SET)) else []), ("--set", sets))
    layers = [(source, sources.assignments(texts, source)) for source, texts in given]
    return Simulated(found, settings.resolve(plugins.settings_classes(found), layers))


def _serve(
    plane: ControlPlane, simulated: Simulated, nodes: list[FakeNode], sets: tuple[str, ...], ready: Callable[[], None]
) -> None:
    """Until a signal says that it is enough."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    try:
        with plane:
            publish(plane.api(), simulated, nodes)
            plane.start_scheduler()
            hami = Hami(plane, simulated, sets)
            hami.start()
            click.echo(_told(plane, hami, len(nodes), time.monotonic() - start))
            ready()
            signal.pause()
    except KeyboardInterrupt:
        click.echo("ended, and removed", err=True)


def _told(plane: ControlPlane, hami: Hami, nodes: int, seconds: float) -> str:
    """What a person needs to go on."""
    return f"""Kubernetes {plane.version} with hami and {nodes} simulated nodes, after {seconds:.1f} s.
Its logs, and the API server's audit log, are in {plane.folder}
In another terminal:

    export KUBECONFIG={plane.kubeconfig()} HAMI_SCHEDULER={hami.url} PATH={Path(sys.executable).parent}:$PATH
    kubectl apply -f examples/gpu-test.yaml
    kubectl describe pod gpu-pod
    hami explain pod gpu-pod
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
        run(_ready_and_silent)
        return
    os.close(writer)
    with os.fdopen(reader) as words:
        for line in words:
            if line == READY:
                click.echo(f"kill {child} ends it.")
                return
            click.echo(line, nl=False)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def _ready_and_silent() -> None:
    """Say the last word: nobody reads any more."""
    click.echo(READY, nl=False)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


if __name__ == "__main__":
    main(prog_name="python -m hami_core.testing.cluster")
