"""numba-cuda as far as it goes without NVIDIA's compiler: arrays, streams, events, and a kernel given as PTX."""

from __future__ import annotations

import _numba_cuda_redirector  # noqa: F401  # makes numba.cuda numba-cuda's; the set-up does not let it into every Python
import numba_cuda
import numpy as np
from cuda.core import LaunchConfig, ObjectCode, Stream, launch
from numba import cuda

PTX = b""".version 7.5
.target sm_75
.address_size 64
.visible .entry axpy(.param .u64 values) { ret; }
"""

device = cuda.get_current_device()
print("numba-cuda", numba_cuda.__version__, "on", device.name.decode() if isinstance(device.name, bytes) else device.name)

values = np.arange(1000, dtype=np.float32)
stream = cuda.stream()
on_device = cuda.to_device(values, stream=stream)
twin = cuda.device_array_like(on_device)
twin.copy_to_device(on_device, stream=stream)
print("copied back:", bool((twin.copy_to_host(stream=stream) == values).all()))
print("slices:", on_device[10:14].copy_to_host().tolist())

managed = cuda.managed_array(10, dtype=np.int32)
managed[:] = 3
mapped = cuda.mapped_array(10, dtype=np.int32)
mapped[:] = 4
print("managed and mapped:", int(managed.sum()), int(mapped.sum()))
with cuda.pinned(values):
    on_device.copy_to_device(values, stream=stream)

start, end = cuda.event(), cuda.event()
start.record(stream)
kernel = ObjectCode.from_ptx(PTX).get_kernel("axpy")
launch(Stream.from_handle(int(stream.handle)), LaunchConfig(grid=1, block=32), kernel, on_device.device_ctypes_pointer.value)
end.record(stream)
end.synchronize()
print("launched:", cuda.event_elapsed_time(start, end) >= 0)
module = cuda.current_context().create_module_ptx(PTX + b"\0")
print("module:", module.get_function("axpy").attrs.maxthreads, "threads at most")

free, total = cuda.current_context().get_memory_info()
print("memory:", free < total)
try:
    cuda.device_array(1 << 40, dtype=np.uint8)
except Exception as error:
    print("too much:", "OUT_OF_MEMORY" in str(error))
