"""``hami run``: one command under a share, without a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hami_core.cli.output import output
from hami_core.cli.workload import carry_out, own_failures

if TYPE_CHECKING:
    from hami_core.cli.session import Session


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--gpus", "count", metavar="N", help="So many different devices.")
@click.option("--gpumem", "memory", metavar="MiB", help="Memory of each, in MiB.")
@click.option("--gpumem-percentage", "memory_percent", metavar="N", help="Memory of each, in percent.")
@click.option("--gpucores", "cores", metavar="N", help="Compute of each, in percent.")
@click.option("--priority", metavar="0|1", help="0 high, 1 low.")
@click.option("--kind", metavar="NAME", default="nvidia", show_default=True, help="Whose devices the options above ask for.")
@click.option("--limit", "limits", metavar="NAME=VALUE", multiple=True, help="Any limit of a manifest; may be repeated.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@output
@click.pass_obj
@own_failures
def run(
    session: Session, kind: str, limits: tuple[str, ...], command: tuple[str, ...], output: str, **roles: str | None
) -> int:
    """Run a command under a share.

    Example: hami run --gpumem 3000 -- python train.py

    Without any limit it gets one device with the default share; if that does not fit now it waits. Standard input and the
    terminal are the command's, and its exit status is ours; 125: hami could not start it.
    """
    from hami_core.local import run as local

    session.soon("hami_core.local.play", "hami_core.cli.narration")
    catalogue = session.host.catalogue
    wanted = local.assignments(limits)
    asked = {role: text for role, text in roles.items() if text is not None}
    if asked or not wanted:
        wanted |= local.limits(local.kind(catalogue, kind), asked or {"count": "1"})
    return carry_out(session, (local.pod(command, wanted, catalogue),), output, interactive=True)
