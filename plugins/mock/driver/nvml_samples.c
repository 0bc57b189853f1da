/* libnvidia-ml: which processes keep a GPU busy. One sample of each, of the last second, taken when somebody asks. */
#define _GNU_SOURCE
#include "nvml_driver.h"

#include <string.h>
#include <time.h>

enum { SAMPLE_US = 1000000 };

struct sample {
	unsigned int pid;
	unsigned int sm;
};

/* Every process that kept the GPU busy within the last second. Returns how many there are. */
static unsigned int sample_processes(unsigned int index, struct sample *samples, unsigned int room)
{
	struct state *state = nvml_state();
	uint64_t now = timing_now();
	unsigned int found = 0;

	for (unsigned row = 1; row <= atomic_load(&state->rows); row++) {
		uint64_t busy;

		if (!atomic_load(&state->process[row].live))
			continue;
		busy = utilisation_of_process(state, row, index, now - SAMPLE_US * 1000ULL, now);
		if (busy && found < room)
			samples[found] = (struct sample){(unsigned int)state->process[row].pid, nvml_percent(busy, SAMPLE_US)};
		found += busy > 0;
	}
	for (uint32_t i = 0; i < state->facts.ghosts; i++) {
		const struct mock_ghost *ghost = &state->facts.ghost[i];

		if (ghost->gpu != index || !ghost->pid || !ghost->sm)
			continue;
		if (found < room)
			samples[found] = (struct sample){(unsigned int)ghost->pid, ghost->sm};
		found++;
	}
	return found;
}

/* Microseconds since 1970, as NVML's samples have it. */
static unsigned long long wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u;
}

/* *COUNT comes in as the room. There is one sample of each process, taken now, so SINCE excludes none. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples, unsigned int *count,
                                             unsigned long long since)
{
	struct sample found[STATE_PROCESSES];
	nvmlReturn_t failure;
	unsigned int room, number;

	(void)since;
	if (!nvml_chip(device, &failure))
		return failure;
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	room = samples ? *count : 0;
	*count = number = sample_processes(device->index, found, STATE_PROCESSES);
	if (!number)
		return NVML_ERROR_NOT_FOUND;
	if (number > room)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	for (unsigned int i = 0; i < number; i++) {
		memset(&samples[i], 0, sizeof samples[i]);
		samples[i].pid = found[i].pid;
		samples[i].timeStamp = wall_clock();
		samples[i].smUtil = found[i].sm;
		samples[i].memUtil = found[i].sm / 2;
	}
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
	struct sample found[STATE_PROCESSES];
	nvmlReturn_t failure;
	unsigned int room, number;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!info)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (info->version != (sizeof *info | 1u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	room = info->procUtilArray ? info->processSamplesCount : 0;
	info->processSamplesCount = number = sample_processes(device->index, found, STATE_PROCESSES);
	if (!number)
		return NVML_ERROR_NOT_FOUND;
	if (number > room)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	for (unsigned int i = 0; i < number; i++) {
		nvmlProcessUtilizationInfo_v1_t *entry = &info->procUtilArray[i];

		memset(entry, 0, sizeof *entry);
		entry->timeStamp = wall_clock();
		entry->pid = found[i].pid;
		entry->smUtil = found[i].sm;
		entry->memUtil = found[i].sm / 2;
	}
	return NVML_SUCCESS;
}
