"""NVIDIA's own Python binding, unchanged, on a simulated machine: it finds every function by cuGetProcAddress."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.mock.conftest import environment

if TYPE_CHECKING:
    from hami_mock.machine import Machine

PROGRAM = """
from cuda.bindings import driver

def good(answer):
    assert answer[0] == 0, answer
    return answer[1] if len(answer) == 2 else answer[1:]

good(driver.cuInit(0))
device = good(driver.cuDeviceGet(0))
context = good(driver.cuDevicePrimaryCtxRetain(device))
good(driver.cuCtxSetCurrent(context))
free, total = good(driver.cuMemGetInfo())
address = good(driver.cuMemAlloc(100 << 20))
assert good(driver.cuMemGetInfo()) == (free - (100 << 20), total)
sent, received = bytes(range(256)) * 16, bytearray(4096)
good(driver.cuMemcpyHtoD(int(address) + 512, sent, 4096))
good(driver.cuMemcpyDtoH(received, int(address) + 512, 4096))
assert received == sent
good(driver.cuMemsetD8(address, 7, 4096))
good(driver.cuMemcpyDtoH(received, address, 4096))
assert received == bytes([7]) * 4096
stream = good(driver.cuStreamCreate(0))
later = good(driver.cuMemAllocAsync(1000, stream))
good(driver.cuMemFreeAsync(later, stream))
good(driver.cuStreamSynchronize(stream))
start, end = good(driver.cuEventCreate(0)), good(driver.cuEventCreate(0))
good(driver.cuEventRecord(start, stream))
kernel = good(driver.cuModuleGetFunction(good(driver.cuModuleLoadData(b"image")), b"kernel"))
good(driver.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0))
good(driver.cuEventRecord(end, stream))
assert good(driver.cuEventElapsedTime(start, end)) >= 0
good(driver.cuMemFree(address))
assert driver.cuMemFree(address)[0] == driver.CUresult.CUDA_ERROR_INVALID_VALUE
assert driver.cuMemAlloc(1 << 39)[0] == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY
assert good(driver.cuGetErrorName(driver.CUresult(2))) == b"CUDA_ERROR_OUT_OF_MEMORY"
managed = good(driver.cuMemAllocManaged(1 << 20, 1))
assert good(driver.cuPointerGetAttribute(driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_IS_MANAGED, managed))
import ctypes
ctypes.memset(int(managed), 1, 1 << 20)
good(driver.cuMemFree(managed))
assert good(driver.cuMemGetInfo()) == (free, total)
print("well")
"""


def test_the_binding_allocates_copies_launches_and_asks(node: Machine) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment(node), capture_output=True, text=True, check=False)

    assert done.stdout == "well\n", done.stderr
