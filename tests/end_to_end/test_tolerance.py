"""What a container is charged against what the device has lost, allocator by allocator, by the simulated driver's own books."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import MIB

if TYPE_CHECKING:
    from tests.cli.command import Node, Running

pytestmark = pytest.mark.slow

ROUNDING = 2 * MIB  # of one allocation, by docs/isolation.md
NUMBER = 5  # of acts of each kind
PROGRAM = """
import ctypes, json, sys
f = ctypes.CDLL("libcuda.so.1")
MIB, U64 = 1 << 20, ctypes.c_uint64
free, total, at = ctypes.c_size_t(), ctypes.c_size_t(), ctypes.byref
class Shape(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t * 3), ("format", ctypes.c_int), ("rest", ctypes.c_uint * 2)]
def check(code): assert code == 0, code
def handles(count): return [ctypes.c_void_p() for _ in range(count)]
context, p = handles(2)
check(f.cuInit(0)); check(f.cuDevicePrimaryCtxRetain(at(context), 0)); check(f.cuCtxSetCurrent(context))
for line in sys.stdin:
    for number in range(%d):
        exec(json.loads(line))
    check(f.cuMemGetInfo_v2(at(free), at(total)))
    print("charged", total.value - free.value, flush=True)
"""
ROUNDED = {
    "linear": "check(f.cuMemAlloc_v2(at(p), U64(3 * MIB + 777)))",
    "small": "check(f.cuMemAlloc_v2(at(p), U64(512)))",
    "managed": "check(f.cuMemAllocManaged(at(p), U64(5 * MIB), 1))",
    "pitched": "check(f.cuMemAllocPitch_v2(at(p), at(free), U64(1000), U64(5000), 4))",
    "arrays": "check(f.cuArray3DCreate_v2(at(p), at(Shape((700, 900, 0), 0x20, (2, 0)))))",
    "mipmaps": "check(f.cuMipmappedArrayCreate(at(p), at(Shape((700, 900, 0), 0x20, (2, 0))), 5))",
}
EXACT = {
    "contexts": "pass",
    "virtual memory": "check(f.cuMemCreate(at(p), U64(4 * MIB), (ctypes.c_int * 8)(1, 0, 1, 0), U64(0)))",
    "pools": "check(f.cuMemAllocAsync(at(p), U64((number * 7 + 1) * MIB), None))",
    "what a pool gives back": """
check(f.cuMemAllocAsync(at(p), U64(40 * MIB), None)); check(f.cuMemFreeAsync(p, None)); check(f.cuStreamSynchronize(None))
""",
    "graphs": """
graph, node, made, stream = handles(4); params = (U64 * 15)(1, 1); params[13] = 40 * MIB
check(f.cuGraphCreate(at(graph), 0)); check(f.cuGraphAddMemAllocNode(at(node), graph, None, U64(0), params))
check(f.cuStreamCreate(at(stream), 0)); check(f.cuGraphInstantiateWithFlags(at(made), graph, U64(0)))
check(f.cuGraphLaunch(made, stream)); check(f.cuStreamSynchronize(stream))
""",
}


def beyond_the_charge(node: Node, running: Running, act: str) -> int:
    """Bytes that the device has lost and nobody is charged for, after the program has done this some times."""
    stdin = running.process.stdin
    assert stdin is not None
    stdin.write(json.dumps(act) + "\n")
    stdin.flush()
    charged = int(running.until("charged").split()[-1])
    [device] = node.truth()
    lost: int = device["physical"]
    return lost - charged


def test_what_is_charged_is_what_the_device_loses(t4: Node) -> None:
    running = t4.start("run", "--gpumem", "3000", "--", sys.executable, "-S", "-c", PROGRAM % NUMBER)

    exact = {how: beyond_the_charge(t4, running, act) for how, act in EXACT.items()}
    sums = [0, *(beyond_the_charge(t4, running, act) for act in ROUNDED.values())]
    running.close_input()

    assert running.end().status == 0
    assert exact == dict.fromkeys(EXACT, 0)
    rounded = {how: after - before for how, before, after in zip(ROUNDED, sums, sums[1:], strict=False)}
    assert {how: 0 <= more <= NUMBER * ROUNDING for how, more in rounded.items()} == dict.fromkeys(ROUNDED, True)
