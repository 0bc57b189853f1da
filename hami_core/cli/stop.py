"""``hami stop``: make pods end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output, show_json
from hami_core.cli.selected import chosen, namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.cli.session import Session
    from hami_core.local.pods import Known
    from hami_core.local.state import Folder
    from hami_core.local.stopping import Stopped


@click.command()
@click.argument("pods", nargs=-1, metavar="POD...")
@click.option("--all", "everything", is_flag=True, help="Every pod of this machine.")
@namespace
@click.option(
    "--grace", type=click.IntRange(min=0), metavar="SECONDS", help="Before SIGKILL; else terminationGracePeriodSeconds."
)
@output
@click.pass_obj
def stop(session: Session, pods: tuple[str, ...], everything: bool, namespace: str, grace: int | None, output: str) -> int:
    """Make pods end.

    SIGTERM to their containers, and SIGKILL after a time of grace. POD is a name, a uid, or the beginning of either. A pod that
    waits leaves the queue. Works also for a pod whose hami was killed. Exit status 1: a process of it lives all the same.
    """
    from hami_core.cli.wait import document

    asked = _asked(session.folder, pods, everything, namespace)
    stopped = _all(session.folder, asked, grace)
    if output == "json":
        show_json({"pods": [document(one.known) | {"left": len(one.left)} for one in stopped]})
    else:
        for one in stopped:
            click.echo(f"{click.style(one.known.record.name, bold=True)}  {_words(one)}", err=bool(one.left))
    return int(any(one.left or one.known.is_live for one in stopped))


def _asked(folder: Folder, queries: Sequence[str], everything: bool, namespace: str) -> list[Known]:
    from hami_core.local import pods

    if everything == bool(queries):
        raise click.UsageError("name pods, or give --all")
    if queries:
        return chosen(folder, queries, namespace, live_only=True)
    return [one for one in pods.known(folder) if one.is_live and namespace in {"", one.record.namespace}]


def _all(folder: Folder, asked: Sequence[Known], grace: int | None) -> list[Stopped]:
    import asyncio

    from hami_core.local import stopping

    async def together() -> list[Stopped]:
        return await asyncio.gather(*(stopping.stop(folder, one.record, grace) for one in asked))

    return asyncio.run(together())


def _words(stopped: Stopped) -> str:
    end = stopped.known.record.end
    if stopped.left:
        return f"was told to end, and process {', '.join(map(str, stopped.left))} lives on: in a driver, or not yours"
    if stopped.known.is_live:
        return "was told to end, and holds its share still"
    return f"stopped, with status {end.status}" if end else "stopped"
