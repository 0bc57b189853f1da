"""gpustat and nvitop judge the simulated machine: devices, memory, and who holds it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hami_mock import description, machine
from tests.mock import monitors
from tests.mock.conftest import Program, environment
from tests.mock.monitors import Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

MIB = 1 << 20
MACHINES = ("t4-node", "t4x4", "dgx-a100", "dgx-h100")
CONTEXT = {"t4-node": 103, "t4x4": 103, "dgx-a100": 411, "dgx-h100": 527}

pytestmark = pytest.mark.slow


@pytest.fixture(params=MACHINES)
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return machine.install(request.param, tmp_path / request.param)


@pytest.fixture
def holder(on: Machine, start: Callable[[Machine], Program]) -> Program:
    """Holds 3000 MiB of the last GPU."""
    program = start(on).start(len(on.uuids) - 1)
    program.alloc(3000 * MIB)
    return program


def truth(on: Machine, holder: Program) -> list[Seen]:
    """What there is to see."""
    gpus = description.load(on.name).gpus
    held = 3000 + CONTEXT[on.name]
    found = [Seen(gpu.profile.name, gpu.uuid, gpu.profile.memory, 0, {}) for gpu in gpus]
    last = found.pop()
    return [*found, Seen(last.name, last.uuid, last.total, held, {holder.process.pid: held})]


def test_gpustat_shows_every_gpu_and_who_holds_its_memory(on: Machine, holder: Program) -> None:
    assert monitors.by_gpustat(monitors.run(monitors.GPUSTAT, environment(on))) == truth(on, holder)


def test_nvitops_python_api_shows_every_gpu_and_who_holds_its_memory(on: Machine, holder: Program) -> None:
    assert monitors.by_nvitop(monitors.run(monitors.NVITOP_API, environment(on))) == truth(on, holder)


def test_nvitop_shows_every_gpu_and_the_process(on: Machine, holder: Program) -> None:
    screen = monitors.run(monitors.NVITOP, environment(on))

    assert len(re.findall(r" (?:\d+MiB|0B) / ", screen)) == len(on.uuids)
    assert f" {3000 + CONTEXT[on.name]}MiB / " in screen
    assert re.search(rf"\b{holder.process.pid} C +\w+ +{3000 + CONTEXT[on.name]}MiB\b", screen)
