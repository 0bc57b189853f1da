"""Scripted faults: what a program meets, in which of its calls, and that nothing else does."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine, script
from hami_mock.description import parse
from hami_mock.drivers import functions
from hami_mock.toml_table import DescriptionError
from tests.mock.conftest import OUT, TEXT, Program, environment
from tests.mock.test_description import SMALL
from tests.mock.test_lookup import names_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hami_mock.machine import Machine

MIB = 1 << 20
UNINITIALIZED, NOT_SUPPORTED, DRIVER_NOT_LOADED, TIMEOUT, GPU_IS_LOST, RESET_REQUIRED = 1, 3, 9, 10, 15, 16
CUDA_UNKNOWN = 999
COUNT = "nvmlDeviceGetCount_v2"


@pytest.fixture
def four(tmp_path: Path) -> Machine:
    """A fresh machine with four T4."""
    return machine.install("t4x4", tmp_path / "t4x4")


def described(tmp_path: Path, *more: str) -> Machine:
    """A machine of two T4 with more in its description."""
    path = tmp_path / "small.toml"
    path.write_text("\n".join((SMALL, *more)))
    return machine.install(str(path), tmp_path / "small")


def add(on: Machine, kind: str, **said: Any) -> int:
    return script.add(on.folder, {"kind": kind, **said})


def handle(program: Program, index: int = 0) -> int:
    """A GPU of an initialised NVML."""
    program.good("nvmlInit_v2")
    found: int = program.good("nvmlDeviceGetHandleByIndex_v2", index, OUT)
    return found


def answers(program: Program, count: int, *command: object) -> list[int]:
    return [program.call(*command)[0] for _ in range(count)]


def test_an_error_meets_the_nth_call_and_so_many_after_it(node: Machine, program: Program) -> None:
    program.good("nvmlInit_v2")
    add(node, "error", code=21, times=2, when={"call": COUNT, "nth": 3})

    assert answers(program, 6, COUNT, OUT) == [0, 0, 21, 21, 0, 0]


def test_calls_of_all_processes_are_counted_together(node: Machine, start: Callable[[Machine], Program]) -> None:
    first, second = start(node), start(node)
    for program in (first, second):
        program.good("nvmlInit_v2")
    add(node, "error", when={"call": COUNT, "nth": 3})

    found = [program.call(COUNT, OUT)[0] for program in (first, second, first, second)]

    assert found == [0, 0, 999, 0]


COUNTING = """
import ctypes, sys
nvml = ctypes.CDLL("libnvidia-ml.so.1")
count = ctypes.c_uint()
while nvml.nvmlInit_v2():
    pass
