"""Many processes at one limit, and processes that die at any moment: nothing over, nobody starved, everything back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine
from hami_native import Region
from tests.native.harness import MIB, Frame, device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

LIMIT = 1024 * MIB
BLOCK = 64 * MIB


@pytest.fixture
def simulated(tmp_path: Path) -> Frame:
    """A share of the one T4 of a simulated machine, whose own books are the truth."""
    made = machine.install("t4-node", tmp_path / "machine")
    folder = tmp_path / "grant"
    folder.mkdir()
    return Frame(made.libraries, folder).grants(device(name=made.uuids[0], memory=LIMIT))


def truth(frame: Frame) -> machine.Truth:
    return machine.truth(frame.driver.parent)


def run_rounds(frame: Frame, race: Path, processes: int, rounds: int) -> dict[str, Any]:
    outcome = frame.execute(race, "rounds", str(processes), str(rounds), str(BLOCK), str(LIMIT), seconds=1500)
    assert (outcome.status, outcome.errors) == (0, "")
    [said] = outcome.said
    found: dict[str, Any] = said
    return found


def check_rounds(frame: Frame, race: Path, processes: int, rounds: int) -> int:
    """Returns how many blocks the process got that got the fewest."""
    found = run_rounds(frame, race, processes, rounds)

    fewest: int = found.pop("fewest")
    assert found == {"over": 0, "unfilled": 0, "failed": 0}
    [gpu] = truth(frame).devices
    assert (gpu.requested, gpu.requested_peak) == (0, LIMIT)
    return fewest


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_that_race_fill_the_limit_and_never_pass_it(simulated: Frame, race: Path, processes: int) -> None:
    check_rounds(simulated, race, processes, 30)


def test_a_slow_driver_opens_no_gap_between_question_and_answer(simulated: Frame, race: Path) -> None:
    machine.set_latency(simulated.driver.parent, 50_000)

    check_rounds(simulated, race, 8, 10)


@pytest.mark.long
@pytest.mark.parametrize("latency_us", [0, 50, 300])
@pytest.mark.parametrize("processes", [2, 4, 8, 16, 32])
def test_two_thousand_rounds_of_every_size(simulated: Frame, race: Path, processes: int, latency_us: int) -> None:
    machine.set_latency(simulated.driver.parent, latency_us * 1000)

    # in a few rounds the scheduler alone may never let a process be early
    assert check_rounds(simulated, race, processes, 2000 if latency_us == 0 else 200) > 0


def check_kills(frame: Frame, race: Path, kills: int, seed: int) -> float:
    outcome = frame.execute(race, "kill", str(kills), str(LIMIT), str(seed), seconds=1500)
    assert (outcome.status, outcome.errors) == (0, "")
    [said] = outcome.said

    assert said["lost"] == 0
    assert said["came"] > kills // 4
    assert said["worst_s"] < 1.0
    now = truth(frame)
    # no peak here: a driver frees what the dead held when it notices, which may be after the share has been given out again
    assert (now.devices[0].requested, now.processes) == (0, ())
    newcomer = frame.python(f"c = Cuda(); c.start(); say(c.code({LIMIT}), c.code(1))")
    assert newcomer.said == [[0, 2]]
    worst: float = said["worst_s"]
    return worst


def test_after_a_kill_at_any_moment_the_whole_share_is_back_at_once(simulated: Frame, race: Path) -> None:
    check_kills(simulated, race, 40, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 1001])
def test_two_thousand_kills(simulated: Frame, race: Path, seed: int, record_property: Callable[[str, object], None]) -> None:
    record_property("worst_s", check_kills(simulated, race, 1000, seed))


def check_steps(frame: Frame, race: Path, every: int, *, attached: bool) -> int:
    outcome = frame.execute(race, "steps", str(every), str(LIMIT), str(int(attached)), seconds=1500)
    assert (outcome.status, outcome.errors) == (0, "")
    [said] = outcome.said
    assert said["late"] == 0
    instructions: int = said["instructions"]
    return instructions


def test_a_kill_after_any_instruction_of_an_allocation_and_a_free_costs_nothing(frame: Frame, race: Path) -> None:
    assert check_steps(frame, race, 7, attached=True) > 300


@pytest.mark.long
def test_a_kill_after_each_instruction_of_an_allocation_and_a_free_costs_nothing(frame: Frame, race: Path) -> None:
    assert check_steps(frame, race, 1, attached=True) > 300


@pytest.mark.long
def test_a_kill_after_any_instruction_of_attaching_costs_nothing(frame: Frame, race: Path) -> None:
    assert check_steps(frame, race, 307, attached=False) > 3000


def test_more_processes_than_slots_are_limited_all_the_same(simulated: Frame) -> None:
    """All slots are marked as those of processes that cannot be told dead."""
    simulated.python("c = Cuda(); c.start(); c.code(1)")
    region = bytearray(simulated.region().read_bytes())
    for slot in range(512):
        offset = 8192 + 1024 * slot
        region[offset : offset + 1024] = (2).to_bytes(1024, "little")  # LIVE, of a process in an unknown PID namespace
    region[32:36] = (512).to_bytes(4, "little")
    simulated.region().write_bytes(region)

    outcome = simulated.python(f"c = Cuda(); c.start(); say(c.code({LIMIT // 2}), c.code({LIMIT}), c.memory()[0])")
    after = simulated.python("c = Cuda(); c.start(); say(c.memory()[0])")

    assert (outcome.said, after.said) == ([[0, 2, LIMIT // 2]], [LIMIT])
    assert len(Region.read(simulated.region()).processes) == 512
