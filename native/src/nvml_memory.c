/* What NVML programs are told of total, free and used memory: the same numbers as CUDA's. The driver is asked first. */
#include "charge.h"
#include "driver.h"
#include "nvml_device.h"
#include "wrappers.h"

nvmlReturn_t vgpu_nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetMemoryInfo(device, memory);
	int index = result == NVML_SUCCESS ? vgpu_nvml_index(device) : -1;
	struct vgpu_memory_view view;

	if (index < 0)
		return result;
	view = vgpu_view((unsigned)index, memory->total, memory->free);
	memory->total = view.total;
	memory->free = view.free;
	memory->used = view.used;
	return NVML_SUCCESS;
}

nvmlReturn_t vgpu_nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetMemoryInfo_v2(device, memory);
	int index = result == NVML_SUCCESS ? vgpu_nvml_index(device) : -1;
	struct vgpu_memory_view view;

	if (index < 0)
		return result;
	view = vgpu_view((unsigned)index, memory->total, memory->free);
	memory->total = view.total;
	memory->reserved = 0;		/* what the driver keeps is outside the share, which is the container's in full */
	memory->free = view.free;
	memory->used = view.used;
	return NVML_SUCCESS;
}
