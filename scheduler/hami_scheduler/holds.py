"""Holds that no watch has confirmed yet: the likely ones between filter and bind, and those of Bindings on their way.

    LIKELY   room between filter and bind. Ends with its time, with another choice, or --begin--> BINDING
    BINDING  a Binding is on its way. --the API server says yes--> BOUND, --no--> released, --nothing--> UNKNOWN
    UNKNOWN  it may have been carried out. --the pod is read, or seen--> BOUND, confirmed, or released
    BOUND    by the API server's word. --the watch shows the pod--> confirmed: no hold any more, a holding

A LIKELY one may be given up at any time; the others are firm: they stand until it is known what became of the Binding.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from hami_core.model import Holding


class Stage(Enum):
    """How far a hold has come."""

    LIKELY = "likely"
    BINDING = "binding"
    UNKNOWN = "unknown"
    BOUND = "bound"


@define(eq=False)
class Hold:
    """One pod's room on a node."""

    node: str
    holding: Holding
    until: float  # when a LIKELY one ends
    stage: Stage = Stage.LIKELY
    attempts: int = 0  # Bindings of which it is not known what became of them
    settled: float = 0.0  # when it became BOUND
    annotations: Mapping[str, str] = field(factory=dict)  # what its Binding carries

    @property
    def firm(self) -> bool:
        """Whether a Binding may have been sent."""
        return self.stage is not Stage.LIKELY

    @property
    def uid(self) -> str:
        """Whose it is."""
        return self.holding.uid


class Holds:
    """Holds by the pod's uid, the oldest first."""

    def __init__(self) -> None:
        self._likely: dict[str, Hold] = {}
        self._firm: dict[str, Hold] = {}

    def get(self, uid: str) -> Hold | None:
        """A pod's hold."""
        return self._firm.get(uid) or self._likely.get(uid)

    def add(self, hold: Hold) -> None:
        """A new one, after all others in its stage."""
        (self._firm if hold.firm else self._likely)[hold.uid] = hold

    def harden(self, hold: Hold) -> None:
        """A likely one whose Binding begins."""
        self._likely.pop(hold.uid, None)
        self._firm[hold.uid] = hold

    def pop(self, uid: str) -> Hold | None:
        """A hold ends here: confirmed, or released by the caller."""
        return self._firm.pop(uid, None) or self._likely.pop(uid, None)

    def over(self, now: float) -> Iterator[Hold]:
        """Likely ones whose time is over. They all last equally long, so the oldest end first."""
        while self._likely:
            oldest = next(iter(self._likely.values()))
            if oldest.until > now:
                return
            yield self._likely.pop(oldest.uid)

    def likely(self) -> Collection[Hold]:
        """Those that may be given up."""
        return self._likely.values()

    def firm(self) -> Collection[Hold]:
        """Those that stand."""
        return self._firm.values()
