/* libcuda: physical memory of virtual memory management: create, count references, export and import. Mappings are in cuda_virtual.c. */
#define _GNU_SOURCE
#include "cuda_physical.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuda_shared.h"
#include "cuda_virtual.h"

enum { TYPE_PINNED = 1, MINIMUM = 0, RECOMMENDED = 1, CHUNK = 1024, CHUNKS = 1024 };

static struct physical *chunks[CHUNKS];
static struct physical *free_records;
static uint32_t records;

/* A handle is the record's number and its generation, so one that has ended is recognised. */
CUmemGenericAllocationHandle physical_handle(const struct physical *physical)
{
	return (uint64_t)physical->generation << 32 | (physical->number + 1);
}

struct physical *physical_of(CUmemGenericAllocationHandle handle)
{
	uint32_t number = (uint32_t)handle - 1;
	struct physical *physical;

	if (number >= records)
		return NULL;
	physical = &chunks[number / CHUNK][number % CHUNK];
	return physical->references && physical->generation == handle >> 32 ? physical : NULL;
}

static struct physical *new_record(void)
{
	struct physical *physical = free_records;

	if (physical) {
		free_records = physical->next_free;
	} else {
		if (records == CHUNK * CHUNKS)
			return NULL;
		if (records % CHUNK == 0 && !chunks[records / CHUNK])
			chunks[records / CHUNK] = calloc(CHUNK, sizeof *physical);
		if (!chunks[records / CHUNK])
			return NULL;
		physical = &chunks[records / CHUNK][records % CHUNK];
		physical->number = records++;
	}
	physical->generation++;
	physical->references = 1;
	physical->mappings = 0;
	physical->imported = false;
	physical->bytes = NULL;
	physical->shared = NULL;
	return physical;
}

static struct change cost_of(const struct physical *physical, int sign)
{
	int64_t size = sign * (int64_t)physical->size;

	return (struct change){.requested = size, .physical = size};
}

void physical_settle(struct physical *physical)
{
	struct change back = cost_of(physical, -1);

	if (physical->references || physical->mappings)
		return;
	if (physical->bytes)
		munmap(physical->bytes, physical->size);
	if (physical->shared)
		shared_close(physical->shared);
	else if (physical->device >= 0 && !physical->imported)
		driver_charge(physical->device, &back);
	physical->next_free = free_records;
	free_records = physical;
}

