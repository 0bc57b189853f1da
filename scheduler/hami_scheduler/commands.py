"""``hami scheduler``: serve it, and print what it needs: kube-scheduler's configuration, and its rights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.cli.session import Session

printed = click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="The form; both are read by kubectl and kube-scheduler.",
)


@click.group()
def scheduler() -> None:
    """The extender beside a stock kube-scheduler."""


@scheduler.command()
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The way to the API server. Otherwise KUBECONFIG, ~/.kube/config, or that of the pod it runs in.",
)
@click.option("--context", help="Which context of the kubeconfig.")
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
@printed
@click.pass_obj
def config(session: Session, output: str) -> None:
    """Print the configuration of the kube-scheduler beside it.

    It names the resources of all plugins, so print it again when plugins or settings change. With auth=token it has the secret
    word in it.
    """
    from hami_scheduler.config import kube_scheduler

    _print([kube_scheduler(session.catalogue, session.settings)], output)


@scheduler.command()
@printed
@click.pass_obj
def manifests(session: Session, output: str) -> None:
    """Print what it needs in the cluster, for kubectl apply.

    Its service account, its rights, and the Service by which `hami explain` and Prometheus reach it.
    """
    from hami_scheduler.manifests import documents

    _print(documents(session.settings), output)


def _print(found: Sequence[dict[str, Any]], output: str) -> None:
    """YAML documents one after the other, or one JSON object: a List where there are several."""
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump_all(found, sort_keys=False), nl=False)
        return
    import json

    one = found[0] if len(found) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(found)}
    click.echo(json.dumps(one, indent=2))
