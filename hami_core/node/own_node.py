"""This node's object as the API server says: what it carries, who is cordoned, and what the kubelet has of our devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec import field as of

from hami_core import wishes
from hami_core.kube.objects import Meta  # noqa: TC001  # msgspec reads it at run time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


class NodeStatus(Struct, gc=False):
    """What of each resource pods may have; texts."""

    allocatable: dict[str, str] | None = None


class NodeObject(Struct, gc=False):
    """A node."""

    metadata: Meta
    status: NodeStatus = of(default_factory=NodeStatus)


class OwnNode:
    """The object as it was last seen. ``changed`` is called with its metadata; None: there is none."""

    def __init__(self, changed: Callable[[Meta | None], None]) -> None:
        self._changed = changed
        self._now: NodeObject | None = None

    def replaced(self, nodes: list[NodeObject]) -> None:
        """There is at most one of the name."""
        self._take(nodes[0] if nodes else None)

    def changed(self, batch: list[tuple[str, NodeObject]]) -> None:
        """What happened to it, in order."""
        for event, node in batch:
            self._take(None if event == "DELETED" else node)

    def _take(self, node: NodeObject | None) -> None:
        self._now = node
        self._changed(None if node is None else node.metadata)

    @property
    def is_there(self) -> bool:
        """Whether the API server knows the node."""
        return self._now is not None

    @property
    def annotations(self) -> Mapping[str, str]:
        """What it carries."""
        return (self._now.metadata.annotations if self._now else None) or {}

    @property
    def cordoned(self) -> Collection[str]:
        """The ids of the devices that are out of service."""
        return wishes.cordoned(self.annotations)

    @property
    def allocatable(self) -> Mapping[str, int] | None:
        """How many devices of each resource the kubelet has reported; None: nothing is known."""
        if self._now is None or self._now.status.allocatable is None:
            return None
        return {name: int(text) for name, text in self._now.status.allocatable.items() if text.isdecimal()}
