/*
 * libnvidia-ml: event sets. A set remembers, for each device, what is registered, and the number of the next event that it has not seen;
 * events before a registration are none of its. Every set sees each event once, whichever process it is in.
 */
#define _GNU_SOURCE
#include "nvml_driver.h"

#include <pthread.h>
#include <stdlib.h>

enum { NO_INSTANCE = -1 };
enum { CLOCK_LOOKS_NS = 20000000 };             /* a fault by the clock is noticed by whoever waits, so often */

static const unsigned long long supported = EVENT_SINGLE_BIT_ECC | EVENT_DOUBLE_BIT_ECC | EVENT_XID;

struct nvmlEventSet_st {
	pthread_mutex_t lock;
	uint64_t next;                          /* of the ring, not seen yet */
	struct {
		unsigned long long types;
		uint64_t since;                 /* number of the first event that counts */
	} device[STATE_DEVICES];
};

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
	struct state *state = nvml_state();

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	*set = calloc(1, sizeof **set);
	if (!*set)
		return NVML_ERROR_MEMORY;
	pthread_mutex_init(&(*set)->lock, NULL);
	(*set)->next = event_next(state);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	pthread_mutex_destroy(&set->lock);
	free(set);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!types)
		return NVML_ERROR_INVALID_ARGUMENT;
	*types = chip->ecc ? supported : EVENT_XID;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
	unsigned long long known;
	nvmlReturn_t failure = nvmlDeviceGetSupportedEventTypes(device, &known);

	if (failure)
		return failure;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (types & ~known)
		return NVML_ERROR_NOT_SUPPORTED;
	pthread_mutex_lock(&set->lock);
	if (!set->device[device->index].types)
		set->device[device->index].since = event_next(nvml_state());
	set->device[device->index].types |= types;
	pthread_mutex_unlock(&set->lock);
	return NVML_SUCCESS;
}

/* The next event that the set is registered for. */
static bool take(struct state *state, nvmlEventSet_t set, struct event *event)
{
	bool found = false;

	pthread_mutex_lock(&set->lock);
	while (!found && event_read(state, &set->next, event))
		found = event->device < STATE_DEVICES && set->device[event->device].types & event->type
		     && set->next > set->device[event->device].since;
	pthread_mutex_unlock(&set->lock);
	return found;
}

static nvmlReturn_t wait_for(nvmlEventSet_t set, struct event *event, unsigned int timeout_ms)
{
	uint64_t end = timing_now() + timeout_ms * 1000000ULL;

	for (;;) {
		struct state *state = nvml_state();
		uint64_t now = timing_now();

		if (!state)
			return NVML_ERROR_UNINITIALIZED; /* the driver was reloaded meanwhile */
		fault_tick(state);
		if (take(state, set, event))
			return NVML_SUCCESS;
		if (now >= end)
			return NVML_ERROR_TIMEOUT;
		event_wait(state, set->next, end - now < CLOCK_LOOKS_NS ? end - now : CLOCK_LOOKS_NS);
	}
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	struct event event;
	nvmlReturn_t failure;

	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!set || !data)
		return NVML_ERROR_INVALID_ARGUMENT;
	failure = wait_for(set, &event, timeout_ms);
	if (failure)
		return failure;
	data->device = nvml_handle(event.device);
	data->eventType = event.type;
	data->eventData = event.data;
	data->gpuInstanceId = data->computeInstanceId = (unsigned int)NO_INSTANCE;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	return nvmlEventSetWait_v2(set, data, timeout_ms);
}
