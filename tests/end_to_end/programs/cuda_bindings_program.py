"""NVIDIA's own binding of the driver API: virtual memory, pools, IPC with a child, arrays, streams, capture and graphs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import cuda.bindings
from cuda.bindings import driver

MIB = 1 << 20
HANDLE = 64  # bytes of an IPC handle


def good(answer: Any) -> Any:
    """What a call gave, having succeeded."""
    assert answer[0] == 0, answer
    return answer[1] if len(answer) == 2 else answer[1:]


def start() -> Any:
    good(driver.cuInit(0))
    device = good(driver.cuDeviceGet(0))
    good(driver.cuCtxSetCurrent(good(driver.cuDevicePrimaryCtxRetain(device))))
    return device


def child(handle: str) -> None:
    """Another process: opens what its parent shares, and writes into it."""
    start()
    shared = driver.CUipcMemHandle()
    ctypes.memmove(shared.getPtr(), bytes.fromhex(handle), HANDLE)
    address = good(driver.cuIpcOpenMemHandle(shared, driver.CUipcMem_flags.CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS))
    good(driver.cuMemcpyHtoD(int(address), b"from the child", 14))
    good(driver.cuIpcCloseMemHandle(address))


def read(address: Any, size: int) -> bytes:
    received = bytearray(size)
    good(driver.cuMemcpyDtoH(received, int(address), size))
    return bytes(received)


def virtual_memory() -> None:
    properties = driver.CUmemAllocationProp()
    properties.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    properties.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
    properties.requestedHandleTypes = driver.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
    granule = good(driver.cuMemGetAllocationGranularity(properties, driver.CUmemAllocationGranularity_flags(0)))
    handle = good(driver.cuMemCreate(4 * granule, properties, 0))
    address = good(driver.cuMemAddressReserve(4 * granule, 0, 0, 0))
    good(driver.cuMemMap(address, 4 * granule, 0, handle, 0))
    access = driver.CUmemAccessDesc()
    access.location = properties.location
    access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
    good(driver.cuMemSetAccess(address, 4 * granule, [access], 1))
    good(driver.cuMemcpyHtoD(int(address) + granule, b"mapped", 6))
    file = good(driver.cuMemExportToShareableHandle(handle, driver.CUmemAllocationHandleType(1), 0))
    print("virtual memory:", granule // MIB, read(int(address) + granule, 6).decode(), "exported", int(file) > 2)
    os.close(int(file))
    good(driver.cuMemUnmap(address, 4 * granule))
    good(driver.cuMemAddressFree(address, 4 * granule))
    good(driver.cuMemRelease(handle))


def pools(device: Any, stream: Any) -> None:
    pool = good(driver.cuDeviceGetDefaultMemPool(device))
    address = good(driver.cuMemAllocAsync(5 * MIB, stream))
    attribute = driver.CUmemPool_attribute.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT
    reserved = int(good(driver.cuMemPoolGetAttribute(pool, attribute)))
    good(driver.cuMemFreeAsync(address, stream))
    good(driver.cuStreamSynchronize(stream))
    print("pool:", reserved // MIB, "then", int(good(driver.cuMemPoolGetAttribute(pool, attribute))))


def sharing() -> None:
    address = good(driver.cuMemAlloc(MIB))
    handle = good(driver.cuIpcGetMemHandle(address))
    subprocess.run([sys.executable, __file__, ctypes.string_at(handle.getPtr(), HANDLE).hex()], check=True)
    print("shared:", read(address, 14).decode())
    good(driver.cuMemFree(address))


def arrays() -> None:
    descriptor = driver.CUDA_ARRAY_DESCRIPTOR()
    descriptor.Width, descriptor.Height, descriptor.NumChannels = 256, 16, 1
    descriptor.Format = driver.CUarray_format.CU_AD_FORMAT_UNSIGNED_INT8
    array = good(driver.cuArrayCreate(descriptor))
    good(driver.cuMemcpyHtoA(array, 0, bytes(range(256)), 256))
    received = bytearray(256)
    good(driver.cuMemcpyAtoH(received, array, 0, 256))
    print("array:", received == bytes(range(256)))
    good(driver.cuArrayDestroy(array))


def graphs(stream: Any) -> None:
    address = good(driver.cuMemAlloc(4096))
    good(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))
    good(driver.cuMemsetD8Async(address, 1, 4096, stream))
    temporary = good(driver.cuMemAllocAsync(MIB, stream))
    good(driver.cuMemFreeAsync(temporary, stream))
    kernel = good(driver.cuModuleGetFunction(good(driver.cuModuleLoadData(b"image")), b"kernel"))
    good(driver.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0))
    graph = good(driver.cuStreamEndCapture(stream))
    good(driver.cuGraphLaunch(good(driver.cuGraphInstantiate(graph, 0)), stream))
    good(driver.cuStreamSynchronize(stream))
    print("graph:", good(driver.cuGraphGetNodes(graph))[1], "nodes,", read(address, 2).hex())
    good(driver.cuMemFree(address))


def main() -> None:
    device = start()
    print("cuda-bindings", cuda.bindings.__version__, "on", good(driver.cuDeviceGetName(100, device)).split(b"\0")[0].decode())
    stream = good(driver.cuStreamCreate(0))
    virtual_memory()
    pools(device, stream)
    sharing()
    arrays()
    graphs(stream)
    good(driver.cuDeviceGraphMemTrim(device))
    print("too much:", driver.cuMemAlloc(1 << 39)[0].name)


if len(sys.argv) > 1:
    child(sys.argv[1])
else:
    main()
