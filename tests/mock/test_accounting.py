"""The driver's books across processes: exact under races, given back whatever ends a process, readable as ground truth."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_mock import machine
from tests.mock.conftest import OUT, Program, environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_mock.machine import Machine

    Start = Callable[[Machine], Program]

MIB = 1 << 20
T4_FREE = (15360 - 265) * MIB
T4_CONTEXT = 103 * MIB


def held(node: Machine) -> tuple[int, int]:
    """Requested and physical bytes of the first device."""
    device = machine.truth(node.folder).devices[0]
    return device.requested, device.physical


def piped(node: Machine, code: str) -> subprocess.Popen[bytes]:
    """Python code as a process on a machine."""
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment(node), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_two_processes_share_the_card(node: Machine, start: Start) -> None:
    first, second = start(node).start(), start(node).start()

    first.alloc(1000 * MIB)
    second.alloc(3000 * MIB + 1)

    truth = machine.truth(node.folder)
    assert (truth.devices[0].requested, truth.devices[0].physical) == (4000 * MIB + 1, 4002 * MIB + 2 * T4_CONTEXT)
    assert {(one.pid, one.requested, one.physical, one.context) for one in truth.processes} == {
        (first.process.pid, 1000 * MIB, 1000 * MIB + T4_CONTEXT, T4_CONTEXT),
        (second.process.pid, 3000 * MIB + 1, 3002 * MIB + T4_CONTEXT, T4_CONTEXT),
    }
    assert first.good("cuMemGetInfo_v2", OUT, OUT)[0] == second.good("cuMemGetInfo_v2", OUT, OUT)[0]


def test_one_process_refuses_what_the_other_holds(node: Machine, start: Start) -> None:
    first, second = start(node).start(), start(node).start()
    first.alloc(10_000 * MIB)

    assert second.call("cuMemAlloc_v2", OUT, 8_000 * MIB)[0] == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_however_a_process_dies_its_memory_comes_back(node: Machine, start: Start, number: signal.Signals) -> None:
    victim = start(node).start()
    victim.alloc(8_000 * MIB)

    victim.process.send_signal(number)
    victim.process.wait()

    assert held(node) == (0, 0)
    start(node).start().alloc(T4_FREE - 2 * T4_CONTEXT)


def test_a_refusal_looks_for_the_dead_first(node: Machine, start: Start) -> None:
    victim, survivor = start(node).start(), start(node).start()
    victim.alloc(14_000 * MIB)
    victim.end()

    survivor.alloc(14_000 * MIB)

    assert held(node)[0] == 14_000 * MIB


def test_a_zombie_holds_nothing(node: Machine, start: Start) -> None:
    victim = start(node).start()
    victim.alloc(MIB)

    os.kill(victim.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, victim.process.pid, os.WEXITED | os.WNOWAIT)

    assert held(node) == (0, 0)


def test_a_process_that_executes_another_program_holds_nothing(node: Machine, start: Start) -> None:
    program = start(node).start()
    program.alloc(MIB)

    program.tell("exec", "sh", "-c", "echo '[\"another program\"]'; exec cat")

    assert program.answer() == ["another program"]
    assert held(node) == (0, 0)


def test_a_child_that_outlives_its_parent_holds_nothing_of_it(node: Machine) -> None:
    code = """
import ctypes, os, sys
cuda, context, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), cuda.cuCtxSetCurrent(context)
assert cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(1 << 20)) == 0
if os.fork():
    os._exit(0)
print("child", flush=True)
sys.stdin.read()
"""
    with piped(node, code) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"child\n"
        parent.wait()

        assert held(node) == (0, 0)


def test_parent_and_child_that_both_start_after_the_fork_do_not_take_each_other_for_dead(node: Machine) -> None:
    code = """
import ctypes, os, sys
cuda, context, value = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
cuda.cuDriverGetVersion(ctypes.byref(value))
one, other = os.pipe(), os.pipe()
mine, theirs = (one, other) if os.fork() else (other, one)

def meet():
    os.write(mine[1], b".")
    os.read(theirs[0], 1)

assert not (cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) or cuda.cuCtxSetCurrent(context))
assert cuda.cuMemAlloc_v2(ctypes.byref(value), ctypes.c_size_t(1 << 20)) == 0
meet()
assert cuda.cuMemGetInfo_v2(ctypes.byref(value), None) == 0
meet()
os.write(1, b"x")
sys.stdin.read()
"""
    with piped(node, code) as parent:
        assert parent.stdin
        assert parent.stdout
        assert parent.stdout.read(2) == b"xx"

        assert held(node)[0] == 2 * MIB
        parent.stdin.close()


def test_a_stopped_process_keeps_what_it_holds_and_nobody_waits_for_it(node: Machine, start: Start) -> None:
    stopped, other = start(node).start(), start(node).start()
    stopped.alloc(MIB)
    stopped.process.send_signal(signal.SIGSTOP)

    other.alloc(MIB)

    assert held(node)[0] == 2 * MIB


def test_peaks_stay_until_they_are_reset(node: Machine, start: Start) -> None:
    program = start(node).start()
    program.good("cuMemFree_v2", program.alloc(500 * MIB))

    peaks = machine.truth(node.folder).devices[0]
    assert (peaks.requested_peak, peaks.physical_peak) == (500 * MIB, 500 * MIB + T4_CONTEXT)

    machine.reset_peaks(node.folder)
    peaks = machine.truth(node.folder).devices[0]
    assert (peaks.requested_peak, peaks.physical_peak) == (0, T4_CONTEXT)


def test_latency_makes_calls_take_longer(node: Machine, start: Start) -> None:
    program = start(node).start()
    machine.set_latency(node.folder, 30_000_000)

    before = time.monotonic()
    program.alloc(4096)

    assert time.monotonic() - before >= 0.03


GREEDY = """
import ctypes, sys
cuda, context, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_uint64()
assert not (cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) or cuda.cuCtxSetCurrent(context))
print("ready", flush=True)
sys.stdin.readline()
alloc, free = cuda.cuMemAlloc_v2, cuda.cuMemFree_v2
for turn in range(300):
    held = []
    while alloc(ctypes.byref(address), ctypes.c_size_t(64 << 20)) == 0:
        held.append(address.value)
    for each in held:
        assert free(ctypes.c_uint64(each)) == 0
