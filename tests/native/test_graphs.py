"""Graphs that allocate: what the driver reserves for them is charged, and a launch that does not fit is refused."""

from __future__ import annotations

import pytest

from tests.native.harness import LIMIT, MIB, Frame, Outcome, device

pytestmark = pytest.mark.slow

OOM, INVALID_DEVICE = 2, 101
START = "from reserves import *\nc = Reserves(); c.start(); f = c.library\n"
EAGER = {"STUB_EAGER_GRAPHS": "1"}


def run(frame: Frame, program: str) -> Outcome:
    outcome = frame.python(START + program)
    assert outcome.errors == ""
    return outcome


def peak(frame: Frame) -> int:
    return int.from_bytes(frame.truth.read_bytes()[40:48], "little")


def test_a_node_takes_nothing_until_its_graph_is_launched(frame: Frame) -> None:
    outcome = run(
        frame,
        "graph = c.scratch(40 * MIB); added = c.taken(); code, made = c.instantiate(graph)\n"
        "say(added, code, c.taken(), c.launch(made), c.taken())",
    )

    assert outcome.said == [[0, 0, 0, 0, 64]]


def test_a_driver_that_backs_a_graph_when_it_is_instantiated_is_charged_then(frame: Frame) -> None:
    outcome = run(frame.but(**EAGER), "say(c.instantiate(c.scratch(40 * MIB))[0], c.taken())")

    assert outcome.said == [[0, 64]]


@pytest.mark.parametrize("variables", [{}, EAGER])
def test_a_graph_that_cannot_fit_is_refused_when_it_is_instantiated(frame: Frame, variables: dict[str, str]) -> None:
    outcome = run(frame.but(**variables), f"say(c.instantiate(c.scratch({LIMIT} + 1))[0], c.taken())")

    assert outcome.said == [[OOM, 0]]
    assert peak(frame) == 0


@pytest.mark.parametrize("call", ["c.launch(made)", "f.cuGraphUpload(made, STREAM)", "f.cuGraphLaunch_ptsz(made, STREAM)"])
def test_a_launch_that_does_not_fit_now_is_refused_and_fits_when_there_is_room(frame: Frame, call: str) -> None:
    outcome = run(
        frame,
        f"_, made = c.instantiate(c.scratch(64 * MIB)); _, p = c.allocate({LIMIT} - 32 * MIB); first = {call}; c.free(p)\n"
        f"say(first, {call}, c.taken())",
    )

    assert outcome.said == [[OOM, 0, 64]]
    assert peak(frame) == LIMIT - 32 * MIB


def test_a_graph_is_launched_again_and_again_in_a_full_share(frame: Frame) -> None:
    frame.grants(device(memory=64 * MIB))

    outcome = run(
        frame,
        "_, made = c.instantiate(c.scratch(64 * MIB)); say({c.launch(made) for _ in range(9)} == {0}, c.taken(), c.code(1))",
    )

    assert outcome.said[0][:2] == [True, 64]


def test_graphs_share_their_reserve(frame: Frame) -> None:
    outcome = run(
        frame,
        "_, a = c.instantiate(c.scratch(64 * MIB)); _, b = c.instantiate(c.scratch(32 * MIB))\n"
        "say(c.launch(a), c.launch(b), c.taken())",
    )

    assert outcome.said == [[0, 0, 64]]


@pytest.mark.parametrize("give_back", ["f.cuDeviceGraphMemTrim(c.device(0))", f"c.code({LIMIT})"])
def test_the_reserve_is_kept_until_it_is_trimmed_by_the_program_or_before_a_refusal(frame: Frame, give_back: str) -> None:
    outcome = run(
        frame,
        f"_, made = c.instantiate(c.scratch(64 * MIB)); c.launch(made); f.cuGraphExecDestroy(made); kept = c.taken()\n"
        f"say(kept, {give_back}, c.taken() % 1024)",
    )

    assert outcome.said == [[64, 0, 0]]


@pytest.mark.parametrize("free", ["c.free(p)", "c.give(p)", "c.launch(c.instantiate(other)[1])"])
def test_what_a_launch_left_is_charged_until_whoever_frees_it(frame: Frame, free: str) -> None:
    outcome = run(
        frame,
        "graph = c.graph(); _, p = c.allocates(graph, 64 * MIB); _, made = c.instantiate(graph)\n"
        "other = c.graph(); c.frees(other, p)\n"
        "c.launch(made); f.cuDeviceGraphMemTrim(c.device(0)); held = c.taken()\n"
        f"freed = {free}; f.cuDeviceGraphMemTrim(c.device(0)); say(held, freed, c.taken())",
    )

    assert outcome.said == [[64, 0, 0]]


def test_a_graph_that_frees_at_its_next_launch_does_not_grow(frame: Frame) -> None:
    frame.grants(device(memory=64 * MIB))

    outcome = run(
        frame,
        "graph = c.graph(); c.allocates(graph, 64 * MIB); _, made = c.instantiate(graph, AUTO_FREE)\n"
        "say([c.launch(made) for _ in range(3)], c.taken(), c.code(1))",
    )

    assert outcome.said == [[[0] * 3, 64, OOM]]
    assert peak(frame) == 64 * MIB


BETWEEN = (
    "_, x = c.instantiate(c.scratch(MIB)); c.launch(x)",
    "_, x = c.instantiate(c.scratch(MIB))",
    "f.cuMemFree_v2(U64(p)); f.cuDeviceGraphMemTrim(c.device(0))",
)


