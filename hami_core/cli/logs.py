"""``hami logs``: what the containers of a pod wrote."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from hami_core.cli.selected import chosen, namespace
from hami_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from hami_core.cli.session import Session
    from hami_core.local.logs import Follower, Line
    from hami_core.local.pods import Known
    from hami_core.local.state import Folder

LOOK = 1.0  # seconds between looks for what the kernel does not tell


@click.command()
@click.argument("pod")
@click.argument("container", required=False)
@namespace
@click.option("-f", "--follow", is_flag=True, help="Go on until the pod has ended.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last restart.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="The last so many lines of each container.")
@click.option("--since", metavar="AGE|TIME", help="From then on: 90s, 5m, 1h30m, or 2026-01-31T12:00:00Z.")
@click.option("--timestamps", is_flag=True, help="Each line begins with its time.")
@click.pass_obj
def logs(
    session: Session,
    pod: str,
    container: str | None,
    namespace: str,
    follow: bool,
    previous: bool,
    tail: int | None,
    since: str | None,
    timestamps: bool,
) -> None:
    """Print what a pod's containers wrote, also after its end.

    POD is a name, a uid, or the beginning of either. Of several containers, each line begins with the name of its own. Kept are
    the pods of `hami play`, the last 32 that have ended; what `hami run` starts writes to its terminal alone.
    """
    from hami_core.local import logs as kept

    (known,) = chosen(session.folder, [pod], namespace)
    begin = kept.since(since, time.time_ns()) if since else 0
    if previous and follow:
        raise click.UsageError("--previous has ended: there is nothing to --follow")
    followers = {name: kept.Follower(file) for name, file in _files(session.folder, known, container, previous).items()}
    found = {name: [line for line in one.so_far() if line.at >= begin] for name, one in followers.items()}
    if tail is not None:
        found = {name: kept.tail(lines, tail) for name, lines in found.items()}
    show = _Printer(timestamps, named=len(followers) > 1)
    show.lines(kept.merged(found.items()))
    if follow:
        _follow(session.folder, known, followers, show)


def _files(folder: Folder, known: Known, container: str | None, previous: bool) -> dict[str, Path]:
    """Container -> its log, of those that wrote one. UserError: nothing of it is kept."""
    from hami_core.local import logs as kept
    from hami_core.local import naming

    if not known.record.kept:
        why = "what `hami run` starts writes to its terminal alone"
        raise UserError(f'pod "{known.record.name}": nothing of it is kept; {why}')
    names = [naming.container(known, container)] if container else list(known.record.containers)
    where = folder.pods / known.record.uid
    files = {name: kept.path(where, name) for name in names}
    if previous:
        files = {name: kept.previous(file) for name, file in files.items() if kept.previous(file).exists()}
        if not files:
            raise UserError(f'pod "{known.record.name}": no container of it has been started again')
    return files


def _follow(folder: Folder, known: Known, followers: Mapping[str, Follower], show: _Printer) -> None:
    import asyncio

    from hami_core.local import changes, logs, pods

    async def until_its_end() -> None:
        with changes.watching() as watch:
            watch.add(folder.pods / known.record.uid, changes.MODIFIED | changes.CREATED | changes.MOVED_TO)
            goes_on = True
            while goes_on:
                goes_on = pods.now(folder, known.record).is_live  # asked first: what it wrote before its end is read after
                show.lines(logs.merged((name, one.more()) for name, one in followers.items()))
                if goes_on:
                    await watch.changed(LOOK)

    asyncio.run(until_its_end())


class _Printer:
    """Puts lines on standard output as their bytes are; parts of long lines are put together again."""

    def __init__(self, timestamps: bool, named: bool) -> None:
        self._timestamps, self._named = timestamps, named
        self._within: set[str] = set()  # containers whose line has begun

    def lines(self, found: Iterable[tuple[str, Line]]) -> None:
        """All of them, at once."""
        written = b"".join(self._line(name, line) for name, line in found)
        if written:
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()

    def _line(self, name: str, line: Line) -> bytes:
        from hami_core.local.logs import stamp

        head = ""
        if name not in self._within:
            head = (f"{stamp(line)} " if self._timestamps else "") + (f"{name} | " if self._named else "")
        (self._within.discard if line.whole else self._within.add)(name)
        return head.encode() + line.text + (b"\n" if line.whole else b"")