print(sum(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 21 for _ in range(5000)))
"""


@pytest.mark.slow
def test_calls_of_many_processes_at_once_are_counted_exactly(node: Machine) -> None:
    add(node, "error", code=21, times=7777, when={"call": COUNT, "nth": 1234})

    command = [sys.executable, "-S", "-c", COUNTING]
    racers = [subprocess.Popen(command, env=environment(node), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    failed = [int(racer.communicate()[0]) for racer in racers]

    assert sum(failed) == 7777
    (fault,) = script.read(node.folder).faults
    assert (fault.seen >= 1234 + 7777 - 1, fault.fired, fault.state) == (True, 7777, "done")


def test_a_pattern_meets_every_function_that_it_matches_in_either_driver(node: Machine, program: Program) -> None:
    program.start()
    gpu = handle(program)
    add(node, "error", code=7, when={"call": "*Mem*Info*"})

    assert program.call("cuMemGetInfo_v2", OUT, OUT)[0] == 7
    assert program.call("nvmlDeviceGetMemoryInfo", gpu, TEXT)[0] == 7
    assert program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] == 0


def test_even_a_function_that_is_not_supported_can_fail_otherwise(node: Machine, program: Program) -> None:
    gpu = handle(program)
    assert program.call("nvmlDeviceSetMigMode", gpu, 1, OUT)[0] == NOT_SUPPORTED
    add(node, "in_use", when={"call": "nvmlDeviceSetMigMode"})

    assert program.call("nvmlDeviceSetMigMode", gpu, 1, OUT)[0] == 19


def test_a_fault_of_one_gpu_leaves_its_siblings_alone(four: Machine, start: Callable[[Machine], Program]) -> None:
    program = start(four)
    gpus = [handle(program, index) for index in range(4)]
    add(four, "error", gpu=1, when={"call": "nvmlDeviceGetName"})

    assert [program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] for gpu in gpus] == [0, 999, 0, 0]


def test_a_cuda_call_is_about_the_device_of_its_context(four: Machine, start: Callable[[Machine], Program]) -> None:
    add(four, "error", gpu=2, code=214, when={"call": "cuMemAlloc_v2"})

    found = [start(four).start(device).call("cuMemAlloc_v2", OUT, MIB)[0] for device in range(4)]

    assert found == [0, 0, 214, 0]


def test_an_allocation_fails_once_enough_is_held(node: Machine, program: Program) -> None:
    program.start()
    add(node, "error", code=2, when={"call": "cuMemAlloc_v2", "after_mib": 100})

    assert answers(program, 3, "cuMemAlloc_v2", OUT, 60 * MIB) == [0, 0, 2]


def test_a_slow_call_takes_its_time_on_the_machines_clock(tmp_path: Path, start: Callable[[Machine], Program]) -> None:
    on = described(tmp_path, "[time]\nscale = 0.01")
    program = start(on)
    program.good("nvmlInit_v2")
    add(on, "slow", ms=20_000, when={"call": COUNT})

    begin = time.monotonic()
    program.good(COUNT, OUT)

    assert 0.2 <= time.monotonic() - begin < 10


def test_a_call_hangs_until_its_fault_is_released(node: Machine, start: Callable[[Machine], Program]) -> None:
    stuck, other = start(node), start(node)
    for program in (stuck, other):
        program.good("nvmlInit_v2")
    number = add(node, "hang", times=1, when={"call": COUNT})

    stuck.tell(COUNT, OUT)
    while not script.read(node.folder).faults[0].fired:
        pass

    assert other.good(COUNT, OUT) == 1, "it was to hang once"
    script.release(node.folder, number)
    assert stuck.answer() == [0, 1]


def test_a_hanging_process_can_be_killed(node: Machine, start: Callable[[Machine], Program]) -> None:
    stuck = start(node)
    add(node, "hang", when={"call": "nvmlInit*"})
    stuck.tell("nvmlInit_v2")
    while not script.read(node.folder).faults[0].fired:
        pass

    stuck.end()

    script.clear(node.folder, 0)
    assert script.read(node.folder).faults == ()


def test_a_lost_gpu_is_lost_to_every_call_about_it_and_its_siblings_work(
    four: Machine, start: Callable[[Machine], Program]
) -> None:
    program, computing = start(four), start(four).start(2)
    gpus = [handle(program, index) for index in range(4)]
    add(four, "lost", gpu=2)

    assert [program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] for gpu in gpus] == [0, 0, GPU_IS_LOST, 0]
    assert program.call("nvmlDeviceSetMigMode", gpus[2], 1, OUT)[0] == GPU_IS_LOST
    assert program.call("nvmlDeviceGetHandleByUUID", four.uuids[2], OUT)[0] == GPU_IS_LOST
    assert program.call("nvmlDeviceGetHandleByIndex_v2", 2, OUT)[0] == GPU_IS_LOST
    assert program.good(COUNT, OUT) == 4
    assert computing.call("cuMemAlloc_v2", OUT, MIB)[0] == CUDA_UNKNOWN
    assert start(four).start(3).alloc(MIB)

    script.restore(four.folder, 2)
    assert program.call("nvmlDeviceGetName", gpus[2], TEXT, 64)[0] == 0
    assert computing.call("cuMemAlloc_v2", OUT, MIB)[0] == 0


def test_a_gpu_that_wants_a_reset_says_so_until_it_is_restored(node: Machine, program: Program) -> None:
    gpu = handle(program)
    add(node, "reset_required", gpu=0)

    assert program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] == RESET_REQUIRED
    script.restore(node.folder, 0)
    assert program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] == 0


def test_a_reload_of_the_driver_ends_connections_and_takes_a_while(node: Machine, program: Program) -> None:
    gpu = handle(program)
    add(node, "driver_reload", ms=3_600_000)

    assert program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] == UNINITIALIZED
    assert program.call("nvmlInit_v2")[0] == DRIVER_NOT_LOADED
    assert program.call("cuInit", 0)[0] == 100

    script.rearm(node.folder)
    assert program.call("nvmlDeviceGetName", gpu, TEXT, 64)[0] == UNINITIALIZED
    assert program.call("nvmlDeviceGetName", handle(program), TEXT, 64)[0] == 0


def test_a_fault_by_the_clock_waits_for_its_time(node: Machine, program: Program) -> None:
    program.good("nvmlInit_v2")
    add(node, "error", at="1h", when={"call": COUNT})
    assert program.good(COUNT, OUT) == 1
    add(node, "error", at="1ms", code=5, when={"call": COUNT})

    while not (found := program.call(COUNT, OUT)[0]):
        pass

    assert found == 5


def test_faults_of_a_description_are_armed_when_the_machine_is_made_and_again_on_request(
    tmp_path: Path, start: Callable[[Machine], Program]
) -> None:
    on = described(tmp_path, f'[[faults]]\nkind = "error"\ncode = 4\nwhen = {{call = "{COUNT}", nth = 2}}')
    program = start(on)
    program.good("nvmlInit_v2")

    assert answers(program, 3, COUNT, OUT) == [0, 4, 0]
    script.rearm(on.folder)
    assert answers(program, 3, COUNT, OUT) == [0, 4, 0]


def test_a_run_with_a_seed_repeats_exactly(tmp_path: Path, start: Callable[[Machine], Program]) -> None:
    def delays(run: str, seed: int) -> int:
        """What six calls wait together, in nanoseconds of the machine's clock."""
        path = tmp_path / f"{run}.toml"
        path.write_text(f"seed = {seed}\n{SMALL}\n[time]\nscale = 0.001\n")
        on = machine.install(str(path), tmp_path / run)
        program = start(on)
        program.good("nvmlInit_v2")
        add(on, "slow", ms=500, jitter=500, when={"call": COUNT})
        for _ in range(6):
            program.good(COUNT, OUT)
        return script.read(on.folder).faults[0].delayed

    first, again, other = delays("first", 7), delays("again", 7), delays("other", 8)

    assert first == again != other
    assert 0 < first < 6 * 10**9


