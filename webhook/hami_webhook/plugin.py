"""What admission brings to the core: its settings and its commands. It owns no kind of device."""

from __future__ import annotations

from hami_core import hookimpl
from hami_webhook.settings import WebhookSettings


@hookimpl
def hami_settings() -> type[WebhookSettings]:
    """Who is refused, and who is scheduled by us."""
    return WebhookSettings
