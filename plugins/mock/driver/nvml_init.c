/* libnvidia-ml: start and end, error texts, the system's versions, and the way to the machine. */
#include "nvml_driver.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct machine machine = {.file = -1};
static unsigned int users;                      /* nvmlInit calls not yet undone */
static uint32_t reloads;                        /* of the driver, when it was initialised */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nvmlDevice_st handles[STATE_DEVICES];

/* Locked. A forked child opens the file anew: a lock on it is shared with the parent otherwise. */
static int open_machine(void)
{
	int failure;

	if (machine.file >= 0 && machine.pid == getpid())
		return 0;
	if (machine.file >= 0)
		machine_close(&machine);
	failure = machine_open_own(&machine);
	for (unsigned int index = 0; index < STATE_DEVICES; index++)
		handles[index].index = index;
	return failure;
}

/* A reload of the driver ends all connections to it. */
static bool is_connected(void)
{
	return users && atomic_load(&machine.state->faults.reloads) == reloads;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
	nvmlReturn_t result = NVML_SUCCESS;

	if (flags & ~3u)                        /* NO_GPUS, NO_ATTACH */
		return NVML_ERROR_INVALID_ARGUMENT;
	pthread_mutex_lock(&lock);
	if (open_machine() || fault_driver_is_away(machine.state)) {
		result = NVML_ERROR_DRIVER_NOT_LOADED;
	} else {
		if (!is_connected())
			users = 0;
		reloads = atomic_load(&machine.state->faults.reloads);
		users++;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

nvmlReturn_t nvmlInit_v2(void)
{
	return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlInit(void)
{
	return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
	nvmlReturn_t result = NVML_SUCCESS;

	pthread_mutex_lock(&lock);
	if (users)
		users--;
	else
		result = NVML_ERROR_UNINITIALIZED;
	pthread_mutex_unlock(&lock);
	return result;
}

struct state *nvml_state(void)
{
	return is_connected() ? machine.state : NULL;
}

nvmlDevice_t nvml_handle(unsigned int index)
{
	return &handles[index];
}

bool nvml_is_device(const void *address)
{
	const char *at = address, *first = (const char *)handles;

	return at >= first && at < first + sizeof handles && (at - first) % (long)sizeof handles[0] == 0;
}

nvmlReturn_t nvml_trouble(struct state *state, unsigned int index)
{
	uint32_t condition = fault_condition(&state->faults, index);

	if (condition & GPU_LOST)
		return NVML_ERROR_GPU_IS_LOST;
	return condition & GPU_RESET_REQUIRED ? NVML_ERROR_RESET_REQUIRED : NVML_SUCCESS;
}

const struct mock_chip *nvml_chip(nvmlDevice_t device, nvmlReturn_t *failure)
{
	struct state *state = nvml_state();

	*failure = state ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
	if (!state || !nvml_is_device(device) || device->index >= state->facts.chips)
		return NULL;
	*failure = nvml_trouble(state, device->index);
	return *failure ? NULL : &state->facts.chip[device->index];
}

nvmlReturn_t nvml_text(char *buffer, unsigned int length, const char *text)
{
	if (!buffer)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (strlen(text) >= length)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	strcpy(buffer, text);
	return NVML_SUCCESS;
}

/* Locked, with the file of this very process. */
static void drop_dead(void)
{
	if (!open_machine())
		account_drop_dead(machine.state, machine.file, 0);
}

uint64_t nvml_memory_used(unsigned int index)
{
	uint64_t used;

	pthread_mutex_lock(&lock);
	drop_dead();
	used = account_device(machine.state, index).physical;
	pthread_mutex_unlock(&lock);
	return used;
}

unsigned int nvml_clients(unsigned int index, struct nvml_client *clients, unsigned int room)
{
	unsigned int found = 0;

	pthread_mutex_lock(&lock);
	drop_dead();
	for (unsigned row = 1; row <= atomic_load(&machine.state->rows); row++) {
		const struct state_process *process = &machine.state->process[row];
		uint64_t bytes;

		if (!atomic_load(&process->live))
			continue;
		bytes = (uint64_t)account_process(machine.state, row, index).physical;
		if (bytes && found < room)
			clients[found] = (struct nvml_client){(unsigned int)process->pid, bytes};
		found += bytes > 0;
	}
	for (uint32_t i = 0; i < machine.state->facts.ghosts; i++) {
		const struct mock_ghost *ghost = &machine.state->facts.ghost[i];

		if (ghost->gpu != index || !ghost->pid)
			continue;
		if (found < room)
			clients[found] = (struct nvml_client){(unsigned int)ghost->pid, ghost->bytes};
		found++;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

const char *nvmlErrorString(nvmlReturn_t error)
{
	static const char *const texts[] = {
		"Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions", "Already Initialized", "Not Found",
		"Insufficient Size", "Insufficient External Power", "Driver Not Loaded", "Timeout", "Interrupt Request Issue",
		"NVML Shared Library Not Found", "Function Not Found", "Corrupted infoROM", "GPU is lost", "GPU requires reset",
		"The operating system has blocked the request.", "RM has detected an NVML/RM version mismatch.", "In use by another client",
		"Insufficient Memory", "No data", "The requested vgpu operation is not available on target device, because ECC is enabled",
		"Insufficient resources", "The requested frequency is not supported", "Argument version mismatch",
		"The requested functionality has been deprecated", "The system is not ready for the request", "No GPUs were found",
		"Resource not in correct state", "Reset type not supported",
	};
	unsigned int code = (unsigned int)error;

	return code < sizeof texts / sizeof texts[0] ? texts[code] : "Unknown Error";
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	struct state *state = nvml_state();

	return state ? nvml_text(version, length, state->facts.driver_version) : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
	struct state *state = nvml_state();

	return state ? nvml_text(version, length, state->facts.nvml_version) : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	struct state *state = nvml_state();

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!version)
		return NVML_ERROR_INVALID_ARGUMENT;
	*version = (int)state->facts.cuda_version;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
	return nvmlSystemGetCudaDriverVersion_v2(version);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
	char path[4096];

	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!name || !length)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (!process_program((int32_t)pid, path, sizeof path))
		return NVML_ERROR_NOT_FOUND;
	snprintf(name, length, "%s", path);
	return NVML_SUCCESS;
}
