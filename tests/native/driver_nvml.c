/*
 * The NVML half of the tests' driver: four devices, a private table with the slots that nvidia-smi uses, processes with pids of
 * everybody. Built by the tests as libnvidia-ml.so.1; nothing of it is shipped.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES 4
#define PHYSICAL (UINT64_C(16) << 30)
#define EXPORT __attribute__((visibility("default")))

struct device { int number; };
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned int version; unsigned long long total, reserved, free, used; };
struct process { unsigned int pid; unsigned long long used; unsigned int instances[2]; };
struct entry { uint32_t pid, pad; uint64_t used; uint32_t instances[2]; uint64_t protected; char name[4096]; };
_Static_assert(sizeof(struct entry) == 4128, "entry");

static struct device devices[DEVICES] = { { 0 }, { 1 }, { 2 }, { 3 } };
static int initialised;

EXPORT int nvmlInit_v2(void)
{
	initialised = 1;
	return 0;
}

EXPORT int nvmlShutdown(void)
{
	initialised = 0;
	return 0;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int *count)
{
	if (!initialised)
		return 1;
	if (!count)
		return 2;
	*count = DEVICES;
	return 0;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct device **device)
{
	if (!initialised)
		return 1;
	if (index >= DEVICES)
		return 2;
	*device = &devices[index];
	return 0;
}

EXPORT int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned int length)
{
	if (!initialised)
		return 1;
	snprintf(uuid, length, "GPU-00000000-0000-0000-0000-%012x", (unsigned)device->number);
	return 0;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **device)
{
	char text[96];

	if (!initialised)
		return 1;
	for (int i = 0; i < DEVICES; i++) {
		nvmlDeviceGetUUID(&devices[i], text, sizeof(text));
		if (strcmp(text, uuid) == 0) {
			*device = &devices[i];
			return 0;
		}
	}
	return 6;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct device **device)
{
	return nvmlDeviceGetHandleByIndex_v2((unsigned)atoi(bus_id), device);
}

EXPORT int nvmlDeviceGetIndex(struct device *device, unsigned int *index)
{
	*index = (unsigned)device->number;
	return 0;
}

EXPORT int nvmlDeviceGetMemoryInfo(struct device *device, struct memory *memory)
{
	(void)device;
	*memory = (struct memory){ PHYSICAL, PHYSICAL - 1000, 1000 };
	return 0;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(struct device *device, struct memory_v2 *memory)
{
	(void)device;
	if (memory->version != 0x02000028)
		return 25;
	*memory = (struct memory_v2){ 0x02000028, PHYSICAL, 600, PHYSICAL - 1000, 400 };
	return 0;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(struct device *device, unsigned int *count, struct process *infos)
{
	(void)device;
	if (!count)
		return 2;
	if (*count < 2) {
		*count = 2;
		return 7;
	}
	*count = 2;
	infos[0] = (struct process){ 1, 4096, { 0, 0 } };
	infos[1] = (struct process){ 2, 4096, { 0, 0 } };
	return 0;
}

static int by_index(unsigned int index, struct device **device)
{
	return nvmlDeviceGetHandleByIndex_v2(index, device);
}

/* The pids to list are the test's own choice: STUB_PIDS, separated by blanks. */
static int list(struct device *device, unsigned int *count, struct entry *entries)
{
	const char *pids = getenv("STUB_PIDS");
	unsigned int capacity = *count, found = 0;

	(void)device;
	while (pids && *pids && found < capacity) {
		char *end;

		entries[found] = (struct entry){ .pid = (uint32_t)strtoul(pids, &end, 10), .used = 77, .name = "workload" };
		found++;
		pids = *end ? end + 1 : end;
	}
	*count = found;
	return 0;
}

EXPORT int nvmlInternalGetExportTable(const void **table, const void *id)
{
	static void *slots[512];

	(void)id;
	slots[0] = (void *)sizeof(slots);
	slots[81] = (void *)by_index;
	slots[213] = slots[214] = slots[215] = (void *)list;
	*table = slots;
	return 0;
}