def test_functions_that_a_driver_lacks_are_found_by_nobody(tmp_path: Path, start: Callable[[Machine], Program]) -> None:
    missing = ["nvmlDeviceGetMemoryInfo_v2", "cuMemAllocManaged"]
    text = SMALL.replace("cuda = 13000}", f"cuda = 13000, missing = {missing}}}")
    (tmp_path / "old.toml").write_text(text)
    on = machine.install(str(tmp_path / "old.toml"), tmp_path / "old")
    program = start(on)

    there = names_of(on.libraries / "libcuda.so.1") | names_of(on.libraries / "libnvidia-ml.so.1")

    assert functions() - there == set(missing)
    assert program.call("cuGetProcAddress_v2", "cuMemAllocManaged", OUT, 12000, 0, OUT) == [0, 0, 1]
    program.start().alloc(MIB)


def test_every_exported_function_passes_the_gate(node: Machine, start: Callable[[Machine], Program]) -> None:
    """Every one of libcuda's, and NVML's but the one that answers a text."""
    program = start(node)
    add(node, "error", code=77, when={"call": "*"})

    wrong = [name for name in sorted(functions()) if name != "nvmlErrorString" and program.call(name, 0, 0, 0, 0)[0] != 77]

    assert len(functions()) > 600
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('kind = "eror"', "faults[0].kind: eror: is no kind of fault; did you mean error?"),
        ('kind = "error"', "faults[0].when.call: is missing: the functions that meet this error"),
        (
            'kind = "error"\nwhen = {call = "nvmlDeviceGetMemoryInfp"}',
            "faults[0].when.call: nvmlDeviceGetMemoryInfp: the drivers have no such function; did you mean nvmlDeviceGetMem",
        ),
        ('kind = "error"\nwhen = {call = "nvml*", nth = 0}', "faults[0].when.nth: 0: should be a whole number from 1"),
        ('kind = "error"\nwhen = {call = "nvml*"}\ntimes = 0', "faults[0].times: 0: should be a whole number from 1"),
        ('kind = "xid"\ngpu = 0', "faults[0].code: is missing: a whole number"),
        ('kind = "xid"\ncode = 79', "faults[0].gpu: is missing: the index of the GPU with this xid"),
        ('kind = "lost"\ngpu = 2', "faults[0].gpu: 2: should be a whole number from 0 to 1"),
        ('kind = "lost"\ngpu = 0\ncode = 3', "faults[0].code: is no key of this table"),
        ('kind = "lost"\ngpu = 0\nwhen = {nth = 3}', "faults[0].when.nth: counts calls: name them by call"),
        ('kind = "lost"\ngpu = 0\nat = "soon"', "faults[0].at: 'soon': should be a time such as 5s, 250ms or 2min"),
        ('kind = "slow"\nwhen = {call = "nvml*"}', "faults[0].ms: is missing: a whole number"),
        ('kind = "slow"\nms = 5\njitter = 6\nwhen = {call = "nvml*"}', "faults[0].jitter: 6: should not be above ms"),
        ('kind = "driver_reload"\ngpu = 1', "faults[0].gpu: a driver is reloaded for all GPUs: leave this key out"),
    ],
)
def test_a_mistake_in_a_fault_names_its_path(line: str, message: str) -> None:
    with pytest.raises(DescriptionError, match=f"^x: {re.escape(message)}"):
        parse(f"{SMALL}\n[[faults]]\n{line}\n", "x")


def test_a_missing_function_that_nobody_has_is_a_mistake() -> None:
    with pytest.raises(DescriptionError, match=r"driver.missing\[0\]: nvmlInitt: the drivers have no such function; did you"):
        parse(SMALL.replace("cuda = 13000}", 'cuda = 13000, missing = ["nvmlInitt"]}'), "x")
