"""``hami explain``: what would become of a pod now, or why it waits, told by the scheduler that is running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hami_core import names
from hami_core.cli import cluster
from hami_core.cli.output import Table, output, plain, show, show_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hami_core.cli.session import Session

    Document = Mapping[str, Any]

COLOURS = {"fits": "green", "placed": "green", "waits": "yellow", "never": "red", "nothing": "cyan"}
SHARES = (
    ("NODE", "left"),
    ("CONTAINER", "left"),
    ("DEVICE", "left"),
    ("MODEL", "left"),
    ("MEMORY MiB", "right"),
    ("OF", "right"),
    ("CORES", "right"),
)
CLOSEST = (("CLOSEST", "left"), ("WHY NOT", "left"))
HOLDERS = (("HELD ON", "left"), ("POD", "left"), *SHARES[1:])


@click.command()
@click.argument("pod", nargs=-1, metavar="[pod NAME]")
@click.option("-f", "--filename", metavar="FILE", help="A manifest, instead of a pod that exists; - reads standard input.")
@click.option("-n", "--namespace", metavar="NAME", help="The pod's. Otherwise that of the kubeconfig's context.")
@cluster.kubeconfig
@cluster.context
@click.option(
    "--scheduler", metavar="URL", envvar=names.ENV_SCHEDULER, help="A scheduler's own address, like http://127.0.0.1:9395."
)
@output
@click.pass_obj
def explain(
    session: Session,
    pod: tuple[str, ...],
    filename: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    scheduler: str | None,
    output: str,
) -> None:
    """Say where a pod fits, why it waits, or where it is.

    Either `hami explain pod NAME` for a pod that exists, or `hami explain -f FILE` for one that does not yet. The running
    scheduler answers: through the API server, or at its own address with --scheduler. It changes nothing.
    """
    name = _name(pod, filename)
    manifest = _of_file(filename, namespace) if filename is not None else None
    document = _asked(session, manifest or (namespace, name), kubeconfig, context, scheduler)
    if output == "json":
        show_json(document)
        return
    for line in _lines(document):
        click.echo(line)
    for table in _tables(document):
        click.echo()
        show(table)


def _name(words: Sequence[str], filename: str | None) -> str:
    """The name of the pod that is asked about; empty where it is in a file."""
    if filename is not None and not words:
        return ""
    split = words[0].split("/", 1) if len(words) == 1 else words
    if filename is not None or len(split) != 2 or split[0] not in ("pod", "pods", "po") or not split[1]:
        raise click.UsageError("give pod NAME, or -f FILE")
    return split[1]


def _of_file(filename: str, namespace: str | None) -> dict[str, Any]:
    from hami_scheduler import enquiry

    pod = enquiry.of_file(filename)
    return {**pod, "metadata": {**(pod.get("metadata") or {}), "namespace": namespace}} if namespace else pod


def _asked(
    session: Session,
    pod: dict[str, Any] | tuple[str | None, str],
    kubeconfig: Path | None,
    context: str | None,
    scheduler: str | None,
) -> Document:
    """What the scheduler says of a manifest, or of the pod of a namespace and a name."""
    from hami_core.kube import connection as kube
    from hami_core.sharing import CoreSettings
    from hami_scheduler import enquiry

    if isinstance(pod, dict) and scheduler:
        return enquiry.ask_url(scheduler, pod)
    connection = kube.connect(kubeconfig, context)
    if isinstance(pod, tuple):
        namespace, name = pod
        pod = enquiry.of_cluster(connection, namespace or kube.namespace(kubeconfig, context), name)
    if scheduler:
        return enquiry.ask_url(scheduler, pod)
    return enquiry.ask_service(connection, session.settings[CoreSettings].namespace, pod)


# --- For people. ---


def _lines(document: Document) -> Iterator[str]:
    pod, answer = document["pod"], str(document["answer"])
    whom = f"pod {pod['namespace'] or 'default'}/{pod['name'] or '(no name)'}"
    yield f"{plain(whom)}: {click.style(answer, fg=COLOURS.get(answer), bold=True)}"
    yield plain(f"{document['sentence']}{f', since {since}' if (since := document['since']) else ''}")
    for asked in document["asks"]:
        yield plain(f'  container "{asked["container"]}" asks {_asks(asked)}')
    for note in document["notes"]:
        yield plain(f"  note: {note}")


def _asks(asked: Document) -> str:
    memory = f"{asked['memory']} MiB" if asked["memory"] is not None else f"{asked['percent']} % of the memory"
    cores = f" and {asked['cores']} % of the compute" if asked["cores"] else ""
    defaulted = [role for role in asked["defaulted"] if asked[role]]  # of cores nothing at all may be the default
    default = f" ({', '.join(defaulted)} by default)" if defaulted else ""
    share = f"{memory}{cores}{default}"
    if asked["count"] == 1:
        return f"1 device of the kind {asked['kind']}: {share}"
    return f"{asked['count']} devices of the kind {asked['kind']}, of each {share}"


def _tables(document: Document) -> Iterator[Table]:
    places = [(place["node"], share) for place in document["places"] for share in place["shares"]]
    if places:
        yield Table(SHARES, [(plain(node), *_share(share)) for node, share in places])
    closest = document["closest"]
    if closest:
        yield Table(CLOSEST, [(plain(one["node"]), plain(one["refusal"])) for one in closest])
    held = [(one["node"], share) for one in closest for share in one["holders"]]
    if held:
        rows = [(plain(node), plain(f"{share['namespace']}/{share['name']}"), *_share(share)) for node, share in held]
        yield Table(HOLDERS, rows)


def _share(share: Document) -> tuple[str, ...]:
    cores = f"{share['cores']} %" if share["cores"] else "-"
    return (
        plain(share["container"]),
        plain(share["device"]),
        plain(share["model"]) or "?",
        str(share["memory"]),
        str(share["physical"]),
        "all" if share["exclusive"] else cores,
    )
