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
    from hami_core.local.host import Host
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

    refuse_inside_a_share()
    played = play(session.host, pods, tell, Output(to_stderr=output == "json", interactive=interactive))
    if output == "json":
        show_json(document(played))
    return played.status


def carry_out_detached(session: Session, pods: Sequence[PodSpec], output: str, gone: Callable[[], None]) -> int:
    """Run the pods, and leave the terminal as soon as each has its place. Called in a process that may do so."""
    from hami_core.cli.narration import tell
    from hami_core.local.output import KEPT_ALONE
    from hami_core.local.play import play
    from hami_core.local.supervisor import Departure

    def leave() -> None:
        _show_detached(session.host, pods, output)
        departure.leave()
        gone()

    refuse_inside_a_share()
    departure = Departure(session.host.folder, pods, tell, leave)
    return play(session.host, pods, departure.tell, KEPT_ALONE).status


def refuse_inside_a_share() -> None:
    """A run within a run would see nothing but the outer one's share. UserError."""
    if os.environ.get(names.ENV_LIMITS):
        held = "this process is inside a share already, and sees nothing but that share; start the program itself"
        raise UserError(f"{names.ENV_LIMITS}: {held}, or hami from outside")


def _show_detached(host: Host, pods: Sequence[PodSpec], output: str) -> None:
    if output == "json":
        named = [{"pod": pod.label, "name": pod.name, "namespace": pod.namespace, "uid": pod.uid} for pod in pods]
        show_json({"machine": host.name, "simulated": host.machine is not None, "supervisor": os.getpid(), "pods": named})
        return
    for pod in pods:
        click.echo(f"{pod.name}  {pod.uid}")


def document(played: Played) -> dict[str, Any]:
    """The whole run as docs/json.md describes it."""
    made = {"supervisor": os.getpid(), **asdict(played)}
    for pod in made["pods"]:
        for share in pod["shares"]:
            share["options"] = dict(share["options"])
    return made
