"""``hami node``: serve the agent of a node, print what it needs, and take single devices out of service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core import names
from hami_core.cli import cluster
from hami_core.cli.documents import form, show_documents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_core.cli.session import Session


@click.group()
def node() -> None:
    """The agent of a node of a cluster, and its devices."""


@node.command()
@cluster.kubeconfig
@cluster.context
@click.option(
    "--node",
    "name",
    metavar="NAME",
    envvar=names.ENV_NODE,
    default="",
    help="The node's name in the cluster; this host's name if it is not said.",
)
@click.pass_obj
def serve(session: Session, kubeconfig: Path | None, context: str | None, name: str) -> None:
    """Publish this node's devices, offer them to the kubelet, and prepare containers, until SIGTERM.

    What is published stays when it ends. Logs are JSON lines on stderr.
    """
    import gc

    from hami_core.asking import Drivers
    from hami_core.sharing import CoreSettings
    from hami_core.site import this_node

    gc.set_threshold(50_000, 20, 100)  # what is loaded stays: to look through it again and again is a tenth of the start
    called = name or this_node()
    where = session.site_of(called)
    drivers = Drivers(where.plugins, where.settings[CoreSettings].driver_deadline)
    drivers.begin()  # before anything has threads
    from hami_core.kube.connection import connect
    from hami_core.node import agent

    agent.run(where, called, drivers, lambda: connect(kubeconfig, context))


@node.command()
@form
@click.pass_obj
def manifests(session: Session, output: str) -> None:
    """Print what the agent needs in the cluster, for kubectl apply: its service account and its rights."""
    from hami_core.node.manifests import documents

    show_documents(documents(session.settings), output)


def _of_devices(command: Callable[..., None]) -> Callable[..., None]:
    """What cordon and uncordon take."""
    devices = click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
    where = click.option("--node", "name", metavar="NAME", default="", help="Look on this node only.")
    return devices(where(cluster.kubeconfig(cluster.context(command))))


@node.command()
@_of_devices
def cordon(devices: tuple[str, ...], name: str, kubeconfig: Path | None, context: str | None) -> None:
    """Take devices out of service, by their ids: nothing new is placed on them, what runs goes on."""
    _change(devices, name, kubeconfig, context, out=True)


@node.command()
@_of_devices
def uncordon(devices: tuple[str, ...], name: str, kubeconfig: Path | None, context: str | None) -> None:
    """Put devices into service again."""
    _change(devices, name, kubeconfig, context, out=False)


def _change(devices: tuple[str, ...], name: str, kubeconfig: Path | None, context: str | None, *, out: bool) -> None:
    from hami_core.kube.connection import connect
    from hami_core.node import cordon

    connection = connect(kubeconfig, context)
    for where, own in cordon.find(connection, devices, name).items():
        done = cordon.change(connection, where, own, out=out)
        state = "out of service" if out else "in service"
        click.echo(f"{where}: {', '.join(own)} {'is now' if done else 'was already'} {state}")
