"""Arrays and mipmaps under a limit. The stub pads rows to 512 bytes and arrays to 64 KiB, which only it knows beforehand."""

from __future__ import annotations

import pytest

from tests.native.harness import LIMIT, MIB, Frame, Outcome, device

OOM = 2
SPARSE, DEFERRED, LAYERED = 0x40, 0x80, 0x01
START = "from reserves import *\nc = Reserves(); c.start(); f = c.library\n"


def run(frame: Frame, program: str) -> Outcome:
    outcome = frame.python(START + program)
    assert outcome.errors == ""
    return outcome


def used(frame: Frame) -> int:
    return int.from_bytes(frame.truth.read_bytes()[:32][8:16], "little")  # the stub's device 1


def test_an_array_is_charged_what_the_driver_takes_for_it(frame: Frame) -> None:
    outcome = run(
        frame, "code, array = c.array(700, 1000); say(code, c.memory()[0]); f.cuArrayDestroy(array); say(c.memory()[0])"
    )

    assert outcome.said == [[0, LIMIT - 1 * MIB], LIMIT]


def test_a_driver_without_deferred_mapping_has_arrays_charged_their_elements(frame: Frame) -> None:
    outcome = run(frame.but(STUB_NO_DEFERRED="1"), "say(c.array(1024, 1024, form=0x20)[0], c.memory()[0])")

    assert outcome.said == [[0, LIMIT - 4 * MIB]]


def test_arrays_fill_the_share_exactly_and_no_more(frame: Frame) -> None:
    frame.grants(device(memory=4 * MIB))

    outcome = run(frame, "made = [c.array(1024, 1024) for _ in '12345']; say([code for code, _ in made], c.memory()[0])")

    assert outcome.said == [[[0, 0, 0, 0, OOM], 0]]


@pytest.mark.parametrize(
    ("create", "descriptor"),
    [
        ("cuArrayCreate", "(ctypes.c_uint * 4)(1024, 1024, 1, 1)"),
        ("cuArrayCreate_v2", "(ctypes.c_uint * 6)(1024, 0, 1024, 0, 1, 1)"),
        ("cuArray3DCreate", "(ctypes.c_uint * 6)(1024, 1024, 0, 1, 1, 0)"),
        ("cuArray3DCreate_v2", "ctypes.byref(Shape(1024, 1024, 0, 1, 1, 0))"),
    ],
)
def test_every_way_to_make_an_array_is_charged_and_limited(frame: Frame, create: str, descriptor: str) -> None:
    frame.grants(device(memory=MIB))

    outcome = run(
        frame,
        f"a, b = ctypes.c_void_p(), ctypes.c_void_p(); descriptor = {descriptor}\n"
        f"say(f.{create}(ctypes.byref(a), descriptor), f.{create}(ctypes.byref(b), descriptor), c.memory()[0])\n"
        "f.cuArrayDestroy(a); say(c.memory()[0])",
    )

    assert outcome.said == [[0, OOM, 0], MIB]


def test_a_mipmap_is_charged_all_its_levels(frame: Frame) -> None:
    outcome = run(
        frame, "code, m = c.mipmap(1024, 1024, 3); say(code, c.memory()[0]); f.cuMipmappedArrayDestroy(m); say(c.memory())"
    )

    # rows of 1024, 512 and 256 bytes; the last padded to 512
    assert outcome.said == [[0, LIMIT - (1024 * 1024 + 512 * 512 + 256 * 512)], [LIMIT, LIMIT]]


def test_layers_are_no_depth_that_levels_halve(frame: Frame) -> None:
    program = f"shape = Shape(512, 512, 8, 1, 1, {LAYERED}); m = ctypes.c_void_p()\n"
    program += "f.cuMipmappedArrayCreate(ctypes.byref(m), ctypes.byref(shape), 2); say(c.memory()[0])"

    outcome = run(frame.but(STUB_NO_DEFERRED="1"), program)

    assert outcome.said == [LIMIT - 8 * (512 * 512 + 256 * 256)]


@pytest.mark.parametrize("flags", [SPARSE, DEFERRED])
def test_arrays_that_own_nothing_are_charged_nothing(frame: Frame, flags: int) -> None:
    outcome = run(frame, f"say(c.array(4096, 4096, flags={flags})[0], c.mipmap(4096, 4096, 2, {flags})[0], c.memory()[0])")

    assert outcome.said == [[0, 0, LIMIT]]


@pytest.mark.parametrize("size", ["2**62, 2**62", "2**40, 2**40", "2**63, 2", "2**64 - 1"])
def test_a_descriptor_that_overflows_is_refused(frame: Frame, size: str) -> None:
    assert run(frame, f"say(c.array({size})[0], c.memory()[0])").said == [[OOM, LIMIT]]


@pytest.mark.parametrize("call", ["cuArray3DCreate_v2(None, None)", "cuMipmappedArrayCreate(None, None, 0)"])
def test_a_descriptor_that_is_missing_is_the_drivers_affair(frame: Frame, call: str) -> None:
    assert run(frame, f"say(f.{call}, c.memory()[0])").said == [[1, LIMIT]]


def test_an_error_of_the_driver_costs_nothing(frame: Frame) -> None:
    outcome = run(frame.but(STUB_NO_DEFERRED="1", STUB_FAIL_NTH="2"), "say(c.array(1024, 1024)[0], c.memory()[0])")

    assert outcome.said == [[999, LIMIT]]


def test_an_array_destroyed_twice_gives_back_once(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, a = c.array(1024, 1024); c.array(1024, 1024)\nsay(f.cuArrayDestroy(a), f.cuArrayDestroy(a), c.memory()[0])",
    )

    assert outcome.said == [[0, 400, LIMIT - MIB]]


def test_arrays_go_with_their_context(frame: Frame) -> None:
    outcome = run(
        frame,
        "c.array(1024, 1024); context = ctypes.c_void_p(); f.cuCtxCreate_v2(ctypes.byref(context), 0, c.device(0))\n"
        "c.array(1024, 2048); before = c.memory()[0]; f.cuCtxDestroy_v2(context); c.use(0); say(before, c.memory()[0])",
    )

    assert outcome.said == [[LIMIT - 3 * MIB, LIMIT - MIB]]


def test_threads_that_make_and_destroy_arrays_lose_nothing(frame: Frame) -> None:
    outcome = run(
        frame,
        "import threading\n"
        "def play():\n"
        "    c.use(0)\n"
        "    for _ in range(100):\n"
        "        code, array = c.array(1000, 100)\n"
        "        code or f.cuArrayDestroy(array)\n"
        "threads = [threading.Thread(target=play) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; say(c.memory()[0])",
    )

    assert outcome.said == [LIMIT]


def test_before_init_the_driver_answers(frame: Frame) -> None:
    outcome = frame.python("from reserves import *\nc = Reserves(); say(c.array(10)[0])")

    assert outcome.said == [3]
