/*
 * The processes that NVML lists: those of this grant, by their slots in the region, with the pids and bytes that the container
 * knows. The driver would name the processes of all tenants, by pids of another namespace.
 *
 * The region knows compute processes. Graphics and MPS lists are empty: no slot is of that kind.
 */
#include <stddef.h>

#include "charge.h"
#include "driver.h"
#include "nvml_device.h"
#include "wrappers.h"

#define NO_INSTANCE 0xffffffffu		/* of gpuInstanceId and computeInstanceId: no MIG */

/* Bytes that a slot holds of the device at PLACE of the region; 0 also for one that is not LIVE. */
static uint64_t held_by(const struct vgpu_region_slot *slot, unsigned place)
{
	if ((atomic_load_explicit(&slot->state, memory_order_acquire) & VGPU_SLOT_STATE_MASK) != VGPU_SLOT_LIVE)
		return 0;
	return atomic_load_explicit(&slot->used[place], memory_order_relaxed);
}

/* The holders of device INDEX, at most MOST of them; the return value counts all. */
static unsigned int list_holders(unsigned index, nvmlProcessInfo_t *holders, unsigned int most)
{
	const struct vgpu_region *region = vgpu_charge_region();
	unsigned int count = 0, place = vgpu_place(vgpu_process(), index);

	for (unsigned i = 0; region && i < VGPU_MAX_SLOTS; i++) {
		uint64_t bytes = held_by(&region->slots[i], place);

		if (bytes && count < most)
			holders[count] = (nvmlProcessInfo_t){ region->slots[i].pid, bytes, NO_INSTANCE, NO_INSTANCE };
		count += bytes != 0;
	}
	return count;
}

/*
 * Fill a caller's list. RESULT is the driver's answer to an empty question, which shows a bad handle or a lost device; that it
 * has processes to tell (INSUFFICIENT_SIZE) is no error. FIRST is the entry without MIG numbers.
 */
static nvmlReturn_t fill(nvmlReturn_t result, nvmlDevice_t device, unsigned int *count, void *infos, bool first)
{
	nvmlProcessInfo_t holders[VGPU_MAX_SLOTS];
	int index = vgpu_nvml_index(device);
	unsigned int found, capacity = *count;

	if (result != NVML_SUCCESS && result != NVML_ERROR_INSUFFICIENT_SIZE)
		return result;
	found = index < 0 ? 0 : list_holders((unsigned)index, holders, VGPU_MAX_SLOTS);
	*count = found;
	if (found > capacity)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	if (found && !infos)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (unsigned int i = 0; i < found; i++)
		if (first)
			((nvmlProcessInfo_v1_t *)infos)[i] = (nvmlProcessInfo_v1_t){ holders[i].pid, holders[i].usedGpuMemory };
		else
			((nvmlProcessInfo_t *)infos)[i] = holders[i];
	return NVML_SUCCESS;
}

#define COMPUTE(symbol, entry, first) \
	nvmlReturn_t vgpu_##symbol(nvmlDevice_t device, unsigned int *count, entry *infos) \
	{ \
		unsigned int none = 0; \
		return count ? fill(vgpu_nvml.symbol(device, &none, NULL), device, count, infos, first) \
		             : vgpu_nvml.symbol(device, count, infos); \
	}
COMPUTE(nvmlDeviceGetComputeRunningProcesses, nvmlProcessInfo_v1_t, true)
COMPUTE(nvmlDeviceGetComputeRunningProcesses_v2, nvmlProcessInfo_v2_t, false)
COMPUTE(nvmlDeviceGetComputeRunningProcesses_v3, nvmlProcessInfo_t, false)

#define EMPTY(symbol, entry) \
	nvmlReturn_t vgpu_##symbol(nvmlDevice_t device, unsigned int *count, entry *infos) \
	{ \
		unsigned int none = 0; \
		nvmlReturn_t result = vgpu_nvml.symbol(device, count ? &none : NULL, count ? NULL : infos); \
		if (result == NVML_ERROR_INSUFFICIENT_SIZE) \
			result = NVML_SUCCESS; \
		if (count && result == NVML_SUCCESS) \
			*count = 0; \
		return result; \
	}
EMPTY(nvmlDeviceGetGraphicsRunningProcesses, nvmlProcessInfo_v1_t)
EMPTY(nvmlDeviceGetGraphicsRunningProcesses_v2, nvmlProcessInfo_v2_t)
EMPTY(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlProcessInfo_t)
EMPTY(nvmlDeviceGetMPSComputeRunningProcesses, nvmlProcessInfo_v1_t)
EMPTY(nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlProcessInfo_v2_t)
EMPTY(nvmlDeviceGetMPSComputeRunningProcesses_v3, nvmlProcessInfo_t)
