"""NVIDIA's cuda-core as its users write it: device, stream, events, buffers of every resource, a kernel as PTX, a graph."""

from __future__ import annotations

import cuda.core
import numpy as np
from cuda.core import (
    Device,
    DeviceMemoryResource,
    DeviceMemoryResourceOptions,
    EventOptions,
    LaunchConfig,
    LegacyPinnedMemoryResource,
    ManagedMemoryResource,
    ManagedMemoryResourceOptions,
    ObjectCode,
    VirtualMemoryResource,
    VirtualMemoryResourceOptions,
    launch,
)

MIB = 1 << 20
PTX = b""".version 7.5
.target sm_75
.address_size 64
.global .align 4 .b8 table[64];
.visible .entry axpy(.param .u64 values, .param .f32 factor, .param .align 8 .b8 shape[24]) { ret; }
"""

device = Device(0)
device.set_current()
stream = device.create_stream()
print("cuda-core", cuda.core.__version__, "on", device.name, ".".join(map(str, device.compute_capability)))

buffer = device.allocate(MIB, stream=stream)
pinned = LegacyPinnedMemoryResource().allocate(MIB)
buffer.fill(7, stream=stream)
buffer.copy_to(pinned, stream=stream)
stream.sync()
print("copied back:", np.from_dlpack(pinned)[:4].tolist())

pool = DeviceMemoryResource(device, options=DeviceMemoryResourceOptions(max_size=1 << 30))
pooled = pool.allocate(5 * MIB, stream=stream)
print("pool: used", pool.attributes.used_mem_current // MIB, "reserved", pool.attributes.reserved_mem_current // MIB)
pooled.close(stream)

mapped = VirtualMemoryResource(device, config=VirtualMemoryResourceOptions(handle_type=None)).allocate(3 * MIB)
print("mapped:", mapped.size // MIB)
mapped.close()

managed = ManagedMemoryResource(ManagedMemoryResourceOptions(preferred_location=0)).allocate(4096, stream=stream)
print("managed: host", managed.is_host_accessible, "device", managed.is_device_accessible)

kernel = ObjectCode.from_ptx(PTX).get_kernel("axpy")
print("kernel:", kernel.num_arguments, "arguments,", kernel.attributes.max_threads_per_block, "threads at most")
timed = EventOptions(timing_enabled=True)
start = stream.record(options=timed)
launch(stream, LaunchConfig(grid=4, block=128), kernel, buffer, 2.0)
end = stream.record(options=timed)
end.sync()
print("launched:", end - start >= 0)

building = device.create_graph_builder()
building.begin_building()
for _ in range(2):
    launch(building, LaunchConfig(grid=1, block=32), kernel, buffer, 1.0)
graph = building.end_building().complete()
graph.launch(stream)
stream.sync()
print("graph launched")

try:
    device.allocate(1 << 38, stream=stream)
except Exception as error:
    print("too much:", str(error).split(":")[0])
