/*
 * The use that NVML tells of processes: of this grant's own. What the driver says of others is taken out of the caller's list,
 * which stays as long as the driver wanted it to be. A container with a PID namespace of its own knows none of the driver's pids
 * and is told of no use.
 */
#include "charge.h"
#include "driver.h"
#include "nvml_device.h"
#include "wrappers.h"

bool vgpu_nvml_is_own(uint32_t pid)
{
	const struct vgpu_region *region = vgpu_charge_region();

	for (unsigned i = 0; region && i < VGPU_MAX_SLOTS; i++) {
		const struct vgpu_region_slot *slot = &region->slots[i];
		uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);

		if ((state & VGPU_SLOT_STATE_MASK) == VGPU_SLOT_LIVE && slot->pid == pid)
			return true;
	}
	return false;
}

/* NVML's words for an empty list, as a driver has them where nothing ran. */
static nvmlReturn_t told(unsigned int count)
{
	return count ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

#define KEEP_OWN(entries, count) do { \
		unsigned int kept = 0; \
		for (unsigned int i = 0; i < (count); i++) \
			if (vgpu_nvml_is_own((entries)[i].pid)) \
				(entries)[kept++] = (entries)[i]; \
		(count) = kept; \
	} while (0)

nvmlReturn_t vgpu_nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples,
						  unsigned int *count, unsigned long long since)
{
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetProcessUtilization(device, samples, count, since);

	if (result != NVML_SUCCESS || !count || !samples)
		return result;
	KEEP_OWN(samples, *count);
	return told(*count);
}

nvmlReturn_t vgpu_nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetProcessesUtilizationInfo(device, info);

	if (result != NVML_SUCCESS || !info || !info->procUtilArray)
		return result;
	KEEP_OWN(info->procUtilArray, info->processSamplesCount);
	return told(info->processSamplesCount);
}
