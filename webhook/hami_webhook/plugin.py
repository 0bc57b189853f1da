"""What admission brings to the core: its settings and its commands. It owns no kind of device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import hookimpl
from hami_webhook.settings import WebhookSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click


@hookimpl
def hami_settings() -> type[WebhookSettings]:
    """Who is refused, who is scheduled by us, and how the webhook is found and trusted."""
    return WebhookSettings


@hookimpl
def hami_commands() -> Sequence[click.Command]:
    """``hami webhook``."""
    from hami_webhook import commands

    return [commands.webhook]