@pytest.mark.parametrize("between", BETWEEN)
def test_only_the_graph_that_was_launched_last_is_launched_again_uncharged(frame: Frame, between: str) -> None:
    frame.grants(device(memory=96 * MIB))

    outcome = run(
        frame,
        "graph = c.graph(); _, p = c.allocates(graph, 64 * MIB); _, made = c.instantiate(graph, AUTO_FREE)\n"
        f"c.launch(made); {between}; c.code(90 * MIB); c.code(32 * MIB); say(c.launch(made), c.taken() <= 96)",
    )

    assert outcome.said == [[OOM, True]]


def test_captured_allocations_are_nodes(frame: Frame) -> None:
    outcome = run(
        frame,
        "f.cuStreamBeginCapture_v2(STREAM, 0); code, p = c.take(40 * MIB); beside, q = c.take(MIB, stream=OTHER)\n"
        "freed = c.give(p)\n"
        "graph = ctypes.c_void_p(); f.cuStreamEndCapture(STREAM, ctypes.byref(graph)); before = c.taken()\n"
        "_, made = c.instantiate(graph); say(code, beside, freed, before, c.launch(made), c.taken())",
    )

    assert outcome.said == [[0, 0, 0, 32, 0, 96]]


@pytest.mark.parametrize("name", ["cuMemAllocAsync_ptsz", "cuMemAllocAsync"])
def test_a_captured_graph_that_does_not_fit_is_refused(frame: Frame, name: str) -> None:
    outcome = run(
        frame,
        f"f.cuStreamBeginCapture_v2(STREAM, 0); code = c.code(2 * {LIMIT}, '{name}', STREAM); graph = ctypes.c_void_p()\n"
        "f.cuStreamEndCapture(STREAM, ctypes.byref(graph)); say(code, c.instantiate(graph)[0])",
    )

    assert outcome.said == [[0, OOM]]


def test_allocations_of_child_graphs_count(frame: Frame) -> None:
    outcome = run(
        frame,
        f"child, graph, node = c.scratch({LIMIT}), c.scratch(MIB), ctypes.c_void_p()\n"
        "f.cuGraphAddChildGraphNode(ctypes.byref(node), graph, None, U64(0), child); say(c.instantiate(graph)[0])",
    )

    assert outcome.said == [OOM]


@pytest.mark.parametrize("name", ["cuGraphAddNode", "cuGraphAddNode_v2", "cuGraphAddNode_v3"])
def test_nodes_by_their_general_call_count_too(frame: Frame, name: str) -> None:
    edges = "" if name == "cuGraphAddNode" else "None, "
    outcome = run(
        frame,
        f"def add(size, device):\n"
        f"    node, graph = ctypes.c_void_p(), c.graph()\n"
        f"    params = Node(ALLOCATES, allocation=Allocation(Properties(1, 0, 1, device), 0, 0, size))\n"
        f"    code = f.{name}(ctypes.byref(node), graph, None, {edges}U64(0), ctypes.byref(params))\n"
        f"    return code, c.instantiate(graph)[0]\n"
        f"say(add(MIB, c.device(0)), add({LIMIT} + 1, c.device(0)), add(MIB, c.device(0) + 1)[0])",
    )

    assert outcome.said == [[[0, 0], [0, OOM], INVALID_DEVICE]]


def test_no_node_allocates_on_a_device_that_is_not_granted(frame: Frame) -> None:
    assert run(frame, "say(c.allocates(c.graph(), MIB, c.device(0) + 1)[0])").said == [INVALID_DEVICE]


@pytest.mark.parametrize(
    "call", ["cuGraphInstantiate_v2(at, graph, None, None, U64(0))", "cuGraphInstantiateWithParams(at, graph, (U64 * 4)())"]
)
def test_every_way_to_instantiate_learns_what_a_graph_needs(frame: Frame, call: str) -> None:
    frame.grants(device(memory=64 * MIB))

    outcome = run(
        frame,
        "made, graph = ctypes.c_void_p(), c.scratch(64 * MIB); at = ctypes.byref(made); small = ctypes.c_void_p()\n"
        f"code = f.{call}; c.code(MIB); say(code, c.launch(made), c.taken())",
    )

    assert outcome.said == [[0, OOM, 1]]


def test_graphs_of_two_devices_are_charged_to_both(frame: Frame) -> None:
    frame.grants(device(2, memory=64 * MIB), device(1, memory=64 * MIB))

    outcome = run(
        frame,
        "graph = c.scratch(MIB); c.frees(graph, c.allocates(graph, 40 * MIB, c.device(1))[1]); _, made = c.instantiate(graph)\n"
        "code = c.launch(made); one = c.taken(); c.use(1); say(code, one, c.taken())",
    )

    assert outcome.said == [[0, 32, 64]]


def test_a_graph_that_allocates_nothing_passes(frame: Frame) -> None:
    assert run(frame, "code, made = c.instantiate(c.graph()); say(code, c.launch(made), c.taken())").said == [[0, 0, 0]]


def test_a_thread_that_is_cancelled_while_it_is_refused_leaves_no_lock_taken(frame: Frame) -> None:
    outcome = frame.but(LIBCUDA_LOG_LEVEL="3").python(
        START + f"_, made = c.instantiate(c.scratch(64 * MIB)); c.allocate({LIMIT} - 32 * MIB)\n"
        "import signal; signal.alarm(20)\n"
        "here, launch, thread = ctypes.CDLL(None), ctypes.cast(f.cuGraphLaunch, ctypes.c_void_p), ctypes.c_ulong()\n"
        "for _ in range(300):\n"
        "    here.pthread_create(ctypes.byref(thread), None, launch, made)\n"
        "    here.pthread_cancel(thread); here.pthread_join(thread, None)\n"
        "say(c.launch(made))"
    )

    assert outcome.said == [OOM]
