"""``hami wait``: until pods have ended, or run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output, show_json
from hami_core.cli.selected import chosen, namespace, several
from hami_core.cli.workload import OWN_FAILURE, own_failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.cli.session import Session
    from hami_core.local.pods import Known
    from hami_core.local.state import Folder

TIMED_OUT = 124  # as timeout(1) says


@click.command()
@several
@namespace
@click.option("--for", "what", type=click.Choice(["ended", "running"]), default="ended", show_default=True)
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up after so long, with status 124.")
@output
@click.pass_obj
@own_failures
def wait(session: Session, pods: tuple[str, ...], namespace: str, what: str, timeout: float | None, output: str) -> int:
    """Wait until pods have ended, or run.

    POD is a name, a uid, or the beginning of either. The exit status is that of the first pod that failed; 124: the time is
    over; 125: there is no such pod, or its hami was killed, so that nobody knows how it ended.
    """
    folder = session.folder
    asked = chosen(folder, pods, namespace)
    reached = _all(folder, asked, what, timeout)
    if output == "json":
        show_json({"pods": [document(one or before, one is None) for one, before in zip(reached, asked, strict=True)]})
    else:
        for one, before in zip(reached, asked, strict=True):
            click.echo(f"{click.style(before.record.name, bold=True)}  {_words(one, what, timeout)}", err=one is None)
    return next((status for one in reached if (status := _status(one))), 0)


def _all(folder: Folder, asked: Sequence[Known], what: str, timeout: float | None) -> list[Known | None]:
    import asyncio

    from hami_core.local import stopping

    async def together() -> list[Known | None]:
        return await asyncio.gather(*(stopping.reached(folder, one.record, what, timeout) for one in asked))

    return asyncio.run(together())


def document(known: Known, timed_out: bool = False) -> dict[str, object]:
    """One pod as docs/json.md describes it."""
    record = known.record
    return {
        "uid": record.uid,
        "name": record.name,
        "namespace": record.namespace,
        "state": known.phase,
        "status": record.end.status if record.end else None,
        "reason": record.end.reason if record.end else "",
        "timed_out": timed_out,
    }


def _status(known: Known | None) -> int:
    if known is None:
        return TIMED_OUT
    if known.record.end:
        return known.record.end.status
    return 0 if known.is_live else OWN_FAILURE


def _words(known: Known | None, what: str, timeout: float | None) -> str:
    if known is None:
        return f"{'runs still' if what == 'ended' else 'waits still'} after {timeout:g} s"
    if known.is_live:
        return "runs"
    if known.record.end is None:
        return "has ended; its hami was killed before, so nobody knows how"
    reason = f": {known.record.end.reason}" if known.record.end.reason else ""
    return f"ended with status {known.record.end.status}{reason}"
