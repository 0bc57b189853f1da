"""What the scheduler brings to the core: its settings and its commands. It owns no kind of device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import hookimpl
from hami_scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click


@hookimpl
def hami_settings() -> type[SchedulerSettings]:
    """Of the extender, and of the kube-scheduler beside it."""
    return SchedulerSettings


@hookimpl
def hami_commands() -> Sequence[click.Command]:
    """``hami scheduler``: serve, and what has to be there before; ``hami explain``: asking a running one."""
    from hami_scheduler.commands import scheduler
    from hami_scheduler.explain_command import explain

    return [scheduler, explain]
