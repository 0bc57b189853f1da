"""What GPUs and processes use: from lists that overlap, samples that are old, and calls that are missing."""

from __future__ import annotations

import time
from typing import Any

import pynvml
import pytest

from hami_core.model import DeviceUse, ProcessUse, Usage
from hami_nvidia import usage
from tests.nvidia.driver import LOST, MIB, NOT_SUPPORTED, WHOLE, FakeNvml, Record, gpus

COMPUTE, GRAPHICS, MPS = usage.LISTS["C"], usage.LISTS["G"], usage.LISTS["M"]


def entry(pid: int, memory: int | None = 100 * MIB, gi: int = WHOLE, ci: int = WHOLE) -> Record:
    return Record(pid=pid, usedGpuMemory=memory, gpuInstanceId=gi, computeInstanceId=ci)


def sample(pid: int, busy: int, at: int = 1) -> Record:
    return Record(pid=pid, smUtil=busy, timeStamp=at)


def counted(**lists: list[Record] | int) -> Usage:
    """The use of one GPU whose driver gives these lists, or refuses with a code."""
    fake = FakeNvml(gpus(1))
    for name, answer in lists.items():
        if isinstance(answer, int):
            fake.refuses[name] = answer
            fake.answers[name] = lambda *_: None
        else:
            fake.answers[name] = lambda *_, answer=answer: answer
    return usage.measured(fake.nvml, 5)


def processes(**lists: list[Record] | int) -> tuple[ProcessUse, ...]:
    return counted(**lists).processes


def test_a_process_has_the_letter_of_its_list() -> None:
    found = processes(**{COMPUTE: [entry(1)], GRAPHICS: [entry(2)], MPS: [entry(3)]})

    assert {one.pid: one.type for one in found} == {1: "C", 2: "G", 3: "M"}


def test_a_process_in_two_lists_is_one_and_its_memory_counts_once() -> None:
    found = processes(**{COMPUTE: [entry(1, 100 * MIB), entry(2)], GRAPHICS: [entry(1, 100 * MIB)], MPS: [entry(2)]})

    assert [(one.pid, one.type, one.memory) for one in sorted(found, key=lambda one: one.pid)] == [
        (1, "C+G", 100),
        (2, "M+C", 100),
    ]


@pytest.mark.parametrize(("used", "mib"), [(0, 0), (1, 1), (MIB, 1), (MIB + 1, 2), (None, None)])
def test_memory_is_rounded_up_or_not_told(used: int | None, mib: int | None) -> None:
    assert processes(**{COMPUTE: [entry(1, used)]})[0].memory == mib


def test_a_process_in_two_instances_is_two() -> None:
    found = processes(**{COMPUTE: [entry(1, 5 * MIB, 1, 0), entry(1, 6 * MIB, 2, 0), entry(2, MIB)]})

    assert [(one.pid, one.instance, one.memory) for one in found] == [(1, "1/0", 5), (1, "2/0", 6), (2, "", 1)]


def test_an_old_driver_has_no_instances() -> None:
    assert processes(**{COMPUTE: [Record(pid=1, usedGpuMemory=MIB)]})[0].instance == ""


def test_of_several_samples_the_last_counts() -> None:
    busy: dict[str, list[Record] | int] = {
        COMPUTE: [entry(1), entry(2)],
        "nvmlDeviceGetProcessUtilization": [sample(1, 90, 30), sample(1, 50, 10), sample(3, 1, 40)],
    }

    found = processes(**busy)

    assert {one.pid: one.utilisation for one in found} == {1: 90, 2: None}


@pytest.mark.parametrize("code", [pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND, NOT_SUPPORTED])
def test_no_samples_come_as_an_exception(code: int) -> None:
    answers: dict[str, list[Record] | int] = {COMPUTE: [entry(1)], "nvmlDeviceGetProcessUtilization": code}

    (one,) = processes(**answers)

    assert one.utilisation is None


def test_samples_are_asked_for_the_last_moments_alone() -> None:
    asked: list[int] = []

    def samples(_: FakeNvml, gpu: object, since: int) -> list[Record]:
        asked.append(since)
        return []

    fake = FakeNvml(gpus(1), answers={COMPUTE: lambda *_: [entry(1)], "nvmlDeviceGetProcessUtilization": samples})
    before = time.time()
    usage.measured(fake.nvml, 5)

    (since,) = asked
    assert before - usage.WINDOW - 1 < since / 1e6 < time.time() - usage.WINDOW + 1


def test_a_gpu_is_told_as_far_as_it_answers() -> None:
    answers: dict[str, Any] = {
        "nvmlDeviceGetUtilizationRates": lambda *_: Record(gpu=40),
        "nvmlDeviceGetTemperature": lambda *_: 61,
        "nvmlDeviceGetPowerUsage": lambda *_: 70400,
    }
    whole, bare = FakeNvml(gpus(1), answers=answers), FakeNvml(gpus(1))

    assert usage.measured(whole.nvml, 5).devices == (DeviceUse("GPU-0", 100, 40, 61, 70),)
    assert usage.measured(bare.nvml, 5) == Usage((DeviceUse("GPU-0", 100),), ())


def test_a_gpu_that_is_lost_or_hangs_hides_no_sibling() -> None:
    fake = FakeNvml(gpus(3), refuses={("nvmlDeviceGetMemoryInfo", 0): LOST}, hangs={(COMPUTE, 1)})
    fake.answers[COMPUTE] = lambda *_: []

    assert [use.device for use in usage.measured(fake.nvml, 0.1).devices] == ["GPU-2"]
