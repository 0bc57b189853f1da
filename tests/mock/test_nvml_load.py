"""What NVML says of load, and of memory that fails: ghosts, utilisation, clocks, power; ECC, rows, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hami_mock import machine, script
from tests.mock.test_nvml import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine
    from tests.mock.conftest import Program

MIB = 1 << 20
NOT_SUPPORTED = 3


@pytest.fixture
def weird(tmp_path: Path) -> Machine:
    """Its GPU 1 has a ghost of 8192 MiB and 35 %; its GPU 2 has no memory of its own."""
    return machine.install("weird", tmp_path / "weird")


def of(index: int) -> str:
    return f"gpu = nvmlDeviceGetHandleByIndex({index})\n"


def code_of(call: str) -> str:
    return f"try:\n    {call}\n    answer(0)\nexcept NVMLError as error:\n    answer(error.value)"


def test_a_ghost_holds_memory_and_keeps_the_gpu_busy(weird: Machine) -> None:
    found = ask(
        weird,
        of(1) + "answer([nvmlDeviceGetMemoryInfo(gpu, version=nvmlMemory_v2).used, nvmlDeviceGetUtilizationRates(gpu).gpu,"
        "[[one.pid, one.usedGpuMemory] for one in nvmlDeviceGetComputeRunningProcesses(gpu)],"
        "[[one.pid, one.smUtil] for one in nvmlDeviceGetProcessUtilization(gpu, 0)]])",
    )

    assert found == [8192 * MIB, 35, [[4242, 8192 * MIB]], [[4242, 35]]]


def test_nobody_gets_what_a_ghost_holds(weird: Machine, start: Callable[[Machine], Program]) -> None:
    program = start(weird).start(2)  # CUDA counts from the fastest on

    assert program.call("cuMemAlloc_v2", "out", (15360 - 265 - 103 - 8192 + 1) * MIB)[0] == 2
    assert program.alloc((15360 - 265 - 103 - 8192) * MIB)


def test_clocks_power_and_temperature_follow_the_load(weird: Machine) -> None:
    code = "answer([nvmlDeviceGetPowerUsage(gpu), nvmlDeviceGetTemperature(gpu, 0), nvmlDeviceGetPerformanceState(gpu),"
    code += "nvmlDeviceGetClockInfo(gpu, NVML_CLOCK_SM), nvmlDeviceGetCurrentClocksEventReasons(gpu)])"

    idle, busy = ask(weird, of(0) + code), ask(weird, of(1) + code)

    assert idle == [9000, 32, 8, 300, 1]
    assert busy == [9000 + 61000 * 9 // 10 * 35 // 100, 32 + 45 * 35 // 100, 0, 1590, 0]


def test_a_context_alone_wakes_the_gpu(node: Machine, program: Program) -> None:
    program.start()

    assert ask(node, "answer([nvmlDeviceGetPerformanceState(gpu), nvmlDeviceGetUtilizationRates(gpu).gpu])") == [0, 0]


def test_memory_that_is_the_hosts_is_not_told(weird: Machine) -> None:
    assert ask(weird, of(2) + code_of("nvmlDeviceGetMemoryInfo(gpu)")) == NOT_SUPPORTED


def test_an_uncorrected_error_costs_a_row_from_ampere_on_and_asks_for_a_reset(tmp_path: Path) -> None:
    on = machine.install("a30-node", tmp_path / "a30")
    script.add(on.folder, {"kind": "ecc", "gpu": 1, "corrected": 3, "uncorrected": 2})
    code = "answer([list(nvmlDeviceGetRemappedRows(gpu)), nvmlDeviceGetMemoryErrorCounter(gpu, 1, 0, 2),"
    code += "nvmlDeviceGetMemoryErrorCounter(gpu, 0, 1, 0), nvmlDeviceGetFieldValues(gpu, [230])[0].value.uiVal])"

    assert ask(on, of(1) + code) == [[0, 2, 1, 0], 2, 0, 1]
    assert ask(on, of(0) + code) == [[0, 0, 0, 0], 0, 0, 0]
    script.restore(on.folder, 1)
    assert ask(on, of(1) + code) == [[0, 0, 0, 0], 0, 0, 0]


def test_an_uncorrected_error_costs_a_page_before_ampere(node: Machine) -> None:
    script.add(node.folder, {"kind": "ecc", "gpu": 0})
    code = "answer([[len(nvmlDeviceGetRetiredPages(gpu, cause)) for cause in (0, 1)],"
    code += "nvmlDeviceGetRetiredPagesPendingStatus(gpu)])"

    assert ask(node, code) == [[0, 1], 1]
    assert ask(node, code_of("nvmlDeviceGetRemappedRows(gpu)")) == NOT_SUPPORTED


def test_a_gpu_in_want_of_a_reset_says_so_by_its_recovery_action(node: Machine) -> None:
    code = "import pynvml\n"
    found = ask(node, code + "answer(nvmlDeviceGetFieldValues(gpu, [230])[0].value.uiVal)")
    script.add(node.folder, {"kind": "reset_required", "gpu": 0, "when": {"call": "nvmlDeviceGetName"}})
    wanted = ask(
        node,
        "try:\n    nvmlDeviceGetName(gpu)\nexcept NVMLError:\n    pass\n"
        "answer([[one.nvmlReturn, one.value.uiVal] for one in nvmlDeviceGetFieldValues(gpu, [230, 94])])",
    )

    assert found == 0
    assert wanted == [[0, 1], [16, 0]]


def test_a_kernel_keeps_its_gpu_and_its_process_busy(node: Machine, program: Program) -> None:
    machine.set_kernel(node.folder, None, 60 * 10**9)
    program.start()
    module = program.good("cuModuleLoadData", "out", "an image")
    kernel = program.good("cuModuleGetFunction", "out", module, "kernel")
    code = "answer([nvmlDeviceGetUtilizationRates(gpu).gpu, nvmlDeviceGetPowerUsage(gpu),"
    code += "[one.pid for one in nvmlDeviceGetProcessUtilization(gpu, 0)]])"

    program.good("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)
    while ask(node, "answer(nvmlDeviceGetUtilizationRates(gpu).gpu)") < 100:
        pass

    assert ask(node, code) == [100, 9000 + 61000 * 9 // 10, [program.process.pid]]