print("done", flush=True)
sys.stdin.readline()
"""


def test_processes_that_race_for_the_last_page_never_get_more_than_there_is(node: Machine) -> None:
    racers = [piped(node, GREEDY) for _ in range(4)]
    try:
        _each(racers, b"ready\n")
        killed = racers.pop()
        killed.kill()  # in the midst of it
        _each(racers, b"done\n", go=False)

        truth = machine.truth(node.folder).devices[0]
        assert (truth.requested, truth.physical) == (0, 3 * T4_CONTEXT)
        assert truth.physical_peak <= T4_FREE
        assert truth.requested_peak > T4_FREE - 5 * T4_CONTEXT - 64 * MIB, "and they did fill it"
        killed.communicate()
    finally:
        for racer in racers:
            racer.communicate()


BUSY = (
    GREEDY[: GREEDY.index("for turn")]
    + """
import random
held = []
while True:
    if held and random.random() < 0.5:
        assert free(ctypes.c_uint64(held.pop())) == 0
    elif alloc(ctypes.byref(address), ctypes.c_size_t(random.randrange(1, 20 << 20))) == 0:
        held.append(address.value)
"""
)


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_books_exact(node: Machine) -> None:
    busy: list[subprocess.Popen[bytes]] = []
    try:
        for turn in range(30):
            while len(busy) < 3:
                busy.append(piped(node, BUSY))
                _each(busy[-1:], b"ready\n")
            time.sleep(random.Random(turn).random() * 0.01)
            _end(busy.pop(0))
        for program in busy:
            program.send_signal(signal.SIGSTOP)

        truth = machine.truth(node.folder)
        assert len(truth.processes) == 2
        assert truth.devices[0].requested == sum(one.requested for one in truth.processes)
        assert truth.devices[0].physical == sum(one.physical for one in truth.processes)
    finally:
        for program in busy:
            _end(program)
    assert held(node) == (0, 0)


def _end(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    program.communicate()


def _each(racers: list[subprocess.Popen[bytes]], word: bytes, *, go: bool = True) -> None:
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == word
    for racer in racers if go else ():
        assert racer.stdin
        racer.stdin.write(b"go\n")
        racer.stdin.flush()


@cache
def _own() -> tuple[Machine, ctypes.CDLL]:
    """A machine that this very process is a program on: thousands of calls in the time that a new process takes."""
    node = machine.install("t4-node", Path(mkdtemp()) / "t4-node")
    cuda, context = ctypes.CDLL(str(node.libraries / "libcuda.so.1")), ctypes.c_void_p()
    assert not cuda.cuInit(0)
    assert not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    assert not cuda.cuCtxSetCurrent(context)
    return node, cuda


def physical(size: int) -> int:
    """The documented rule."""
    granule = 512 if size < MIB else 2 * MIB
    return -(-size // granule) * granule


SIZES = st.one_of(st.integers(1, 4 * MIB), st.integers(1, 6000 * MIB), st.sampled_from([512, MIB - 1, MIB, 2 * MIB]))
STEPS = st.lists(st.one_of(SIZES, st.floats(0, 1, exclude_max=True)), max_size=60)


@given(steps=STEPS)
def test_the_books_agree_with_a_dictionary(steps: list[int | float]) -> None:
    """An integer allocates so much; a fraction frees the block so far along the list."""
    node, cuda = _own()
    address, model, capacity = ctypes.c_uint64(), dict[int, int](), T4_FREE - T4_CONTEXT
    for step in steps:
        if isinstance(step, float):
            if model:
                chosen = list(model)[int(step * len(model))]
                assert cuda.cuMemFree_v2(ctypes.c_uint64(chosen)) == 0
                del model[chosen]
            continue
        fits = physical(step) <= capacity - sum(map(physical, model.values()))
        assert cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(step)) == (0 if fits else 2)
        if fits:
            assert all(address.value + step <= at or at + size <= address.value for at, size in model.items()), "blocks overlap"
            model[address.value] = step
    assert held(node) == (sum(model.values()), sum(map(physical, model.values())) + T4_CONTEXT)
    for at in model:
        assert cuda.cuMemFree_v2(ctypes.c_uint64(at)) == 0
    assert held(node) == (0, T4_CONTEXT)


def test_threads_of_one_process_take_turns() -> None:
    node, cuda = _own()
    context = ctypes.c_void_p()
    assert not cuda.cuCtxGetCurrent(ctypes.byref(context))

    def work(size: int) -> None:
        address = ctypes.c_uint64()
        assert not cuda.cuCtxSetCurrent(context)
        for _ in range(3000):
            assert not cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
            assert not cuda.cuMemFree_v2(address)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [1, 600, MIB, 3 * MIB, 64 * MIB, 100 * MIB]))

    assert held(node) == (0, T4_CONTEXT)
