/* Whether a stream captures: what is allocated and freed in it then is not done, but made nodes of a graph. */
#ifndef VGPU_CUDA_CAPTURE_H
#define VGPU_CUDA_CAPTURE_H

#include <stdbool.h>

#include "cuda_abi.h"
#include "driver.h"
#include "process.h"

/* Until a process has begun a capture this is one load; afterwards the driver is asked. */
static inline bool vgpu_captures(CUresult (*is_capturing)(CUstream, CUstreamCaptureStatus *), CUstream stream)
{
	CUstreamCaptureStatus status;

	if (__builtin_expect(!atomic_load_explicit(&vgpu_process()->captures, memory_order_relaxed), 1))
		return false;
	return is_capturing && is_capturing(stream, &status) == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE;
}

#endif
