"""A JSON patch (RFC 6902) as it comes about: a pod that is changed step by step, and the operations that lead there.

Paths are tuples of member names and list indices. Knows nothing of pods.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Path = tuple[str | int, ...]
    Operation = dict[str, Any]


class Draft:
    """A copy of a document with changes, each recorded when it is made. What is there already is not written again."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document: dict[str, Any] = deepcopy(dict(document))
        self._operations: list[Operation] = []

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What turns the document given into this one, in order."""
        return tuple(self._operations)

    def set(self, path: Path, value: Any) -> None:
        """Give a member of an object this value. Objects on the way that are missing, or null, come with it."""
        node: Any = self.document
        for depth, key in enumerate(path[:-1]):
            below = node.get(key) if isinstance(node, dict) else node[key]
            if below is None:
                for name in reversed(path[depth + 1 :]):
                    value = {name: value}
                self._write("add", path[: depth + 1], node, value)
                return
            node = below
        last = path[-1]
        if isinstance(node, dict) and last not in node:
            self._write("add", path, node, value)
        elif node[last] != value:
            self._write("replace", path, node, value)

    def append(self, path: Path, value: Any) -> None:
        """Put a value at the end of a list, which may be missing."""
        found = self.get(path)
        if found is None:
            self.set(path, [value])
        else:
            found.append(deepcopy(value))
            self._operations.append({"op": "add", "path": f"{pointer(path)}/-", "value": value})

    def remove(self, path: Path) -> None:
        """Take a member or an item away."""
        del self.get(path[:-1])[path[-1]]
        self._operations.append({"op": "remove", "path": pointer(path)})

    def get(self, path: Path) -> Any:
        """What stands there; None where nothing does."""
        node: Any = self.document
        for key in path:
            if node is None:
                return None
            node = node.get(key) if isinstance(node, dict) else node[key]
        return node

    def _write(self, operation: str, path: Path, node: Any, value: Any) -> None:
        node[path[-1]] = deepcopy(value)  # what is recorded must not change with the document
        self._operations.append({"op": operation, "path": pointer(path), "value": value})


def pointer(path: Path) -> str:
    """The path as RFC 6901 writes it."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)
