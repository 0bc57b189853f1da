"""What the node agent brings to the core: its settings. It owns no kind of device, and its commands are the core's own."""

from __future__ import annotations

from hami_core import hookimpl
from hami_core.node.settings import AgentSettings


@hookimpl
def hami_settings() -> type[AgentSettings]:
    """Of the agent on each node."""
    return AgentSettings
