/*
 * libcuda: pools and their pointers handed to other processes. What a pool reserves stays charged to the process that made it; an importer sees the
 * bytes of each pointer that it was given.
 */
#include "cuda_pool.h"
#include "cuda_shared.h"

#include <string.h>
#include <unistd.h>

enum { POOL_PAGE = 4096 };

/* What a CUmemPoolPtrExportData holds here. */
struct pointer_data {
	uint64_t id;
	uint64_t size;
};

_Static_assert(sizeof(struct pointer_data) <= sizeof(CUmemPoolPtrExportData), "pointer export data");

static bool is_usable(CUmemoryPool pool)
{
	return pool && pool->alive && !pool->destroyed;
}

/* A pool is shared as an empty file that stands for it. Locked. */
static int export(CUmemoryPool pool)
{
	struct change nothing = {0};
	char *bytes = NULL;

	if (!pool->shared)
		pool->shared = shared_publish(pool->device, &nothing, POOL_PAGE, &bytes);
	return pool->shared ? shared_export(pool->shared) : -1;
}

CUresult cuMemPoolExportToShareableHandle(void *handle, CUmemoryPool pool, CUmemAllocationHandleType type, unsigned long long flags)
{
	CUresult failure = driver_ready();
	int file;

	if (failure)
		return failure;
	if (!handle || !is_usable(pool) || flags || pool->imported || !((int)pool->properties.handleTypes & (int)type) || pool->device < 0)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	file = export(pool);
	driver_unlock();
	if (file < 0)
		return CUDA_ERROR_OPERATING_SYSTEM;
	*(int *)handle = file;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolImportFromShareableHandle(CUmemoryPool *pool, void *handle, CUmemAllocationHandleType type, unsigned long long flags)
{
	CUresult failure = driver_ready();
	CUmemPoolProps properties = {.allocType = 1, .location.type = LOCATION_DEVICE};
	struct shared *shared;

	if (failure)
		return failure;
	if (!pool || flags || (int)type != HANDLE_DESCRIPTOR)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	shared = shared_recognise((int)(intptr_t)handle);
	driver_unlock();
	if (!shared)
		return CUDA_ERROR_INVALID_VALUE;
	properties.location.id = shared->device;
	*pool = pool_make(&properties);
	if (!*pool)
		return CUDA_ERROR_OUT_OF_MEMORY;
	(*pool)->imported = true;
	(*pool)->shared = shared;
	return CUDA_SUCCESS;
}

/* Locked. */
static bool export_pointer(struct block *block, struct pointer_data *data)
{
	struct change nothing = {0};

	if (!block->shared)
		block->shared = shared_publish(block->pool->device, &nothing, block_size(block), &block->bytes);
	if (!block->shared)
		return false;
	*data = (struct pointer_data){block->shared->id, block->requested};
	return true;
}

CUresult cuMemPoolExportPointer(CUmemPoolPtrExportData *exported, CUdeviceptr address)
{
	CUresult failure = driver_ready();
	struct pointer_data data;
	struct block *block;

	if (failure)
		return failure;
	if (!exported)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	block = block_at(address);
	if (!block || !block->pool || block->flags || !((int)block->pool->properties.handleTypes & HANDLE_DESCRIPTOR))
		failure = CUDA_ERROR_INVALID_VALUE;
	else if (!export_pointer(block, &data))
		failure = CUDA_ERROR_OPERATING_SYSTEM;
	driver_unlock();
	if (failure)
		return failure;
	memset(exported, 0, sizeof *exported);
	memcpy(exported, &data, sizeof data);
	return CUDA_SUCCESS;
}

/* Locked. */
static CUresult import_pointer(CUcontext context, const struct pointer_data *data, CUdeviceptr *address)
{
	struct shared *shared = shared_open(data->id);
	struct block *block = shared ? block_begin(data->size, false) : NULL;

	if (!shared)
		return CUDA_ERROR_INVALID_VALUE;
	if (!block) {
		shared_close(shared);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	block->shared = shared;
	block->physical = 0;
	block->pool = NULL;
	block->flags = BLOCK_IMPORTED;
	memory_link(block, context);
	*address = block_address(block);
	return CUDA_SUCCESS;
}

CUresult cuMemPoolImportPointer(CUdeviceptr *address, CUmemoryPool pool, CUmemPoolPtrExportData *exported)
{
	struct pointer_data data;
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!address || !exported || !is_usable(pool) || !pool->imported)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&data, exported, sizeof data);
	driver_lock();
	failure = import_pointer(context, &data, address);
	driver_unlock();
	return failure;
}
