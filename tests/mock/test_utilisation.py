"""How busy a device was and for whom: measured on programs, and the C code against a slow twin over random work."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hami_mock import state
from tests.mock.test_cuda_streams import MS, kernel, launch, set_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from hami_mock.machine import Machine
    from tests.mock.conftest import Program

    Start = Callable[[Machine], Program]

DRIVER = Path(__file__).parents[2] / "plugins/mock/driver"
BUCKET = 5_000_000


def busy(node: Machine, window: int) -> tuple[int, dict[int, tuple[int, int]]]:
    """Busy nanoseconds of the device in the window, and pid -> (in the window, launches)."""
    ffi, library = state._library()
    devices, rows, count = ffi.new("uint64_t[16]"), ffi.new("struct mock_process_use[]", 64), ffi.new("uint32_t *", 64)
    assert library.mock_utilisation(os.fsencode(node.folder / "state"), window, devices, rows, count) == 0
    return devices[0], {rows[i].pid: (rows[i].busy_ns, rows[i].launches) for i in range(count[0])}


def test_an_idle_device_is_idle(node: Machine, program: Program) -> None:
    program.start()

    assert busy(node, 1000 * MS) == (0, {})


def test_a_kernel_keeps_the_device_busy_for_its_time(node: Machine, program: Program) -> None:
    set_kernel(node, 60 * MS)
    launch(program.start(), kernel(program))
    program.good("cuCtxSynchronize")

    device, processes = busy(node, 5000 * MS)

    assert device == processes[program.process.pid][0] == 60 * MS
    assert processes[program.process.pid][1] == 1


def test_processes_at_work_together_share_the_device(node: Machine, start: Start) -> None:
    set_kernel(node, 400 * MS)
    first, second = start(node).start(), start(node).start()
    functions = [kernel(program) for program in (first, second)]

    for program, function in zip((first, second), functions, strict=True):
        launch(program, function)
    for program in (first, second):
        program.good("cuCtxSynchronize")

    device, processes = busy(node, 8000 * MS)
    assert {pid: used for pid, (used, _) in processes.items()} == {first.process.pid: 400 * MS, second.process.pid: 400 * MS}
    assert device == 800 * MS


def test_a_kernel_under_way_counts_as_far_as_it_came_and_ends_with_its_process(node: Machine, start: Start) -> None:
    set_kernel(node, 60_000 * MS)
    program = start(node).start()
    launch(program, kernel(program))

    device, _ = busy(node, 10 * MS)
    assert device <= 10 * MS
    program.end()
    busy(node, MS)  # the dead are dropped
    ended, processes = busy(node, 8000 * MS)

    assert 0 < ended < 8000 * MS
    assert processes == {}


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The very C code, with a lane of its own."""
    folder = tmp_path_factory.mktemp("lane")
    (folder / "lane.c").write_text(
        '#include <stdlib.h>\n#include <string.h>\n#include "state.h"\nstatic struct state *state;\n'
        "void begin(void) { if (!state) state = calloc(1, sizeof *state); state->rows = 1;"
        " memset(&state->lane[1][0], 0, sizeof state->lane[1][0]); }\n"
        "void add(uint64_t a, uint64_t b, uint64_t c) { utilisation_add(&state->lane[1][0], a, b, c); }\n"
        "uint64_t of(uint64_t a, uint64_t b) { return utilisation_of_device(state, 0, a, b); }\n"
        "uint64_t total(uint64_t now) { return utilisation_total(state, 1, 0, now); }\n"
    )
    library = folder / "lane.so"
    sources = [str(folder / "lane.c"), str(DRIVER / "utilisation.c")]
    command = ["gcc", "-std=c11", "-O1", "-shared", "-fPIC", f"-I{DRIVER}", "-o", str(library), *sources]
    subprocess.run(command, check=True)
    found = ctypes.CDLL(str(library))
    for name, count in (("add", 3), ("of", 2), ("total", 1)):
        function = getattr(found, name)
        function.argtypes, function.restype = [ctypes.c_uint64] * count, ctypes.c_uint64
    return found


WORK = st.lists(st.tuples(st.integers(0, 30_000_000), st.integers(1, 40_000_000), st.integers(1, 4)), min_size=1, max_size=40)


@pytest.mark.needs("gcc")
@given(work=WORK, window=st.tuples(st.integers(0, 1 << 30), st.integers(1, 1 << 30)))
def test_windows_and_totals_agree_with_a_list_of_spans(
    lane: ctypes.CDLL, work: list[tuple[int, int, int]], window: tuple[int, int]
) -> None:
    """Each piece of work: so long after the last one's start, so long, shared by so many."""
    lane.begin()
    spans: list[tuple[int, int, float]] = []
    at = reached = 1_000_000_000
    for gap, length, share in work:
        at += gap
        lane.add(at, at + length, length // share)
        if at + length > max(at, reached):
            begin = max(at, reached)
            spans.append((begin, at + length, (length // share) * (at + length - begin) / length))
            reached = at + length
    begin, end = 1_000_000_000 + window[0], 1_000_000_000 + window[0] + window[1]

    def within(start: int, stop: int) -> float:
        return sum(used * max(0, min(b, stop) - max(a, start)) / (b - a) for a, b, used in spans)

    assert abs(lane.total(reached) - within(0, reached)) <= 2 * len(work)
    # A bucket spreads what is in it evenly: a window is off by no more than the two buckets at its ends.
    assert abs(lane.of(begin, end) - within(begin, end)) <= 2 * BUCKET + 600 * len(work)
    assert lane.of(begin, end) <= end - begin