char *physical_bytes(struct physical *physical)
{
	void *found;

	if (physical->bytes || physical->shared)
		return physical->shared ? shared_bytes(physical->shared, &physical->bytes) : physical->bytes;
	found = mmap(NULL, physical->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	physical->bytes = found == MAP_FAILED ? NULL : found;
	return physical->bytes;
}

/* Device memory, or host memory of any NUMA node. Of the kinds of handle, this system has descriptors. */
static CUresult check(const CUmemAllocationProp *properties)
{
	int where;

	if (!properties || (int)properties->type != TYPE_PINNED)
		return CUDA_ERROR_INVALID_VALUE;
	where = (int)properties->location.type;
	if (where < LOCATION_DEVICE || where > LOCATION_HOST_NUMA_CURRENT)
		return CUDA_ERROR_INVALID_VALUE;
	if (where == LOCATION_DEVICE && !is_device(properties->location.id))
		return CUDA_ERROR_INVALID_DEVICE;
	return (int)properties->requestedHandleTypes & ~HANDLE_DESCRIPTOR ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t *granularity, const CUmemAllocationProp *properties, CUmemAllocationGranularity_flags option)
{
	CUresult failure = driver_ready();

	if (!failure)
		failure = check(properties);
	if (failure)
		return failure;
	if (!granularity || ((int)option != MINIMUM && (int)option != RECOMMENDED))
		return CUDA_ERROR_INVALID_VALUE;
	*granularity = VIRTUAL_GRANULE;
	return CUDA_SUCCESS;
}

/* Locked. */
static CUresult create(uint64_t size, const CUmemAllocationProp *properties, struct physical **made)
{
	struct physical *physical = new_record();
	struct change cost;

	if (!physical)
		return CUDA_ERROR_OUT_OF_MEMORY;
	physical->size = size;
	physical->properties = *properties;
	physical->device = (int)properties->location.type == LOCATION_DEVICE ? properties->location.id : -1;
	cost = cost_of(physical, 1);
	if (physical->device >= 0 && !driver_charge(physical->device, &cost)) {
		physical->references = 0;
		physical->next_free = free_records;
		free_records = physical;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	*made = physical;
	return CUDA_SUCCESS;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *properties, unsigned long long flags)
{
	CUresult failure = driver_ready();
	struct physical *physical;

	if (!failure)
		failure = check(properties);
	if (failure)
		return failure;
	if (!handle || !size || size % VIRTUAL_GRANULE || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (size > BLOCK_LARGEST)
		return CUDA_ERROR_OUT_OF_MEMORY;
	machine_delay(driver.state);
	driver_lock();
	failure = create(size, properties, &physical);
	if (!failure)
		*handle = physical_handle(physical);
	driver_unlock();
	return failure;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
	CUresult failure = driver_ready();
	struct physical *physical;

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	physical = physical_of(handle);
	if (physical) {
		physical->references--;
		physical_settle(physical);
	}
	driver_unlock();
	return physical ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *properties, CUmemGenericAllocationHandle handle)
{
	CUresult failure = driver_ready();
	struct physical *physical;

	if (failure)
		return failure;
	driver_lock();
	physical = physical_of(handle);
	if (physical && properties)
		*properties = physical->properties;
	driver_unlock();
	return physical && properties ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Locked. */
static CUresult export(struct physical *physical, int *file)
{
	struct change held = cost_of(physical, 1);

	if (!((int)physical->properties.requestedHandleTypes & HANDLE_DESCRIPTOR))
		return CUDA_ERROR_INVALID_VALUE;
	if (physical->device < 0)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!physical->shared)
		physical->shared = shared_publish(physical->device, &held, physical->size, &physical->bytes);
	*file = physical->shared ? shared_export(physical->shared) : -1;
	return *file < 0 ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}

CUresult cuMemExportToShareableHandle(void *shareable, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type,
                                      unsigned long long flags)
{
	CUresult failure = driver_ready();
	struct physical *physical;
	int file;

	if (failure)
		return failure;
	if (!shareable || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)type != HANDLE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	driver_lock();
	physical = physical_of(handle);
	failure = physical ? export(physical, &file) : CUDA_ERROR_INVALID_VALUE;
	driver_unlock();
	if (!failure)
		*(int *)shareable = file;
	return failure;
}

/* What this process holds already is the same memory, and the same handle. */
static struct physical *known(uint64_t id)
{
	for (uint32_t number = 0; number < records; number++) {
		struct physical *physical = &chunks[number / CHUNK][number % CHUNK];

		if ((physical->references || physical->mappings) && physical->shared && physical->shared->id == id)
			return physical;
	}
	return NULL;
}

/* Locked. */
static CUresult import(int file, struct physical **made)
{
	struct shared *shared = shared_recognise(file);
	struct physical *physical = shared ? known(shared->id) : NULL;

	if (!shared)
		return CUDA_ERROR_INVALID_VALUE;
	if (physical) {
		shared_close_copy(shared);
		physical->references++;
		*made = physical;
		return CUDA_SUCCESS;
	}
	physical = new_record();
	if (!physical) {
		shared_close(shared);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	physical->size = shared->size;
	physical->device = shared->device;
	physical->imported = true;
	physical->shared = shared;
	physical->properties = (CUmemAllocationProp){.type = TYPE_PINNED, .requestedHandleTypes = HANDLE_DESCRIPTOR};
	physical->properties.location.type = LOCATION_DEVICE;
	physical->properties.location.id = shared->device;
	*made = physical;
	return CUDA_SUCCESS;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shareable, CUmemAllocationHandleType type)
{
	CUresult failure = driver_ready();
	struct physical *physical;

	if (failure)
		return failure;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)type != HANDLE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	driver_lock();
	failure = import((int)(intptr_t)shareable, &physical);
	if (!failure)
		*handle = physical_handle(physical);
	driver_unlock();
	return failure;
}
