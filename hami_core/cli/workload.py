"""What ``play`` and ``run`` share: telling what happens, the document at the end, and whose exit status is whose."""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from hami_core import names
from hami_core.cli.output import show_json
from hami_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hami_core.cli.session import Session
    from hami_core.local.events import Played
    from hami_core.local.manifest import PodSpec

OWN_FAILURE = 125  # as docker, podman and env(1) say that they could not run the command; below it a status is the workload's


def own_failures(command: Callable[..., int]) -> Callable[..., int]:
    """Tell a failure of ours from one of the workload, whose exit status is passed on."""

    @wraps(command)
    def guarded(*args: Any, **options: Any) -> int:
        try:
            return command(*args, **options)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click's own ways out
        except Exception as error:
            from hami_core.cli.app import fail
            from hami_core.cli.session import DEBUG

            fail(error, debug=click.get_current_context().meta.get(DEBUG, False))
            return OWN_FAILURE

    return guarded


def carry_out(session: Session, pods: Sequence[PodSpec], output: str, interactive: bool = False) -> int:
    """Run the pods to their end, tell of it, and return their exit status."""
    from hami_core.cli.narration import tell
    from hami_core.local.output import Output
    from hami_core.local.play import play

    if os.environ.get(names.ENV_LIMITS):
        held = "this process is inside a share already, and sees nothing but that share; start the program itself"
        raise UserError(f"{names.ENV_LIMITS}: {held}, or hami from outside")

    played = play(session.host, pods, tell, Output(to_stderr=output == "json", interactive=interactive))
    if output == "json":
        show_json(document(played))
    return played.status


def document(played: Played) -> dict[str, Any]:
    """The whole run as docs/json.md describes it."""
    made = asdict(played)
    for pod in made["pods"]:
        for share in pod["shares"]:
            share["options"] = dict(share["options"])
    return made
