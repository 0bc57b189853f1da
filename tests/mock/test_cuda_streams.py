"""Streams, events, host functions and capture: order and time by the machine's clock."""

from __future__ import annotations

import ctypes
import os
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread, get_ident
from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine, state
from tests.mock.conftest import OUT, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hami_mock.machine import Machine

pytestmark = pytest.mark.slow

NOT_READY, CAPTURE_UNSUPPORTED, UNJOINED, ILLEGAL_STATE, INVALIDATED = 600, 900, 904, 401, 901
INVALID_VALUE, AT_LEAST = 1, 0
MS = 1_000_000


def set_kernel(node: Machine, nanoseconds: int, name: str | None = None) -> None:
    """How long kernels of a name take; None: all others."""
    ffi, library = state._library()
    assert (
        library.mock_set_kernel(os.fsencode(node.folder / "state"), ffi.NULL if name is None else name.encode(), nanoseconds)
        == 0
    )


def set_time_scale(node: Machine, ppm: int) -> None:
    _, library = state._library()
    assert library.mock_set_time_scale(os.fsencode(node.folder / "state"), ppm) == 0


def kernel(program: Program, name: str = "kernel") -> int:
    found: int = program.good("cuModuleGetFunction", OUT, program.good("cuModuleLoadData", OUT, "image"), name)
    return found


def launch(program: Program, function: int, stream: int = 0, suffix: str = "") -> None:
    program.good(f"cuLaunchKernel{suffix}", function, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0)


def elapsed(program: Program, start: int, end: int) -> float:
    bits = program.good("cuEventElapsedTime", OUT, start, end)
    return float(ctypes.c_float.from_buffer(ctypes.c_uint32(bits)).value)


def test_a_launch_returns_at_once_and_its_stream_is_busy_until_it_is_done(node: Machine, program: Program) -> None:
    set_kernel(node, 400 * MS)
    function, stream = kernel(program.start()), program.good("cuStreamCreate", OUT, 1)

    before = time.monotonic()
    launch(program, function, stream)

    assert time.monotonic() - before < 0.4
    assert program.call("cuStreamQuery", stream)[0] == NOT_READY
    program.good("cuStreamSynchronize", stream)
    assert time.monotonic() - before >= 0.4
    assert program.call("cuStreamQuery", stream)[0] == 0


def test_elapsed_time_is_the_sum_of_what_ran_between(node: Machine, program: Program) -> None:
    set_kernel(node, 200 * MS, "long")
    set_kernel(node, 5 * MS, "short")
    program.start()
    start, end, stream = (program.good(name, OUT, 0) for name in ("cuEventCreate", "cuEventCreate", "cuStreamCreate"))

    program.good("cuEventRecord", start, stream)
    for name in ("long", "short", "short", "of no duration"):
        launch(program, kernel(program, name), stream)
    program.good("cuEventRecord", end, stream)

    assert program.call("cuEventQuery", end)[0] == NOT_READY
    assert program.call("cuEventElapsedTime", OUT, start, end)[0] == NOT_READY
    program.good("cuEventSynchronize", end)
    assert 210 <= elapsed(program, start, end) < 400


def test_a_machine_on_a_scale_is_fast_and_its_events_do_not_notice(node: Machine, program: Program) -> None:
    set_kernel(node, 10_000 * MS)
    set_time_scale(node, 1000)
    program.start()
    start, end = program.good("cuEventCreate", OUT, 0), program.good("cuEventCreate", OUT, 0)

    before = time.monotonic()
    program.good("cuEventRecord", start, 0)
    launch(program, kernel(program))
    program.good("cuEventRecord", end, 0)
    program.good("cuEventSynchronize", end)

    assert 0.01 <= time.monotonic() - before < 2
    assert elapsed(program, start, end) >= 10_000


