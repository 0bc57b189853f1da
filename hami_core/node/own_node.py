"""This node's object as the API server says: whether it is there, what it carries, and who is cordoned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hami_core import wishes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hami_core.kube.objects import Meta, Node


class OwnNode:
    """The object as it was last seen. ``changed`` is called with its metadata; None: there is none."""

    def __init__(self, changed: Callable[[Meta | None], None]) -> None:
        self._changed = changed
        self._now: Meta | None = None

    def replaced(self, nodes: list[Node]) -> None:
        """There is at most one of the name."""
        self._take(nodes[0].metadata if nodes else None)

    def changed(self, batch: list[tuple[str, Node]]) -> None:
        """What happened to it, in order."""
        for event, node in batch:
            self._take(None if event == "DELETED" else node.metadata)

    def _take(self, meta: Meta | None) -> None:
        self._now = meta
        self._changed(meta)

    @property
    def is_there(self) -> bool:
        """Whether the API server knows the node."""
        return self._now is not None

    @property
    def annotations(self) -> Mapping[str, str]:
        """What it carries."""
        return (self._now.annotations if self._now else None) or {}

    @property
    def cordoned(self) -> Collection[str]:
        """The ids of the devices that are out of service."""
        return wishes.cordoned(self.annotations)
