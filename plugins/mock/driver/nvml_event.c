/* libnvidia-ml: event sets. Nothing ever happens to a simulated GPU yet, so waiting ends by timeout. */
#define _GNU_SOURCE
#include "nvml_driver.h"

#include <stdlib.h>
#include <time.h>

enum { EVENT_SINGLE_BIT = 0x1, EVENT_DOUBLE_BIT = 0x2, EVENT_XID = 0x8 };

struct nvmlEventSet_st {
	unsigned long long types;
};

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	*set = calloc(1, sizeof **set);
	return *set ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	free(set);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!types)
		return NVML_ERROR_INVALID_ARGUMENT;
	*types = EVENT_SINGLE_BIT | EVENT_DOUBLE_BIT | EVENT_XID;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	set->types |= types;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	struct timespec left = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};

	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!set || !data)
		return NVML_ERROR_INVALID_ARGUMENT;
	while (nanosleep(&left, &left))
		;
	return NVML_ERROR_TIMEOUT;
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	return nvmlEventSetWait_v2(set, data, timeout_ms);
}
