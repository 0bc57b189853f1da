"""The other port: metrics, and whether we are well. Reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from hami_core.node import metrics
from hami_core.serving.exchange import Answer, Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hami_core.node.metrics import Work
    from hami_core.serving.exchange import App

LARGEST = 1 << 10  # bytes of a request's body; nothing here has one


def app(work: Work, ready: Callable[[], Mapping[str, Any]], dead: Callable[[], list[str]]) -> App:
    """The ASGI application. ``ready``: what readiness needs, part by part, and "ready"; ``dead``: who has ended."""

    async def page(_: bytes) -> Answer:
        return Answer(work.page(), content_type=metrics.CONTENT_TYPE)

    async def healthz(_: bytes) -> Answer:
        ended = dead()
        return Answer(orjson.dumps({"dead": ended}), 500 if ended else 200)

    async def readyz(_: bytes) -> Answer:
        told = ready()
        return Answer(orjson.dumps(told), 200 if told["ready"] else 503)

    return Routes({"/metrics": {"GET": page}, "/healthz": {"GET": healthz}, "/readyz": {"GET": readyz}}, LARGEST)
