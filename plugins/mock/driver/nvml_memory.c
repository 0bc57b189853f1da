/* libnvidia-ml: memory of a device, and the processes that hold it. */
#include "nvml_driver.h"

enum { NO_INSTANCE = -1 };                      /* 0xFFFFFFFF: not a MIG instance */

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!memory)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (memory->version != (sizeof *memory | 2u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (chip->unified)
		return NVML_ERROR_NOT_SUPPORTED;        /* the memory is the host's: it is no part of the GPU */
	memory->total = chip->memory_bytes;
	memory->reserved = chip->reserved_bytes;
	memory->used = nvml_memory_used(device->index);
	memory->free = memory->total - memory->reserved - memory->used;
	return NVML_SUCCESS;
}

/* The first form counts what is reserved as used. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	nvmlMemory_v2_t split = {.version = sizeof split | 2u << 24};
	nvmlReturn_t failure = memory ? nvmlDeviceGetMemoryInfo_v2(device, &split) : NVML_ERROR_INVALID_ARGUMENT;

	if (failure)
		return nvml_state() ? failure : NVML_ERROR_UNINITIALIZED;
	*memory = (nvmlMemory_t){.total = split.total, .free = split.free, .used = split.used + split.reserved};
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *memory)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!memory)
		return NVML_ERROR_INVALID_ARGUMENT;
	*memory = (nvmlBAR1Memory_t){.bar1Total = 256ULL << 20, .bar1Free = 254ULL << 20, .bar1Used = 2ULL << 20};
	return NVML_SUCCESS;
}

/* Checks what all process lists have in common and finds the clients. *COUNT comes in as the room and goes out as the number. */
static nvmlReturn_t list(nvmlDevice_t device, unsigned int *count, const void *infos, struct nvml_client *clients)
{
	nvmlReturn_t failure;
	unsigned int room, found;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!count || (*count && !infos))
		return NVML_ERROR_INVALID_ARGUMENT;
	room = *count;
	found = nvml_clients(device->index, clients, STATE_PROCESSES);
	*count = found;
	return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v1_t *infos)
{
	struct nvml_client clients[STATE_PROCESSES];
	nvmlReturn_t failure = list(device, count, infos, clients);

	for (unsigned int i = 0; !failure && i < *count; i++)
		infos[i] = (nvmlProcessInfo_v1_t){.pid = clients[i].pid, .usedGpuMemory = clients[i].bytes};
	return failure;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v2_t *infos)
{
	struct nvml_client clients[STATE_PROCESSES];
	nvmlReturn_t failure = list(device, count, infos, clients);

	for (unsigned int i = 0; !failure && i < *count; i++) {
		infos[i].pid = clients[i].pid;
		infos[i].usedGpuMemory = clients[i].bytes;
		infos[i].gpuInstanceId = (unsigned int)NO_INSTANCE;
		infos[i].computeInstanceId = (unsigned int)NO_INSTANCE;
	}
	return failure;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
	return nvmlDeviceGetComputeRunningProcesses_v2(device, count, (nvmlProcessInfo_v2_t *)infos);
}

/* No process draws, and none computes through MPS. */
static nvmlReturn_t none(nvmlDevice_t device, unsigned int *count)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = 0;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v1_t *infos)
{
	(void)infos;
	return none(device, count);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v2_t *infos)
{
	(void)infos;
	return none(device, count);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
	(void)infos;
	return none(device, count);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v1_t *infos)
{
	(void)infos;
	return none(device, count);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v2_t *infos)
{
	(void)infos;
	return none(device, count);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
	(void)infos;
	return none(device, count);
}
