"""What the commands about single pods share: POD arguments, --namespace, and finding the pods that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hami_core.local.pods import Known
    from hami_core.local.state import Folder

namespace = click.option("-n", "--namespace", metavar="NAME", default="", help="Of this namespace only.")
several = click.argument("pods", nargs=-1, required=True, metavar="POD...")


def chosen(folder: Folder, queries: Sequence[str], namespace: str, live_only: bool = False) -> list[Known]:
    """The pods that are meant, each once. UserError: a name means none, or several; then nothing is done to any."""
    from hami_core.local import naming, pods

    known = pods.known(folder)
    found = [naming.choose(known, query, namespace, live_only) for query in queries]
    return list({one.record.uid: one for one in found}.values())
