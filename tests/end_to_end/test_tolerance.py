"""What a container is charged against what the device has lost, allocator by allocator, by the simulated driver's own books."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import MIB

if TYPE_CHECKING:
    from tests.cli.command import Node

pytestmark = pytest.mark.slow

ROUNDING = 2 * MIB  # of one allocation, by docs/isolation.md
PROGRAM = """
import ctypes, os, sys
f = ctypes.CDLL("libcuda.so.1")
U64 = ctypes.c_uint64
context, p, free, total = ctypes.c_void_p(), U64(), ctypes.c_size_t(), ctypes.c_size_t()
class Shape(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t * 3), ("rest", ctypes.c_uint * 3)]
def check(code): assert code == 0, code
check(f.cuInit(0)); check(f.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)); check(f.cuCtxSetCurrent(context))
MIB = 1 << 20
for number in range(int(sys.argv[-1])):
    {act}
check(f.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
print("charged", total.value - free.value, flush=True)
sys.stdin.read()
"""
ACTS = {
    "contexts alone": "pass",
    "linear": "check(f.cuMemAlloc_v2(ctypes.byref(p), U64(3 * MIB + 777)))",
    "small": "check(f.cuMemAlloc_v2(ctypes.byref(p), U64(512)))",
    "managed": "check(f.cuMemAllocManaged(ctypes.byref(p), U64(5 * MIB), 1))",
    "pitched": "check(f.cuMemAllocPitch_v2(ctypes.byref(p), ctypes.byref(free), U64(1000), U64(5000), 4))",
    "arrays": "check(f.cuArray3DCreate_v2(ctypes.byref(p), ctypes.byref(Shape((700, 900, 0), (0x20, 2, 0)))))",
    "mipmaps": "check(f.cuMipmappedArrayCreate(ctypes.byref(p), ctypes.byref(Shape((700, 900, 0), (0x20, 2, 0))), 5))",
    "pools": "check(f.cuMemAllocAsync(ctypes.byref(p), U64((number * 7 + 1) * MIB), None))",
    "pools, freed": (
        "check(f.cuMemAllocAsync(ctypes.byref(p), U64(40 * MIB), None)); check(f.cuMemFreeAsync(p, None))\n"
        "    check(f.cuStreamSynchronize(None))"
    ),
    "graphs": (
        "graph, node, made, stream = (ctypes.c_void_p() for _ in range(4)); params = (U64 * 15)(1, 1)\n"
        "    params[13] = 40 * MIB; check(f.cuGraphCreate(ctypes.byref(graph), 0))\n"
        "    check(f.cuGraphAddMemAllocNode(ctypes.byref(node), graph, None, U64(0), params))\n"
        "    check(f.cuStreamCreate(ctypes.byref(stream), 0))\n"
        "    check(f.cuGraphInstantiateWithFlags(ctypes.byref(made), graph, U64(0))); check(f.cuGraphLaunch(made, stream))\n"
        "    check(f.cuStreamSynchronize(stream))"
    ),
}
COARSE = {"linear", "small", "managed", "pitched", "arrays", "mipmaps"}  # what the driver rounds up
NUMBER = 5


@pytest.mark.parametrize("how", ACTS)
def test_what_is_charged_is_what_the_device_loses(t4: Node, how: str) -> None:
    program = t4.write("program.py", PROGRAM.replace("{act}", ACTS[how]))

    running = t4.start("run", "--gpumem", "3000", "--", sys.executable, "-S", program, "--", str(NUMBER))
    charged = int(running.until("charged").split()[-1])
    [device] = t4.truth()
    running.close_input()

    assert running.end().status == 0
    assert 0 <= device["physical"] - charged <= (NUMBER * ROUNDING if how in COARSE else 0)
