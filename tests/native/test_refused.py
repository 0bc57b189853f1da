"""Ways to memory that are not counted: under a limit they are refused aloud, with whole devices they are the driver's."""

from __future__ import annotations

import pytest

from hami_native import Region
from tests.native.harness import LIMIT, MIB, Frame, device

NOT_SUPPORTED = 801
GIB16 = 16 << 30
WHOLE = device(memory=GIB16)

NODE = "(ctypes.c_int * 64)({})"
UNCOUNTED = {
    "cuArrayCreate": "{}(None, None)",
    "cuArrayCreate_v2": "{}(None, None)",
    "cuArray3DCreate": "{}(None, None)",
    "cuArray3DCreate_v2": "{}(None, None)",
    "cuMipmappedArrayCreate": "{}(None, None, 1)",
    "cuGraphAddMemAllocNode": "{}(None, None, None, U64(0), None)",
    "cuGraphAddNode": f"{{}}(None, None, None, U64(0), {NODE.format(10)})",
    "cuGraphAddNode_v2": f"{{}}(None, None, None, None, U64(0), {NODE.format(10)})",
    "cuGraphAddNode_v3": f"{{}}(None, None, None, None, U64(0), {NODE.format(10)})",
}
CAPTURED = ["cuMemAllocAsync", "cuMemAllocAsync_ptsz"]
START = "c = Cuda(); c.start(); f = c.library\n"


def calls(name: str) -> str:
    return UNCOUNTED[name].format(f"f.{name}")


@pytest.mark.parametrize("name", UNCOUNTED)
def test_what_is_not_counted_is_refused_under_a_limit_and_said_once(frame: Frame, name: str) -> None:
    outcome = frame.python(f"{START}say({calls(name)}, {calls(name)})")

    assert outcome.said == [[NOT_SUPPORTED, NOT_SUPPORTED]]
    assert outcome.errors.count(name) == 1
    assert "is not counted by this build and refused under a memory limit" in outcome.errors


@pytest.mark.parametrize("name", UNCOUNTED)
def test_whole_devices_have_nothing_refused(frame: Frame, name: str) -> None:
    outcome = frame.grants(WHOLE).python(f"{START}say({calls(name)})")

    assert (outcome.said, outcome.errors) == ([0], "")


def test_one_limited_device_of_a_grant_is_a_limit(frame: Frame) -> None:
    outcome = frame.grants(WHOLE, device(0, memory=LIMIT)).python(f"{START}say({calls('cuArrayCreate_v2')})")

    assert outcome.said == [NOT_SUPPORTED]


def test_a_device_of_untold_size_is_not_taken_for_a_whole_one(frame: Frame) -> None:
    untold = device(memory=GIB16).replace(f"physical={GIB16}", "physical=0")

    assert frame.grants(untold).python(f"{START}say({calls('cuArrayCreate_v2')})").said == [NOT_SUPPORTED]


def test_a_variable_that_tightens_a_whole_device_is_a_limit(frame: Frame) -> None:
    limited = frame.grants(WHOLE).but(CUDA_DEVICE_MEMORY_LIMIT="1g")

    assert limited.python(f"{START}say({calls('cuArrayCreate_v2')})").said == [NOT_SUPPORTED]


def test_a_whole_device_that_becomes_a_share_is_noticed(frame: Frame) -> None:
    array = calls("cuArrayCreate_v2")
    with frame.grants(WHOLE).start_python(f"{START}say({array}); wait_for_word(); say({array})") as program:
        assert program.stdout is not None
        before = program.stdout.readline()
        frame.grants(device(memory=LIMIT))
        said, _ = program.communicate("go\n")

    assert (before, said) == ("0\n", f"{NOT_SUPPORTED}\n")


@pytest.mark.parametrize("name", ["cuGraphAddNode_v2", "cuGraphAddNode_v3"])
@pytest.mark.parametrize("kind", [0, 1, 9, 11])
def test_nodes_that_allocate_nothing_pass(frame: Frame, name: str, kind: int) -> None:
    outcome = frame.python(f"{START}say(f.{name}(None, None, None, None, U64(0), {NODE.format(kind)}))")

    assert (outcome.said, outcome.errors) == ([0], "")


@pytest.mark.parametrize("name", CAPTURED)
def test_an_allocation_captured_into_a_graph_is_refused_and_one_beside_it_is_not(frame: Frame, name: str) -> None:
    """The graph would make it again at each launch, which nobody charges."""
    outcome = frame.python(
        f"{START}stream, other = ctypes.c_void_p(0x1000), ctypes.c_void_p(0x2000)\n"
        f"f.cuStreamBeginCapture_v2(stream, 0); say(c.code(MIB, '{name}', stream), c.code(MIB, '{name}', other), c.memory()[0])"
    )

    assert outcome.said == [[NOT_SUPPORTED, 0, LIMIT - MIB]]
    assert outcome.errors.count(f"{name} in a capture is not counted") == 1


def test_before_init_the_driver_answers(frame: Frame) -> None:
    outcome = frame.python(f"c = Cuda(); f = c.library; say({calls('cuArrayCreate_v2')})")

    assert (outcome.said, outcome.errors) == ([3], "")


def test_a_green_context_is_charged_like_another(frame: Frame) -> None:
    frame.grants(device(memory=100 * MIB, context=30 * MIB))

    outcome = frame.python(
        f"{START}green = [ctypes.c_void_p() for _ in range(3)]\n"
        "made = [f.cuGreenCtxCreate(ctypes.byref(g), None, c.device(0), 1) for g in green]; c.use(0); full = c.memory()[0]\n"
        "f.cuGreenCtxDestroy(green[0]); c.use(0); say(made, full, c.memory()[0])"
    )

    assert outcome.said == [[[0, 0, 2], 10 * MIB, 40 * MIB]]


def test_refusals_by_the_limit_are_counted_in_the_region(frame: Frame) -> None:
    frame.python(f"{START}c.code({LIMIT}); c.code(1); c.code({LIMIT} * 2); c.code(1)")

    assert Region.read(frame.region()).devices[0].refused == 3
