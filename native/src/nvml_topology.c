/*
 * Lists of devices by their place: of those that exist for this program. The driver is asked with room for all that it may
 * have, so that what it counts and we leave out does not show in the number either.
 */
#include "driver.h"
#include "nvml_device.h"
#include "wrappers.h"

#define MOST_DRIVER_DEVICES 64u		/* as in cuda_device.c */

/* Hand the granted among FOUND devices to the caller: *COUNT is the room (0: only the number is wanted), and becomes the number. */
static nvmlReturn_t hand_out(const nvmlDevice_t *found, unsigned int total, unsigned int *count, nvmlDevice_t *devices)
{
	unsigned int room = *count, own = 0;

	for (unsigned int i = 0; i < total && i < MOST_DRIVER_DEVICES; i++) {
		if (vgpu_nvml_index(found[i]) < 0)
			continue;
		if (own < room && devices)
			devices[own] = found[i];
		own++;
	}
	*count = own;
	return room && own > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t vgpu_nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, nvmlGpuTopologyLevel_t level, unsigned int *count,
						   nvmlDevice_t *devices)
{
	nvmlDevice_t found[MOST_DRIVER_DEVICES];
	unsigned int total = MOST_DRIVER_DEVICES;
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetTopologyNearestGpus(device, level, count ? &total : NULL, found);

	return result == NVML_SUCCESS && count ? hand_out(found, total, count, devices) : result;
}

nvmlReturn_t vgpu_nvmlSystemGetTopologyGpuSet(unsigned int cpu, unsigned int *count, nvmlDevice_t *devices)
{
	nvmlDevice_t found[MOST_DRIVER_DEVICES];
	unsigned int total = MOST_DRIVER_DEVICES;
	nvmlReturn_t result = vgpu_nvml.nvmlSystemGetTopologyGpuSet(cpu, count ? &total : NULL, found);

	return result == NVML_SUCCESS && count ? hand_out(found, total, count, devices) : result;
}
