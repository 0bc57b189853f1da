/* The devices of the grant as CUDA shows them: by UUID, in the grant's order. NVML's side is nvml_device.c's. */
#ifndef VGPU_CUDA_DEVICE_H
#define VGPU_CUDA_DEVICE_H

#include "cuda_abi.h"
#include "process.h"

/*
 * Find the granted devices among the driver's. CUDA_SUCCESS, also when there is none; the driver's code, such as
 * CUDA_ERROR_NOT_INITIALIZED; or CUDA_ERROR_NO_DEVICE when nothing is granted. Slow only until the first success.
 */
CUresult vgpu_cuda_devices(void);

/* Index in the grant of the driver's handle, or -1 for one that is not granted. After vgpu_cuda_devices() has succeeded. */
int vgpu_cuda_index(CUdevice device);

/* The driver's handle of the device with this index in the grant, or -1. */
CUdevice vgpu_cuda_handle(unsigned index);

/*
 * What a location of memory is. CUDA_SUCCESS and *INDEX, the index in the grant of the device it is on, or -1 for memory of the
 * host; CUDA_ERROR_INVALID_DEVICE for a device that is not granted; else the driver's code. A location that names none
 * and may be on one (unspecified, not visible) is the current device's.
 */
CUresult vgpu_cuda_location(const CUmemLocation *location, int *index);

CUresult vgpu_cuda_current_of_several(unsigned *index);

/*
 * Index in the grant of the calling thread's current device, or the code with which the driver would refuse the caller. A
 * grant of one device needs no question: no context can be made on any other.
 */
static inline CUresult vgpu_cuda_current(unsigned *index)
{
	if (atomic_load_explicit(&vgpu_process()->device_count, memory_order_relaxed) != 1)
		return vgpu_cuda_current_of_several(index);
	*index = 0;
	return CUDA_SUCCESS;
}

#endif
