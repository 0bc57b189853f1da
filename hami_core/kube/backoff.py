"""How long to wait after a failure: longer each time, never long, and not at the same moment as everybody else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import field, frozen, mutable
from attrs.validators import gt

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen
class Pace:
    """The n-th wait in a row is ``first * factor ** n`` seconds, at most ``cap``; of that, a random part from half to all."""

    first: float = field(default=0.1, validator=gt(0))
    factor: float = field(default=2.0, validator=gt(1))
    cap: float = field(default=5.0, validator=gt(0))  # an API server that is back must not wait for us: we are few

    def seconds(self, failures: int, chance: float) -> float:
        """The wait after so many failures in a row (from 1); ``chance`` in 0..1 decides within the span."""
        steps = min(failures - 1, 64)  # the power stays a number however long the server is gone
        return min(self.first * self.factor**steps, self.cap) * (0.5 + chance / 2)


@mutable
class Backoff:
    """Counts the failures since the last success."""

    pace: Pace = Pace()
    chance: Callable[[], float] = random.random
    failures: int = 0

    def failed(self, at_least: float = 0.0) -> float:
        """The seconds to wait now; ``at_least``: what the server asked for."""
        self.failures += 1
        return max(self.pace.seconds(self.failures, self.chance()), at_least)

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self.failures = 0
