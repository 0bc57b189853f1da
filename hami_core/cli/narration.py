"""What happens to pods, told in words on stderr while it happens: a workload's stdout stays its own."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import click

from hami_core.local import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.model import Share


def tell(event: events.Event) -> None:
    """One line on stderr."""
    click.echo(f"{click.style(event.pod, bold=True)}  {words(event)}", err=True)


@singledispatch
def words(event: events.Event) -> str:
    """One event as a person would say it."""
    raise TypeError(f"no words for {event!r}")


@words.register
def _(event: events.Noted) -> str:
    return click.style(f"note: {event.text}", dim=True)


@words.register
def _(event: events.Queued) -> str:
    return click.style(f"waits: {event.why}", fg="yellow")


@words.register
def _(event: events.Granted) -> str:
    notes = "".join(f"\n  {click.style(f'note: {note}', dim=True)}" for note in event.notes)
    shares = [_share(share) for share in event.shares]
    listed = f" {''.join(shares)}" if len(shares) <= 1 else _lines(shares)
    return click.style("granted", fg="green") + listed + notes


@words.register
def _(event: events.Started) -> str:
    return f"{event.container} runs as process {event.pid}"


@words.register
def _(event: events.Exited) -> str:
    why = f": {event.why}" if event.why else ""
    return click.style(f"{event.container} ended with status {event.status}{why}", fg=_colour(event.status))


@words.register
def _(event: events.Restarting) -> str:
    return f"{event.container} starts again in {event.delay_s:g} s"


@words.register
def _(event: events.Finished) -> str:
    kept = "; a process that is left keeps its share" if event.kept else ""
    reason = f": {event.reason}" if event.reason else ""
    return click.style(f"finished with status {event.status}{reason}{kept}", fg=_colour(event.status))


def _lines(shares: Sequence[str]) -> str:
    """One below the other: eight UUIDs in a row fit no terminal."""
    return "".join(f"\n  {share}" for share in shares)


def _colour(status: int) -> str:
    return "red" if status else "green"


def _share(share: Share) -> str:
    cores = f", {share.cores} % of its cores" if share.cores else ""
    return f"{share.container}: {share.memory} of {share.physical} MiB on {share.device}{cores}"
