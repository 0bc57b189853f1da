"""cuMemCreate with cuMemRelease, and cuMemMap with cuMemUnmap, through the interposer and on the bare simulated driver."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.allocations import compiled, environments, seconds
from bench.interleave import Measured, Row, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 9
GOAL = 60e-9  # seconds that the interposer may add to a call; a pair is two
PAIRS = ("create+release", "map+unmap")


def rows() -> list[Row]:
    """Bare, interposed and the difference, for both pairs; of a process its fastest repetition."""
    with tempfile.TemporaryDirectory() as folder:
        bare, interposed = environments(Path(folder))
        program = compiled(Path(folder))
        return [row for pair in PAIRS for row in _rows(program, bare, interposed, pair)]


def _rows(program: Path, bare: Mapping[str, str], interposed: Mapping[str, str], pair: str) -> list[Row]:
    pairs = [(seconds(program, bare, 0, pair), seconds(program, interposed, 0, pair)) for _ in range(ROUNDS)]
    alone, through = (Measured(times) for times in zip(*pairs, strict=True))
    added = Measured([slower - faster for faster, slower in pairs])
    baseline = "bare simulated driver"
    return [
        Row(pair, baseline, alone),
        Row(pair, "through the interposer", through, baseline, ratio(through, alone)),
        Row(pair, "added by it", added, baseline, ratio(added, alone), 2 * GOAL),
    ]