def test_streams_run_beside_each_other_and_an_event_joins_them(node: Machine, program: Program) -> None:
    set_kernel(node, 400 * MS, "long")
    program.start()
    one, other = program.good("cuStreamCreate", OUT, 1), program.good("cuStreamCreate", OUT, 1)
    event = program.good("cuEventCreate", OUT, 0)

    launch(program, kernel(program, "long"), one)
    assert program.call("cuStreamQuery", other)[0] == 0
    program.good("cuEventRecord", event, one)
    program.good("cuStreamWaitEvent", other, event, 0)

    assert program.call("cuStreamQuery", other)[0] == NOT_READY
    program.good("cuStreamSynchronize", other)
    assert program.call("cuStreamQuery", one)[0] == 0


@pytest.mark.parametrize(("flags", "waits"), [(0, NOT_READY), (1, 0)])
def test_the_legacy_default_stream_waits_for_streams_that_do_not_opt_out(
    node: Machine, program: Program, flags: int, waits: int
) -> None:
    set_kernel(node, 400 * MS)
    program.start()
    stream = program.good("cuStreamCreate", OUT, flags)

    launch(program, kernel(program), stream)

    assert program.call("cuStreamQuery", 0)[0] == waits
    assert program.call("cuStreamQuery_ptsz", 0)[0] == 0, "a thread's own stream"
    program.good("cuCtxSynchronize")
    assert program.call("cuStreamQuery", stream)[0] == 0


@pytest.mark.parametrize(("flags", "waits"), [(0, NOT_READY), (1, 0)])
def test_streams_that_do_not_opt_out_wait_for_the_legacy_default_stream(
    node: Machine, program: Program, flags: int, waits: int
) -> None:
    set_kernel(node, 400 * MS)
    stream, function = program.start().good("cuStreamCreate", OUT, flags), kernel(program)

    launch(program, function)

    assert program.call("cuStreamQuery", stream)[0] == waits


def test_a_synchronous_copy_waits_for_the_default_stream(node: Machine, program: Program) -> None:
    set_kernel(node, 100 * MS)
    address = program.start().alloc(4096)

    before = time.monotonic()
    launch(program, kernel(program))
    program.read(address, 4)

    assert time.monotonic() - before >= 0.1


def test_priorities_are_kept_within_the_range(program: Program) -> None:
    program.start()

    assert program.good("cuCtxGetStreamPriorityRange", OUT, OUT) == [0, (1 << 32) - 5]
    streams = [
        program.good("cuStreamCreateWithPriority", OUT, 0, (1 << 64) + priority if priority < 0 else priority)
        for priority in (-2, -9, 3)
    ]
    assert [ctypes.c_int32(program.good("cuStreamGetPriority", stream, OUT)).value for stream in streams] == [-2, -5, 0]


@cache
def machine_and_driver() -> tuple[Machine, Any]:
    """A machine that this very process is a program on, for what needs callbacks and threads."""
    node = machine.install("t4-node", Path(mkdtemp()) / "t4-node")
    cuda = ctypes.CDLL(str(node.libraries / "libcuda.so.1"))
    assert not cuda.cuInit(0)
    return node, cuda


@pytest.fixture
def cuda() -> Iterator[Any]:
    node, cuda = machine_and_driver()
    context = ctypes.c_void_p()
    assert not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    assert not cuda.cuCtxSetCurrent(context)
    set_kernel(node, 0)
    yield cuda
    set_kernel(node, 0)
    assert not cuda.cuCtxSynchronize()


def test_the_launch_queue_is_1024_deep(cuda: Any) -> None:
    node, _ = machine_and_driver()
    function, stream = loaded(cuda, b"queued"), made(cuda.cuStreamCreate, 1)
    set_kernel(node, 600 * MS, "queued")

    before = time.monotonic()
    assert not cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, None, None)
    set_kernel(node, 1000, "queued")
    for _ in range(1023):
        assert not cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, None, None)
    assert time.monotonic() - before < 0.6, "they wait behind the first"
    assert not cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, None, None)

    assert time.monotonic() - before >= 0.6


HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def made(function: Callable[..., int], *arguments: Any) -> ctypes.c_void_p:
    """What a function writes through its first argument."""
    out = ctypes.c_void_p()
    assert function(ctypes.byref(out), *arguments) == 0
    return out


def loaded(cuda: Any, name: bytes) -> ctypes.c_void_p:
    """A kernel of that name."""
    return made(cuda.cuModuleGetFunction, made(cuda.cuModuleLoadData, b"image"), name)


def test_host_functions_run_in_order_on_a_thread_of_the_drivers(cuda: Any) -> None:
    node, _ = machine_and_driver()
    set_kernel(node, 200 * MS, "before a host function")
    ran: list[tuple[int, float]] = []
    record = HOST_FUNCTION(lambda data: ran.append((data, time.monotonic())))
    threads: set[int] = set()
    called = CALLBACK(lambda _stream, status, _data: threads.add(get_ident()) if status == 0 else None)
    stream = made(cuda.cuStreamCreate, 1)
    function = loaded(cuda, b"before a host function")

    before = time.monotonic()
    assert not cuda.cuLaunchHostFunc(stream, record, ctypes.c_void_p(1))
    assert not cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, None, None)
    assert not cuda.cuLaunchHostFunc(stream, record, ctypes.c_void_p(2))
    assert not cuda.cuStreamAddCallback(stream, called, None, 0)
    assert cuda.cuStreamQuery(stream) == NOT_READY
    assert not cuda.cuStreamSynchronize(stream)

    assert [number for number, _ in ran] == [1, 2]
    assert ran[1][1] - before >= 0.2
    assert threads
    assert get_ident() not in threads


def test_a_stream_is_not_done_before_its_host_function(cuda: Any) -> None:
    go, done = Event(), Event()

    def work(_data: int | None) -> None:
        go.wait(10)
        done.set()

    wait = HOST_FUNCTION(work)
    stream, event = made(cuda.cuStreamCreate, 1), made(cuda.cuEventCreate, 2)

    assert not cuda.cuLaunchHostFunc(stream, wait, None)
    assert not cuda.cuEventRecord(event, stream)

    assert cuda.cuStreamQuery(stream) == cuda.cuEventQuery(event) == NOT_READY
    go.set()
    assert not cuda.cuEventSynchronize(event)
    assert done.is_set()


def test_each_thread_has_a_default_stream_of_its_own(cuda: Any) -> None:
    node, _ = machine_and_driver()
    set_kernel(node, 400 * MS, "in a thread")
    context = made(cuda.cuCtxGetCurrent)
    function = loaded(cuda, b"in a thread")

    def work() -> None:
        assert not cuda.cuCtxSetCurrent(context)
        assert not cuda.cuLaunchKernel_ptsz(function, 1, 1, 1, 1, 1, 1, 0, None, None, None)
        assert cuda.cuStreamQuery_ptsz(None) == NOT_READY

    thread = Thread(target=work)
    thread.start()
    thread.join()

    assert cuda.cuStreamQuery_ptsz(None) == 0


def test_words_are_written_and_waited_for_in_stream_order(program: Program) -> None:
    address = program.start().alloc(4096)
    one, other = program.good("cuStreamCreate", OUT, 1), program.good("cuStreamCreate", OUT, 1)

    program.good("cuStreamWaitValue64_v2", one, address, 7, AT_LEAST)
    assert program.call("cuStreamQuery", one)[0] == NOT_READY
    program.good("cuStreamWriteValue64_v2", other, address, 1 << 40, 0)

    program.good("cuStreamSynchronize", one)
    assert int.from_bytes(program.read(address, 8), "little") == 1 << 40
    assert program.call("cuStreamWaitValue32_v2", one, address + 2, 0, AT_LEAST)[0] == INVALID_VALUE


