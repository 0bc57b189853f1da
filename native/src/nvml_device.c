/*
 * Handles are asked of the driver by UUID each time and never kept: nvmlShutdown ends them, NVML is no hot path, and a lost
 * device answers as it would.
 */
#include "nvml_device.h"

#include <string.h>

#include "driver.h"
#include "grant.h"
#include "wrappers.h"

#define MOST_DRIVER_DEVICES 64u		/* as in cuda_device.c */

static nvmlReturn_t read_uuid(nvmlDevice_t device, uint8_t uuid[16])
{
	char text[NVML_DEVICE_UUID_V2_BUFFER_SIZE] = "";
	nvmlReturn_t result = NVML_ERROR_FUNCTION_NOT_FOUND;

	if (vgpu_nvml.nvmlDeviceGetUUID)
		result = vgpu_nvml.nvmlDeviceGetUUID(device, text, sizeof(text));
	if (result == NVML_SUCCESS && !vgpu_limits_parse_uuid(text, strnlen(text, sizeof(text)), uuid))
		return NVML_ERROR_NOT_FOUND;
	return result;
}

/* HAMi's variables limit devices by number: here by NVML's, for programs that ask NVML first. */
static enum vgpu_grant_state bind_grant(void)
{
	uint8_t uuids[MOST_DRIVER_DEVICES][16];
	unsigned int total = 0, count = 0;
	nvmlDevice_t device;

	if (!vgpu_nvml.nvmlDeviceGetCount_v2 || !vgpu_nvml.nvmlDeviceGetHandleByIndex_v2 ||
	    vgpu_nvml.nvmlDeviceGetCount_v2(&total) != NVML_SUCCESS)
		return VGPU_GRANT_UNBOUND;
	for (unsigned int i = 0; i < total && count < MOST_DRIVER_DEVICES; i++)
		if (vgpu_nvml.nvmlDeviceGetHandleByIndex_v2(i, &device) == NVML_SUCCESS &&
		    read_uuid(device, uuids[count]) == NVML_SUCCESS)
			count++;
	return vgpu_grant_bind((const uint8_t (*)[16])uuids, count);
}

static enum vgpu_grant_state load(void)
{
	enum vgpu_grant_state state = vgpu_grant_load();

	return state == VGPU_GRANT_UNBOUND ? bind_grant() : state;
}

/* One granted device as the driver sees it. */
struct shown {
	nvmlDevice_t device;
	nvmlReturn_t result;	/* of asking for its handle: a sick device keeps its place, and tells its sickness */
};

/* A granted device that the driver has never heard of is not shown; one that it cannot reach is. */
static nvmlReturn_t list_shown(struct shown shown[VGPU_MAX_DEVICES], unsigned int *count)
{
	const struct vgpu_limits *limits = vgpu_grant_limits();
	uint32_t granted = load() == VGPU_GRANT_OPEN ? limits->device_count : 0;

	*count = 0;
	for (uint32_t i = 0; i < granted && vgpu_nvml.nvmlDeviceGetHandleByUUID; i++) {
		struct shown *one = &shown[*count];

		one->result = vgpu_nvml.nvmlDeviceGetHandleByUUID(limits->devices[i].uuid, &one->device);
		if (one->result == NVML_ERROR_UNINITIALIZED)
			return one->result;
		if (one->result != NVML_ERROR_NOT_FOUND && one->result != NVML_ERROR_INVALID_ARGUMENT)
			++*count;
	}
	return NVML_SUCCESS;
}

int vgpu_nvml_index(nvmlDevice_t device)
{
	uint8_t uuid[16];

	if (load() != VGPU_GRANT_OPEN || read_uuid(device, uuid) != NVML_SUCCESS)
		return -1;
	return vgpu_grant_find(uuid);
}

static nvmlReturn_t count_shown(nvmlReturn_t result, unsigned int *count)
{
	struct shown shown[VGPU_MAX_DEVICES];

	return result == NVML_SUCCESS ? list_shown(shown, count) : result;
}

nvmlReturn_t vgpu_nvmlDeviceGetCount(unsigned int *count)
{
	return count_shown(vgpu_nvml.nvmlDeviceGetCount(count), count);
}

nvmlReturn_t vgpu_nvmlDeviceGetCount_v2(unsigned int *count)
{
	return count_shown(vgpu_nvml.nvmlDeviceGetCount_v2(count), count);
}

static nvmlReturn_t shown_at(unsigned int ordinal, nvmlDevice_t *device)
{
	struct shown shown[VGPU_MAX_DEVICES];
	unsigned int count;
	nvmlReturn_t result = list_shown(shown, &count);

	if (result != NVML_SUCCESS)
		return result;
	if (ordinal >= count || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (shown[ordinal].result == NVML_SUCCESS)
		*device = shown[ordinal].device;
	return shown[ordinal].result;
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
	return shown_at(index, device);
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	return shown_at(index, device);
}

nvmlReturn_t vgpu_nvml_driver_ordinal(unsigned int ordinal, unsigned int *driver_ordinal)
{
	nvmlDevice_t device;
	nvmlReturn_t result = shown_at(ordinal, &device);

	if (result != NVML_SUCCESS)
		return result;
	return vgpu_nvml.nvmlDeviceGetIndex ? vgpu_nvml.nvmlDeviceGetIndex(device, driver_ordinal) : NVML_ERROR_FUNCTION_NOT_FOUND;
}

/* The driver has found a device; does it exist for this program? */
static nvmlReturn_t if_granted(nvmlReturn_t result, const nvmlDevice_t *device)
{
	return result == NVML_SUCCESS && vgpu_nvml_index(*device) < 0 ? NVML_ERROR_NOT_FOUND : result;
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	return if_granted(vgpu_nvml.nvmlDeviceGetHandleByUUID(uuid, device), device);
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *device)
{
	return if_granted(vgpu_nvml.nvmlDeviceGetHandleByUUIDV(uuid, device), device);
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device)
{
	return if_granted(vgpu_nvml.nvmlDeviceGetHandleByPciBusId(bus_id, device), device);
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
	return if_granted(vgpu_nvml.nvmlDeviceGetHandleByPciBusId_v2(bus_id, device), device);
}

nvmlReturn_t vgpu_nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
	return if_granted(vgpu_nvml.nvmlDeviceGetHandleBySerial(serial, device), device);
}

/* The place among the devices shown. A handle that is none of them keeps the driver's: a MIG instance counts inside its parent. */
nvmlReturn_t vgpu_nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
	struct shown shown[VGPU_MAX_DEVICES];
	nvmlReturn_t result = vgpu_nvml.nvmlDeviceGetIndex(device, index);
	unsigned int count;

	if (result != NVML_SUCCESS || list_shown(shown, &count) != NVML_SUCCESS)
		return result;
	for (unsigned int i = 0; i < count; i++)
		if (shown[i].result == NVML_SUCCESS && shown[i].device == device)
			*index = i;
	return result;
}
