"""``hami webhook``: admission as a process, and what it needs in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli import cluster
from hami_core.cli.documents import form, show_documents

if TYPE_CHECKING:
    from pathlib import Path

    from hami_core.cli.session import Session


@click.group()
def webhook() -> None:
    """Admission of pods that ask for a share."""


@webhook.command()
@cluster.kubeconfig
@cluster.context
@click.pass_obj
def serve(session: Session, kubeconfig: Path | None, context: str | None) -> None:
    """Serve admission, register it, and keep its certificates.

    Ends on SIGTERM, after it has answered what has begun. Logs are JSON, a line each, on standard error.
    """
    import uvloop

    from hami_core.kube.connection import connect
    from hami_webhook import daemon

    connection = connect(kubeconfig, context)
    uvloop.run(daemon.serve(session.plugins, session.catalogue, session.settings, connection))


@webhook.command()
@form
@click.pass_obj
def manifests(session: Session, output: str) -> None:
    """Print what the webhook needs in the cluster, for kubectl apply -f -.

    The namespace of the setting namespaceOverride has to be there.
    """
    from hami_webhook import daemon
    from hami_webhook.manifests import manifests

    daemon.refuse_failures(session.plugins, session.catalogue)
    show_documents(manifests(session.catalogue, session.settings), output)
