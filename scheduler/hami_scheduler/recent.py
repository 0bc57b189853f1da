"""What is remembered for a while: bounded by number and by age, so that nothing grows with the pods that ever were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The latest ``most`` entries that are not older than ``age`` seconds. Writing an entry anew makes it young."""

    def __init__(self, most: int, age: float, now: Callable[[], float]) -> None:
        self._most, self._age, self._now = most, age, now
        self._entries: dict[K, tuple[float, V]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __setitem__(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        self._entries[key] = self._now(), value
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]

    def get(self, key: K) -> V | None:
        """The entry, if it is still young."""
        since, value = self._entries.get(key, (0.0, None))
        return value if value is not None and self._now() - since < self._age else None

    def pop(self, key: K) -> V | None:
        """The entry, which is forgotten."""
        since, value = self._entries.pop(key, (0.0, None))
        return value if value is not None and self._now() - since < self._age else None

    def items(self) -> Iterator[tuple[K, V]]:
        """Everything that is young, the oldest first."""
        self.expire()
        return iter([(key, value) for key, (_, value) in self._entries.items()])

    def expire(self) -> None:
        """Forget what is too old."""
        until = self._now() - self._age
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > until:
                return
            del self._entries[oldest]
