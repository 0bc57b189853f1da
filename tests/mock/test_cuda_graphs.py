"""Graphs of the simulated libcuda: nodes, edges, copies, changes, launches, and the memory that nodes allocate."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any

import pytest

from hami_mock import machine
from tests.mock.conftest import OUT, Program, blob
from tests.mock.test_cuda_streams import HOST_FUNCTION, MS, cuda, kernel, made, set_kernel

if TYPE_CHECKING:
    from pathlib import Path

    from hami_mock.machine import Machine

pytestmark = pytest.mark.slow

__all__ = ["cuda"]  # a fixture

INVALID_VALUE, NOT_READY, NOT_SUPPORTED, UPDATE_FAILURE = 1, 600, 801, 910
MIB = 1 << 20
USED, USED_HIGH, RESERVED, RESERVED_HIGH = range(4)
AUTO_FREE = 1


def kernel_node(program: Program, graph: int, function: int, *before: int) -> int:
    parameters = blob("P IIIIIII 4x PPPP", function, 1, 1, 1, 32, 1, 1, 0, 0, 0, 0, 0)
    return _node(program, "cuGraphAddKernelNode_v2", graph, before, parameters)


def fill_node(program: Program, graph: int, address: int, value: int, *before: int) -> int:
    return _node(program, "cuGraphAddMemsetNode", graph, before, blob("QQIIQQ", address, 0, value, 1, 16, 1), 0)


def empty_node(program: Program, graph: int, *before: int) -> int:
    return _node(program, "cuGraphAddEmptyNode", graph, before)


def memory_nodes(program: Program, graph: int, size: int, *, free: bool = True) -> int:
    """A node that allocates and one that frees; the address."""
    parameters = blob("iiii P Q 56x P QQ Q", 1, 0, 1, 0, 0, 0, 0, 0, size, 0)
    node, after = program.good("cuGraphAddMemAllocNode", OUT, graph, 0, 0, parameters)
    address = int.from_bytes(bytes.fromhex(after)[-8:], "little")
    if free:
        _node(program, "cuGraphAddMemFreeNode", graph, (node,), address)
    return address


def _node(program: Program, name: str, graph: int, before: tuple[int, ...], *rest: object) -> int:
    nodes = blob(f"{len(before)}Q", *before) if before else 0
    written = program.good(name, OUT, graph, nodes, len(before), *rest)
    return int(written[0] if isinstance(written, list) else written)


def executable(program: Program, graph: int, flags: int = 0) -> int:
    found: int = program.good("cuGraphInstantiateWithFlags", OUT, graph, flags)
    return found


def launched(program: Program, graph: int) -> None:
    program.good("cuGraphLaunch", executable(program, graph), 0)


def graph_memory(program: Program) -> list[int]:
    return [program.good("cuDeviceGetGraphMemAttribute", 0, which, OUT) for which in range(4)]


def test_nodes_run_after_what_they_depend_on(program: Program) -> None:
    address, graph = program.start().alloc(4096), program.good("cuGraphCreate", OUT, 0)
    last = fill_node(program, graph, address, 3)
    first = fill_node(program, graph, address, 1)
    program.good("cuGraphAddDependencies", graph, blob("Q", first), blob("Q", last), 1)

    launched(program, graph)

    assert program.read(address, 1) == b"\3"
    assert program.good("cuGraphGetRootNodes", graph, blob("Q", 0), blob("Q", 1))[0] == blob("Q", first)["bytes"]
    assert program.good("cuGraphNodeGetDependencies", last, blob("Q", 0), blob("Q", 1))[0] == blob("Q", first)["bytes"]


def test_a_circle_cannot_be_instantiated(program: Program) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    one = empty_node(program, graph)
    other = empty_node(program, graph, one)
    program.good("cuGraphAddDependencies", graph, blob("Q", other), blob("Q", one), 1)

    assert program.call("cuGraphInstantiateWithFlags", OUT, graph, 0)[0] == INVALID_VALUE


def test_a_graph_takes_the_time_of_its_kernels(node: Machine, program: Program) -> None:
    set_kernel(node, 200 * MS)
    function, graph = kernel(program.start()), program.good("cuGraphCreate", OUT, 0)
    kernel_node(program, graph, function, kernel_node(program, graph, function))
    stream, run = program.good("cuStreamCreate", OUT, 1), executable(program, graph)

    before = time.monotonic()
    program.good("cuGraphLaunch", run, stream)

    assert program.call("cuStreamQuery", stream)[0] == NOT_READY
    program.good("cuStreamSynchronize", stream)
    assert time.monotonic() - before >= 0.4


def test_an_executable_is_a_copy_and_can_be_changed_node_by_node(program: Program) -> None:
    address, graph = program.start().alloc(4096), program.good("cuGraphCreate", OUT, 0)
    node = fill_node(program, graph, address, 1)
    run = executable(program, graph)

    program.good("cuGraphMemsetNodeSetParams", node, blob("QQIIQQ", address, 0, 2, 1, 16, 1))
    program.good("cuGraphLaunch", run, 0)
    assert program.read(address, 1) == b"\1"
    program.good("cuGraphExecMemsetNodeSetParams", run, node, blob("QQIIQQ", address, 0, 5, 1, 16, 1), 0)
    program.good("cuGraphLaunch", run, 0)
    assert program.read(address, 1) == b"\5"
    program.good("cuGraphNodeSetEnabled", run, node, 0)
    program.good("cuMemsetD8_v2", address, 0, 16)
    program.good("cuGraphLaunch", run, 0)
    assert program.read(address, 1) == b"\0"


def test_an_executable_is_updated_from_a_graph_of_the_same_shape_only(program: Program) -> None:
    address, graph = program.start().alloc(4096), program.good("cuGraphCreate", OUT, 0)
    fill_node(program, graph, address, 1)
    run, other = executable(program, graph), program.good("cuGraphCreate", OUT, 0)
    fill_node(program, other, address, 9)

    program.good("cuGraphExecUpdate_v2", run, other, blob("i4xQQ", 0, 0, 0))
    program.good("cuGraphLaunch", run, 0)
    assert program.read(address, 1) == b"\x09"
    empty_node(program, other)
    assert program.call("cuGraphExecUpdate_v2", run, other, blob("i4xQQ", 0, 0, 0))[0] == UPDATE_FAILURE


def test_a_child_graph_is_part_of_its_parent(program: Program) -> None:
    address, child, graph = program.start().alloc(4096), *(program.good("cuGraphCreate", OUT, 0) for _ in range(2))
    fill_node(program, child, address, 4)
    node = _node(program, "cuGraphAddChildGraphNode", graph, (), child)
    program.good("cuGraphDestroy", child)

    launched(program, graph)

    assert program.read(address, 1) == b"\4"
    inner = program.good("cuGraphChildGraphNodeGetGraph", node, OUT)
    assert program.call("cuGraphDestroy", inner)[0] == INVALID_VALUE


def test_clones_know_their_nodes_and_destroyed_graphs_are_no_graphs(program: Program) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    node = empty_node(program, graph)
    clone = program.good("cuGraphClone", OUT, graph)

    copy = program.good("cuGraphNodeFindInClone", OUT, node, clone)

    assert copy != node
    assert program.good("cuGraphNodeGetType", copy, OUT) == 5
    program.good("cuGraphDestroy", graph)
    assert program.call("cuGraphDestroy", graph)[0] == INVALID_VALUE
    assert program.call("cuGraphNodeGetType", node, OUT)[0] == INVALID_VALUE
    program.good("cuGraphNodeGetType", copy, OUT)


def test_copies_events_and_generic_nodes(node: Machine, program: Program) -> None:
    source, target = program.start().alloc(4096), program.alloc(4096)
    program.write(source, b"copied by a node")
    graph, event = program.good("cuGraphCreate", OUT, 0), program.good("cuEventCreate", OUT, 0)
    side = "QQQQi4xQQQQQQ"
    copy = blob(f"{side}{side}QQQ", 0, 0, 0, 0, 4, 0, source, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, target, 0, 0, 0, 0, 16, 1, 1)
    moved = _node(program, "cuGraphAddMemcpyNode", graph, (), copy, 0)
    _node(program, "cuGraphAddEventRecordNode", graph, (moved,), event)
    _node(program, "cuGraphAddNode", graph, (), blob("i12x240x", 5))

    launched(program, graph)

    assert program.read(target, 16) == b"copied by a node"
    assert program.call("cuEventQuery", event)[0] == 0
    assert program.call("cuGraphAddNode", OUT, graph, 0, 0, blob("i12x240x", 13))[0] == NOT_SUPPORTED
    assert machine.truth(node.folder).devices[0].requested == 8192


def test_memory_of_nodes_is_there_while_the_graph_has_it(node: Machine, program: Program) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    memory_nodes(program, graph, 5 * MIB)
    assert graph_memory(program) == [0, 0, 0, 0]

    launched(program, graph)

    assert graph_memory(program) == [0, 5 * MIB, 32 * MIB, 32 * MIB]
    assert machine.truth(node.folder).devices[0].requested == 0
    program.good("cuDeviceGraphMemTrim", 0)
    assert graph_memory(program) == [0, 5 * MIB, 0, 32 * MIB]


def test_memory_that_a_graph_leaves_is_freed_like_any_other_and_blocks_the_next_launch(program: Program) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    address = memory_nodes(program, graph, 5 * MIB, free=False)
    run = executable(program, graph)

    program.good("cuGraphLaunch", run, 0)
    program.write(address, b"left")
    assert graph_memory(program)[USED] == 5 * MIB
    assert program.call("cuGraphLaunch", run, 0)[0] == INVALID_VALUE
    program.good("cuMemFreeAsync", address, 0)
    assert graph_memory(program)[USED] == 0
    assert program.call("cuMemFree_v2", address)[0] == INVALID_VALUE
    program.good("cuGraphLaunch", run, 0)


def test_a_graph_may_free_what_it_left_before_each_launch(program: Program) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    memory_nodes(program, graph, 5 * MIB, free=False)
    run = executable(program, graph, AUTO_FREE)

    for _ in range(3):
        program.good("cuGraphLaunch", run, 0)

    assert graph_memory(program) == [5 * MIB, 5 * MIB, 32 * MIB, 32 * MIB]


def test_allocation_in_a_capture_is_a_node(node: Machine, program: Program) -> None:
    stream = program.start().good("cuStreamCreate", OUT, 1)
    program.good("cuStreamBeginCapture_v2", stream, 0)
    address = program.good("cuMemAllocAsync", OUT, 4 * MIB, stream)
    program.good("cuMemsetD8Async", address, 1, 16, stream)
    program.good("cuMemFreeAsync", address, stream)
    graph = program.good("cuStreamEndCapture", stream, OUT)
    assert machine.truth(node.folder).devices[0].requested == 0

    launched(program, graph)

    assert graph_memory(program) == [0, 4 * MIB, 32 * MIB, 32 * MIB]
    assert program.call("cuGraphClone", OUT, graph)[0] == NOT_SUPPORTED


def test_a_graph_can_be_printed_for_graphviz(program: Program, tmp_path: Path) -> None:
    graph = program.start().good("cuGraphCreate", OUT, 0)
    empty_node(program, graph, empty_node(program, graph))

    program.good("cuGraphDebugDotPrint", graph, str(tmp_path / "graph.dot"), 0)

    assert "n1 -> n2;" in (tmp_path / "graph.dot").read_text()


def test_a_user_object_dies_with_its_last_reference(cuda: Any) -> None:
    ended: list[int] = []
    destroy = HOST_FUNCTION(ended.append)
    graph = made(cuda.cuGraphCreate, 0)
    user = made(cuda.cuUserObjectCreate, ctypes.c_void_p(7), destroy, 1, 1)

    assert not cuda.cuGraphRetainUserObject(graph, user, 1, 1)
    run = made(cuda.cuGraphInstantiateWithFlags, graph, ctypes.c_ulonglong(0))
    assert not cuda.cuGraphDestroy(graph)
    assert ended == []
    assert not cuda.cuGraphExecDestroy(run)
    assert ended == [7]


def test_a_host_node_runs_on_launch(cuda: Any) -> None:
    ran: list[int] = []
    function = HOST_FUNCTION(ran.append)
    graph, node = made(cuda.cuGraphCreate, 0), ctypes.c_void_p()
    parameters = (ctypes.c_void_p * 2)(ctypes.cast(function, ctypes.c_void_p).value, 3)

    assert not cuda.cuGraphAddHostNode(ctypes.byref(node), graph, None, ctypes.c_size_t(0), parameters)
    run = made(cuda.cuGraphInstantiateWithFlags, graph, ctypes.c_ulonglong(0))
    for _ in range(2):
        assert not cuda.cuGraphLaunch(run, None)
    assert not cuda.cuCtxSynchronize()

    assert ran == [3, 3]


@pytest.mark.parametrize("name", ["cuGraphDestroy", "cuGraphExecDestroy", "cuGraphDestroyNode"])
def test_what_is_no_handle_is_an_invalid_value(program: Program, name: str) -> None:
    program.start()

    assert program.call(name, 0)[0] == INVALID_VALUE
