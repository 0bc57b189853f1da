"""``hami play``: Pod manifests, as a cluster would take them, carried out as processes of this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output
from hami_core.cli.workload import carry_out, own_failures

if TYPE_CHECKING:
    from hami_core.cli.session import Session


@click.command()
@click.argument("manifests", nargs=-1, required=True, metavar="POD.yaml...")
@output
@click.pass_obj
@own_failures
def play(session: Session, manifests: tuple[str, ...], output: str) -> int:
    """Run Pod manifests as processes of this host.

    All at once; a Pod that does not fit waits for room. Images are not pulled: a container's command runs on this host, as you.
    "-" reads standard input. The exit status is that of the first Pod that failed; 125: hami could not start it.
    """
    from hami_core.local import manifest

    pods = manifest.read(manifests, session.host.catalogue)
    return carry_out(session, pods, output)
