/* What CUDA programs are told of total and free memory. The driver is asked first: its errors are the program's. */
#include <stdint.h>

#include "charge.h"
#include "cuda_device.h"
#include "driver.h"
#include "wrappers.h"

static unsigned int as_32_bits(uint64_t bytes)
{
	return bytes > UINT32_MAX ? UINT32_MAX : (unsigned int)bytes;
}

/* The driver allows NULL outputs, so ours are asked instead of the caller's. */
static CUresult memory_info(CUresult result, uint64_t driver_free, uint64_t driver_total, struct vgpu_memory_view *view)
{
	unsigned index;

	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_devices();
	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_current(&index);
	if (result == CUDA_SUCCESS)
		*view = vgpu_view(index, driver_total, driver_free);
	return result;
}

CUresult vgpu_cuMemGetInfo_v2(size_t *free, size_t *total)
{
	size_t driver_free = 0, driver_total = 0;
	CUresult result = vgpu_cuda.cuMemGetInfo_v2(&driver_free, &driver_total);
	struct vgpu_memory_view view;

	result = memory_info(result, driver_free, driver_total, &view);
	if (result == CUDA_SUCCESS && free)
		*free = view.free;
	if (result == CUDA_SUCCESS && total)
		*total = view.total;
	return result;
}

CUresult vgpu_cuMemGetInfo(unsigned int *free, unsigned int *total)
{
	unsigned int driver_free = 0, driver_total = 0;
	CUresult result = vgpu_cuda.cuMemGetInfo(&driver_free, &driver_total);
	struct vgpu_memory_view view;

	result = memory_info(result, driver_free, driver_total, &view);
	if (result == CUDA_SUCCESS && free)
		*free = as_32_bits(view.free);
	if (result == CUDA_SUCCESS && total)
		*total = as_32_bits(view.total);
	return result;
}

/* Total only: needs no region, so that it works where none can be had. */
static CUresult total_memory(CUresult result, CUdevice device, uint64_t driver_total, uint64_t *total)
{
	uint64_t limit;
	int index;

	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_devices();
	if (result != CUDA_SUCCESS)
		return result;
	index = vgpu_cuda_index(device);
	if (index < 0)
		return CUDA_ERROR_INVALID_DEVICE;
	limit = atomic_load_explicit(&vgpu_process()->limit_bytes[index], memory_order_relaxed);
	*total = limit < driver_total ? limit : driver_total;
	return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	CUresult result = vgpu_cuda.cuDeviceTotalMem_v2(bytes, device);
	uint64_t total;

	result = total_memory(result, device, result == CUDA_SUCCESS ? *bytes : 0, &total);
	if (result == CUDA_SUCCESS)
		*bytes = total;
	return result;
}

CUresult vgpu_cuDeviceTotalMem(unsigned int *bytes, CUdevice device)
{
	CUresult result = vgpu_cuda.cuDeviceTotalMem(bytes, device);
	uint64_t total;

	result = total_memory(result, device, result == CUDA_SUCCESS ? *bytes : 0, &total);
	if (result == CUDA_SUCCESS)
		*bytes = as_32_bits(total);
	return result;
}
