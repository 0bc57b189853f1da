"""What counting costs, in instructions: the one figure of speed that a busy machine does not change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.native.harness import Frame, compile_c

if TYPE_CHECKING:
    from pathlib import Path

MOST = 350  # instructions of an allocation with its free, beside the driver's own
MOST_OF_A_POOL = 650  # the same in the order of a stream, where the pool's reserve need not grow
PAIRS = 10_000

pytestmark = [pytest.mark.needs("valgrind"), pytest.mark.slow]


def instructions(frame: Frame, program: Path, pairs: int, *words: str) -> int:
    counts = frame.folder / "counts"
    counting = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", "-q")
    outcome = frame.execute(*counting, program, str(pairs), *words)
    assert outcome.status == 0, outcome.errors
    found = re.search(r"^totals: (\d+)$", counts.read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def of_a_pair(frame: Frame, program: Path, *words: str) -> float:
    """Start and end cancel between a short and a long run."""
    return (instructions(frame, program, 3 * PAIRS, *words) - instructions(frame, program, PAIRS, *words)) / (2 * PAIRS)


def test_an_allocation_and_its_free_cost_few_instructions(frame: Frame, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "pairs", "pairs.c", flags=["-ldl"])

    cost = of_a_pair(frame, program) - of_a_pair(frame.without_interposer(), program)

    assert 0 < cost <= MOST


def test_a_pool_that_serves_from_its_reserve_costs_few_instructions(frame: Frame, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "pairs", "pairs.c", flags=["-ldl"])

    cost = of_a_pair(frame, program, "pool") - of_a_pair(frame.without_interposer(), program, "pool")

    assert 0 < cost <= MOST_OF_A_POOL


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "most"), [("create", 700), ("map", 800)])
def test_virtual_memory_costs_few_instructions(frame: Frame, tmp_path: Path, pair: str, most: int) -> None:
    """cuMemCreate with cuMemRelease; cuMemMap with cuMemUnmap."""
    program = compile_c(tmp_path / "pairs", "pairs.c", flags=["-ldl"])

    cost = of_a_pair(frame, program, pair) - of_a_pair(frame.without_interposer(), program, pair)

    assert 0 < cost <= most
