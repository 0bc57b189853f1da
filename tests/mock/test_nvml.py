"""The simulated libnvidia-ml by NVIDIA's own binding, each time in a new process: pynvml keeps the library in globals."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

MIB = 1 << 20
UNINITIALIZED, INVALID_ARGUMENT, NOT_FOUND, INSUFFICIENT_SIZE = 1, 2, 6, 7
DRIVER_NOT_LOADED, TIMEOUT, ARGUMENT_VERSION_MISMATCH = 9, 10, 25
T4_CONTEXT = 103 * MIB


def ask(on: Machine, code: str) -> Any:
    """What ``code`` says by ``answer(...)``, run after nvmlInit with ``gpu`` the first device."""
    head = "import json\nfrom pynvml import *\nanswer = lambda value: print(json.dumps(value))\nnvmlInit()\n"
    head += "gpu = nvmlDeviceGetHandleByIndex(0)\n"
    done = subprocess.run([sys.executable, "-c", head + code], env=environment(on), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_device_is_what_its_description_says(node: Machine) -> None:
    found = ask(
        node,
        "answer([nvmlDeviceGetCount(), nvmlDeviceGetName(gpu), nvmlDeviceGetUUID(gpu), nvmlDeviceGetMinorNumber(gpu),"
        "list(nvmlDeviceGetCudaComputeCapability(gpu)), nvmlDeviceGetPciInfo(gpu).busId, nvmlDeviceGetArchitecture(gpu)])",
    )

    assert found == [1, "Tesla T4", node.uuids[0], 0, [7, 5], "00000000:3B:00.0", 6]


def test_a_device_is_found_by_index_uuid_and_bus_id_alike(tmp_path: Path) -> None:
    on = machine.install("t4x4", tmp_path / "t4x4")

    code = f"found = [nvmlDeviceGetHandleByUUID({on.uuids[2]!r}), nvmlDeviceGetHandleByPciBusId('0000:AF:00.0'),"
    code += "nvmlDeviceGetHandleByIndex(2)]\nanswer([nvmlDeviceGetIndex(one) for one in found])"

    assert ask(on, code) == [2, 2, 2]


def test_a_device_is_found_by_its_uuid_in_letters_and_in_bytes(tmp_path: Path) -> None:
    on = machine.install("t4x4", tmp_path / "t4x4")
    letters = on.uuids[2].encode()
    raw = bytes.fromhex(on.uuids[2].removeprefix("GPU-").replace("-", ""))

    code = f"found = [nvmlDeviceGetHandleByUUIDV({letters!r}, 1), nvmlDeviceGetHandleByUUIDV({raw!r}, 2)]\n"
    code += "answer([nvmlDeviceGetIndex(one) for one in found])"

    assert ask(on, code) == [2, 2]


def test_versions_are_those_of_the_description(node: Machine) -> None:
    found = ask(node, "answer([nvmlSystemGetDriverVersion(), nvmlSystemGetNVMLVersion(), nvmlSystemGetCudaDriverVersion()])")

    assert found == ["580.65.06", "13.580.65.06", 13000]


def test_the_first_form_of_memory_counts_reserved_as_used_and_the_second_apart(node: Machine, program: Program) -> None:
    program.start().alloc(1000 * MIB)

    first, second = ask(
        node,
        "a, b = nvmlDeviceGetMemoryInfo(gpu), nvmlDeviceGetMemoryInfo(gpu, version=nvmlMemory_v2)\n"
        "answer([[a.total, a.free, a.used], [b.total, b.reserved, b.free, b.used]])",
    )

    used = 1000 * MIB + T4_CONTEXT
    assert first == [15360 * MIB, 15095 * MIB - used, used + 265 * MIB]
    assert second == [15360 * MIB, 265 * MIB, 15095 * MIB - used, used]


@pytest.mark.parametrize("suffix", ["", "_v2", "_v3"])
def test_processes_are_listed_with_their_physical_memory(node: Machine, program: Program, suffix: str) -> None:
    program.start().alloc(1000 * MIB)

    found = ask(
        node,
        f"answer([[one.pid, one.usedGpuMemory] for one in nvmlDeviceGetComputeRunningProcesses{suffix}(gpu)])",
    )

    assert found == [[program.process.pid, 1000 * MIB + T4_CONTEXT]]


def test_a_short_list_says_how_long_it_should_be(program: Program) -> None:
    program.start()
    program.good("nvmlInit_v2")
    gpu = program.good("nvmlDeviceGetHandleByIndex_v2", 0, OUT)

    assert program.call("nvmlDeviceGetComputeRunningProcesses_v3", gpu, OUT, 0) == [INSUFFICIENT_SIZE, 1]
    assert program.call("nvmlDeviceGetGraphicsRunningProcesses_v3", gpu, OUT, 0) == [0, 0]


def test_the_dead_are_not_listed(node: Machine, start: Callable[[Machine], Program]) -> None:
    victim = start(node).start()
    victim.end()

    assert ask(node, "answer(len(nvmlDeviceGetComputeRunningProcesses(gpu)))") == 0


def test_a_wrong_version_word_is_a_mismatch(program: Program) -> None:
    program.good("nvmlInit_v2")
    gpu = program.good("nvmlDeviceGetHandleByIndex_v2", 0, OUT)

    assert program.call("nvmlDeviceGetMemoryInfo_v2", gpu, OUT)[0] == ARGUMENT_VERSION_MISMATCH


def test_nothing_works_before_init_and_after_the_last_shutdown(program: Program) -> None:
    assert program.call("nvmlDeviceGetCount_v2", OUT)[0] == UNINITIALIZED
    program.good("nvmlInit_v2")
    program.good("nvmlInitWithFlags", 0)

    program.good("nvmlShutdown")
    assert program.good("nvmlDeviceGetCount_v2", OUT) == 1
    program.good("nvmlShutdown")

    assert program.call("nvmlDeviceGetCount_v2", OUT)[0] == UNINITIALIZED
    assert program.call("nvmlShutdown")[0] == UNINITIALIZED


def test_what_is_not_there_is_not_found(program: Program) -> None:
    program.good("nvmlInit_v2")

    assert program.call("nvmlDeviceGetHandleByIndex_v2", 1, OUT)[0] == INVALID_ARGUMENT
    assert program.call("nvmlDeviceGetHandleByUUID", "GPU-none", OUT)[0] == NOT_FOUND
    assert program.call("nvmlDeviceGetName", 12345, OUT, 8)[0] == INVALID_ARGUMENT, "no handle of ours"


def test_without_a_state_file_the_driver_is_not_loaded(node: Machine, program: Program) -> None:
    (node.folder / "state").unlink()

    assert program.call("nvmlInit_v2")[0] == DRIVER_NOT_LOADED


def test_a_forked_child_goes_on_asking(program: Program) -> None:
    program.start().alloc(MIB)
    program.good("nvmlInit_v2")

    assert program.call("fork", "nvmlDeviceGetCount_v2", OUT) == [0, 1]


def test_an_event_set_waits_and_times_out(program: Program) -> None:
    program.good("nvmlInit_v2")
    gpu = program.good("nvmlDeviceGetHandleByIndex_v2", 0, OUT)
    events = program.good("nvmlEventSetCreate", OUT)

    program.good("nvmlDeviceRegisterEvents", gpu, program.good("nvmlDeviceGetSupportedEventTypes", gpu, OUT), events)

    assert program.call("nvmlEventSetWait_v2", events, OUT, 1)[0] == TIMEOUT
    program.good("nvmlEventSetFree", events)


def test_gpus_of_one_numa_node_are_nearer_than_others(tmp_path: Path) -> None:
    on = machine.install("dgx-a100", tmp_path / "dgx-a100")

    found = ask(on, "answer([nvmlDeviceGetTopologyCommonAncestor(gpu, nvmlDeviceGetHandleByIndex(i)) for i in range(8)])")

    assert found == [0, 20, 50, 50, 50, 50, 50, 50]


def test_every_function_that_the_binding_looks_up_is_there_and_answers(node: Machine) -> None:
    code = "import re, pynvml\nsource = open(pynvml.__file__).read()\n"
    code += "names = set(re.findall(r'_nvmlGetFunctionPointer\\(\"(\\w+)\"\\)', source))\n"
    code += "answer([len(names), [name for name in sorted(names) if not hasattr(pynvml.nvmlLib, name)]])"

    count, missing = ask(node, code)

    assert count > 400
    assert missing == []


def test_what_has_no_subject_here_is_not_supported(node: Machine) -> None:
    code = "try:\n    nvmlDeviceGetNvLinkState(gpu, 0)\nexcept NVMLError_NotSupported:\n    answer('not supported')"

    assert ask(node, code) == "not supported"
