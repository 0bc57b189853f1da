"""``hami play``: Pod manifests, as a cluster would take them, carried out as processes of this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output
from hami_core.cli.workload import carry_out, carry_out_detached, own_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hami_core.cli.session import Session
    from hami_core.local.manifest import PodSpec


@click.command()
@click.argument("manifests", nargs=-1, required=True, metavar="POD.yaml...")
@click.option("-d", "--detach", is_flag=True, help="Return when each Pod is granted or waits; print names and uids.")
@output
@click.pass_obj
@own_failures
def play(session: Session, manifests: tuple[str, ...], detach: bool, output: str) -> int:
    """Run Pod manifests as processes of this host.

    All at once; a Pod that does not fit waits for room. Images are not pulled: a container's command runs on this host, as you.
    "-" reads standard input. The exit status is that of the first Pod that failed; 125: hami could not start it.

    With --detach they run on without the terminal, restarts and waiting included: see hami ps, logs, wait and stop.
    """
    session.soon("hami_core.local.play", "hami_core.cli.narration")
    if not detach:
        return carry_out(session, _read(session, manifests), output)
    from hami_core.local import supervisor

    @own_failures
    def work(gone: Callable[[], None]) -> int:
        return carry_out_detached(session, _read(session, manifests), output, gone)

    status = supervisor.start(work)
    return 0 if status is None else status


def _read(session: Session, manifests: Sequence[str]) -> tuple[PodSpec, ...]:
    from hami_core.local import manifest

    return manifest.read(manifests, session.host.catalogue)
