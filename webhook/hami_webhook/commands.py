"""``hami webhook``: admission as a process, and what it needs in the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hami_core.cli.session import Session


@click.group()
def webhook() -> None:
    """Admission of pods that ask for a share."""


@webhook.command()
@click.option(
    "--kubeconfig",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The way to the API server; without, KUBECONFIG, ~/.kube/config, or the pod that this runs in.",
)
@click.option("--context", metavar="NAME", help="Of the kubeconfig.")
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
@click.option(
    "-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="As kubectl takes them."
)
@click.pass_obj
def manifests(session: Session, output: str) -> None:
    """Print what the webhook needs in the cluster, for kubectl apply -f -.

    The namespace of the setting namespaceOverride has to be there.
    """
    from hami_webhook import daemon
    from hami_webhook.manifests import manifests

    daemon.refuse_failures(session.plugins, session.catalogue)
    documents = manifests(session.catalogue, session.settings)
    if output == "json":
        import json

        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=2))
        return
    import yaml

    click.echo(yaml.dump_all(documents, Dumper=_dumper(), sort_keys=False, width=10_000), nl=False)


def _dumper() -> type[object]:
    """YAML without aliases: kubectl takes them, people do not."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
            return True

    return Plain
