"""Many processes at one limit by every other way than linear memory, and processes that die while they hold some."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.native.harness import LIMIT, MIB, Frame

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 64 * MIB
WAYS = ("pool", "array", "graph", "virtual")  # what race.c allocates by


def run(frame: Frame, race: Path, *words: str) -> dict[str, Any]:
    outcome = frame.execute(race, *words, seconds=1500)
    assert (outcome.status, outcome.errors) == (0, "")
    [said] = outcome.said
    found: dict[str, Any] = said
    return found


def books(frame: Frame) -> tuple[int, int]:
    """What the driver says is used of the granted device, and the most that ever was. It notices the dead when it is asked."""
    frame.python("c = Cuda(); c.start(); c.memory()")
    numbers = struct.unpack("8Q", frame.truth.read_bytes()[:64])
    return numbers[1], numbers[5]


def check_rounds(frame: Frame, race: Path, processes: int, rounds: int) -> None:
    found = run(frame, race, "rounds", str(processes), str(rounds), str(BLOCK), str(LIMIT))

    found.pop("fewest")
    assert found == {"over": 0, "unfilled": 0, "failed": 0}
    assert books(frame) == (0, LIMIT)


@pytest.mark.parametrize("way", WAYS)
def test_processes_that_race_fill_the_limit_and_never_pass_it(frame: Frame, race: Path, way: str) -> None:
    check_rounds(frame.but(RACE_BY=way), race, 4, 10)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("delay_us", [0, 50, 300])
@pytest.mark.parametrize("processes", [2, 4, 8, 16, 32])
def test_two_thousand_rounds_of_every_size(frame: Frame, race: Path, processes: int, delay_us: int, way: str) -> None:
    check_rounds(frame.but(RACE_BY=way, STUB_DELAY_US=str(delay_us)), race, processes, 200 if delay_us else 2000)


def check_kills(frame: Frame, race: Path, kills: int, seed: int) -> None:
    found = run(frame, race, "kill", str(kills), str(LIMIT), str(seed))

    assert found["lost"] == 0
    assert found["came"] > kills // 4
    assert found["worst_s"] < 1.0
    newcomer = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code(1))")
    assert newcomer.said == [[0, 2]]


@pytest.mark.parametrize("way", WAYS)
def test_after_a_kill_at_any_moment_the_whole_share_is_back_at_once(frame: Frame, race: Path, way: str) -> None:
    check_kills(frame.but(RACE_BY=way), race, 12, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_two_thousand_kills(frame: Frame, race: Path, way: str) -> None:
    check_kills(frame.but(RACE_BY=way), race, 2000, seed=7)


def check_steps(frame: Frame, race: Path, every: int) -> None:
    found = run(frame, race, "steps", str(every), str(LIMIT), "1")

    assert found["late"] == 0
    assert found["instructions"] > 300


@pytest.mark.slow
def test_a_kill_after_some_instructions_of_creating_mapping_and_unmapping_costs_nothing(frame: Frame, race: Path) -> None:
    check_steps(frame.but(RACE_BY="virtual"), race, 97)


@pytest.mark.long
@pytest.mark.parametrize(("way", "every"), [("pool", 37), ("array", 37), ("graph", 211), ("virtual", 7)])
def test_a_kill_after_any_instruction_costs_nothing(frame: Frame, race: Path, way: str, every: int) -> None:
    """Each one would take minutes: the driver's own instructions are among them."""
    check_steps(frame.but(RACE_BY=way), race, every)