@pytest.mark.parametrize(
    ("flags", "word", "over"),
    [(0, 4, False), (0, 5, True), (1, 6, False), (1, 5, True), (2, 8, False), (2, 12, True), (3, 1, True)],
)
def test_a_wait_compares_as_it_was_told(program: Program, flags: int, word: int, over: bool) -> None:
    address = program.start().alloc(4096)
    stream = program.good("cuStreamCreate", OUT, 1)
    program.write(address, word.to_bytes(4, "little"))

    program.good("cuStreamWaitValue32_v2", stream, address, 5, flags)

    assert program.call("cuStreamQuery", stream)[0] == (0 if over else NOT_READY)


def test_what_is_captured_does_not_happen_until_the_graph_is_launched(program: Program) -> None:
    address = program.start().alloc(4096)
    stream = program.good("cuStreamCreate", OUT, 1)

    program.good("cuStreamBeginCapture_v2", stream, 0)
    assert program.good("cuStreamIsCapturing", stream, OUT) == 1
    program.good("cuMemsetD8Async", address, 7, 4, stream)
    launch(program, kernel(program), stream)
    status, _, graph, _, count = program.good("cuStreamGetCaptureInfo_v2", stream, OUT, OUT, OUT, OUT, OUT)
    assert (status, count) == (1, 1)
    assert program.good("cuStreamEndCapture", stream, OUT) == graph

    assert program.read(address, 4) == bytes(4)
    program.good("cuGraphLaunch", program.good("cuGraphInstantiateWithFlags", OUT, graph, 0), stream)
    program.good("cuStreamSynchronize", stream)
    assert program.read(address, 4) == bytes([7] * 4)
    assert program.good("cuGraphGetNodes", graph, 0, OUT) == 2


def test_a_capture_forks_and_joins_by_events(program: Program) -> None:
    program.start()
    one, other = program.good("cuStreamCreate", OUT, 1), program.good("cuStreamCreate", OUT, 1)
    fork, join = program.good("cuEventCreate", OUT, 2), program.good("cuEventCreate", OUT, 2)
    function = kernel(program)

    program.good("cuStreamBeginCapture_v2", one, 0)
    launch(program, function, one)
    program.good("cuEventRecord", fork, one)
    program.good("cuStreamWaitEvent", other, fork, 0)
    launch(program, function, other)
    launch(program, function, one)
    program.good("cuEventRecord", join, other)
    program.good("cuStreamWaitEvent", one, join, 0)
    launch(program, function, one)
    graph = program.good("cuStreamEndCapture", one, OUT)

    assert program.good("cuGraphGetNodes", graph, 0, OUT) == 4
    assert program.good("cuGraphGetEdges", graph, 0, 0, OUT) == 4
    assert program.good("cuStreamIsCapturing", other, OUT) == 0


def test_a_capture_that_was_not_joined_fails(program: Program) -> None:
    program.start()
    one, other = program.good("cuStreamCreate", OUT, 1), program.good("cuStreamCreate", OUT, 1)
    fork = program.good("cuEventCreate", OUT, 2)
    program.good("cuStreamBeginCapture_v2", one, 0)
    program.good("cuEventRecord", fork, one)
    program.good("cuStreamWaitEvent", other, fork, 0)
    launch(program, kernel(program), other)

    assert program.call("cuStreamEndCapture", one, OUT) == [UNJOINED, 0]
    assert program.call("cuStreamEndCapture", one, OUT)[0] == ILLEGAL_STATE


def test_waiting_for_a_stream_that_is_captured_ends_the_capture(program: Program) -> None:
    stream = program.start().good("cuStreamCreate", OUT, 1)
    program.good("cuStreamBeginCapture_v2", stream, 0)

    assert program.call("cuStreamSynchronize", stream)[0] == CAPTURE_UNSUPPORTED
    assert program.call("cuStreamEndCapture", stream, OUT)[0] == INVALIDATED
    assert program.call("cuStreamBeginCapture_v2", 0, 0)[0] == CAPTURE_UNSUPPORTED, "the legacy default stream"
