"""``hami scheduler``: serve it, and print what it needs: kube-scheduler's configuration, and its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli import cluster
from hami_core.cli.documents import form, show_documents

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.cli.session import Session


@click.group()
def scheduler() -> None:
    """The extender beside a stock kube-scheduler."""


@scheduler.command()
@cluster.kubeconfig
@cluster.context
@click.pass_obj
def serve(session: Session, kubeconfig: Path | None, context: str | None) -> None:
    """Answer kube-scheduler until SIGTERM.

    It decides while the kube-scheduler of this host leads. Logs are JSON lines on stderr.
    """
    from hami_core.kube.connection import connect
    from hami_core.serving import logs
    from hami_scheduler import daemon
    from hami_scheduler.settings import SchedulerSettings

    logs.start("hami_core", "hami_scheduler", level=session.settings[SchedulerSettings].log_level)
    catalogue = session.catalogue
    connection = connect(kubeconfig, context)
    daemon.run(daemon.Scheduler(session.plugins.hook, catalogue, session.settings, connection))


@scheduler.command()
@form
@click.pass_obj
def config(session: Session, output: str) -> None:
    """Print the configuration of the kube-scheduler beside it.

    It names the resources of all plugins, so print it again when plugins or settings change. With auth=token it has the secret
    word in it.
    """
    from hami_scheduler.config import kube_scheduler

    show_documents([kube_scheduler(session.catalogue, session.settings)], output)


@scheduler.command()
@form
@click.pass_obj
def manifests(session: Session, output: str) -> None:
    """Print what it needs in the cluster, for kubectl apply.

    Its service account, its rights, and the Service by which `hami explain` and Prometheus reach it.
    """
    from hami_scheduler.manifests import documents

    show_documents(documents(session.settings), output)
