"""The API server's audit log: who asked it for what, and what it answered. One JSON object a line.

A server that is killed leaves requests without an answer, and perhaps half a line.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@frozen
class Entry:
    """One request; answered, but for those of ``unanswered``. ``body``: what was sent, where the policy keeps bodies."""

    user: str
    verb: str  # create, update, patch, delete, get, list, watch
    resource: str  # with the subresource: pods/binding
    namespace: str
    name: str
    status: int
    body: Mapping[str, Any]
    answer: Mapping[str, Any]
    annotations: Mapping[str, str]  # the audit annotations of admission and authorisation
    agent: str
    received: str  # RFC 3339, microseconds
    answered: str
    uri: str
    stage: str  # ResponseComplete; ResponseStarted for a watch that has begun; Panic

    @property
    def writes(self) -> bool:
        """Whether it asked for a change."""
        return self.verb not in {"get", "list", "watch"}


RECEIVED = "RequestReceived"


def entries(log: Path) -> Iterator[Entry]:
    """Every entry so far, in the order of the log. A last line that is not whole yet is left for the next time."""
    return (_entry(raw) for raw in _lines(log) if raw["stage"] != RECEIVED)


def unanswered(log: Path) -> list[Entry]:
    """Requests that came in and have no answer so far, without bodies; of those alone that the policy notes as they come."""
    open_: dict[str, Mapping[str, Any]] = {}
    for raw in _lines(log):
        if raw["stage"] == RECEIVED:
            open_[raw["auditID"]] = raw
        else:
            open_.pop(raw["auditID"], None)
    return [_entry(raw) for raw in open_.values()]


def _lines(log: Path) -> Iterator[Mapping[str, Any]]:
    if not log.exists():
        return
    with log.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                with suppress(ValueError):  # a killed server's half, and what the next one wrote behind it
                    yield json.loads(line)


def _entry(raw: Mapping[str, Any]) -> Entry:
    target = raw.get("objectRef", {})
    resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part)
    return Entry(
        user=raw["user"].get("username", ""),
        verb=raw["verb"],
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=raw.get("responseStatus", {}).get("code", 0),
        body=raw.get("requestObject", {}),
        answer=raw.get("responseObject", {}),
        annotations=raw.get("annotations", {}),
        agent=raw.get("userAgent", ""),
        received=raw["requestReceivedTimestamp"],
        answered=raw["stageTimestamp"],
        uri=raw["requestURI"],
        stage=raw["stage"],
    )
