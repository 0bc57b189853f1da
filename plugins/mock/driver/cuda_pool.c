/* libcuda: memory in stream order and its pools. Streams run dry at once here, so a free gives back immediately and no pool keeps a reserve. */
#include "cuda_memory.h"

#include <stdlib.h>

/* CUmemPool_attribute, as documented. 1 to 3 are ints, the others 64-bit. */
enum {
	REUSE_FIRST = 1,
	REUSE_LAST = 3,
	RELEASE_THRESHOLD = 4,
	RESERVED_CURRENT = 5,
	RESERVED_HIGH = 6,
	USED_CURRENT = 7,
	USED_HIGH = 8,
};

enum { LOCATION_DEVICE = 1, ACCESS_READ_WRITE = 3 };

static struct CUmemPoolHandle_st defaults[STATE_DEVICES];
static CUmemoryPool chosen[STATE_DEVICES];      /* cuDeviceSetMemPool; NULL: the default */

static CUmemoryPool default_pool(CUdevice device)
{
	CUmemoryPool pool = &defaults[device];

	if (!pool->alive) {
		*pool = (struct CUmemPoolHandle_st){.alive = true, .device = device, .reuse = {0, 1, 1, 1}};
	}
	return pool;
}

static CUmemoryPool pool_of(CUdevice device)
{
	CUmemoryPool pool = chosen[device];

	return pool && pool->alive && !pool->destroyed ? pool : default_pool(device);
}

static bool is_usable(CUmemoryPool pool)
{
	return pool && pool->alive && !pool->destroyed;
}

static CUresult give_pool(CUmemoryPool *pool, CUdevice device, CUmemoryPool (*which)(CUdevice))
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!pool)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	*pool = which(device);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
	return give_pool(pool, device, default_pool);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
	return give_pool(pool, device, pool_of);
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!is_usable(pool) || pool->device != device)
		return CUDA_ERROR_INVALID_VALUE;
	chosen[device] = pool;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!pool || !properties || (int)properties->location.type != LOCATION_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!is_device(properties->location.id))
		return CUDA_ERROR_INVALID_DEVICE;
	*pool = calloc(1, sizeof **pool);               /* never freed: a stale handle is recognised */
	if (!*pool)
		return CUDA_ERROR_OUT_OF_MEMORY;
	**pool = (struct CUmemPoolHandle_st){.alive = true, .device = properties->location.id, .reuse = {0, 1, 1, 1}};
	return CUDA_SUCCESS;
}

CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!is_usable(pool) || pool == &defaults[pool->device])
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	pool->destroyed = true;
	pool->alive = pool->reserved > 0;
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	CUresult failure = driver_ready();

	(void)keep;
	if (failure)
		return failure;
	return is_usable(pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* The 64-bit field behind an attribute; NULL for the ints and the unknown. */
static uint64_t *field(CUmemoryPool pool, int attribute)
{
	switch (attribute) {
	case RELEASE_THRESHOLD: return &pool->release_threshold;
	case RESERVED_CURRENT: return &pool->reserved;
	case RESERVED_HIGH: return &pool->reserved_high;
	case USED_CURRENT: return &pool->used;
	case USED_HIGH: return &pool->used_high;
	default: return NULL;
	}
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	CUresult failure = driver_ready();
	int which = (int)attribute;

	if (failure)
		return failure;
	if (!is_usable(pool) || !value)
		return CUDA_ERROR_INVALID_VALUE;
	if (which >= REUSE_FIRST && which <= REUSE_LAST)
		*(uint32_t *)value = pool->reuse[which];
	else if (field(pool, which))
		*(uint64_t *)value = *field(pool, which);
	else
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

/* A high-water mark can only be set to 0, which makes it the present value. */
static CUresult reset_high(uint64_t *high, uint64_t now, uint64_t value)
{
	if (value)
		return CUDA_ERROR_INVALID_VALUE;
	*high = now;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	CUresult failure = driver_ready();
	int which = (int)attribute;

	if (failure)
		return failure;
	if (!is_usable(pool) || !value)
		return CUDA_ERROR_INVALID_VALUE;
	if (which >= REUSE_FIRST && which <= REUSE_LAST)
		pool->reuse[which] = *(uint32_t *)value;
	else if (which == RELEASE_THRESHOLD)
		pool->release_threshold = *(uint64_t *)value;
	else if (which == RESERVED_HIGH)
		return reset_high(&pool->reserved_high, pool->reserved, *(uint64_t *)value);
	else if (which == USED_HIGH)
		return reset_high(&pool->used_high, pool->used, *(uint64_t *)value);
	else
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool pool, CUmemLocation *location)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!flags || !is_usable(pool) || !location || (int)location->type != LOCATION_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = location->id == pool->device ? ACCESS_READ_WRITE : 0;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return is_usable(pool) && (map || !count) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult allocate(CUdeviceptr *address, size_t bytes, CUmemoryPool pool)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (pool && !is_usable(pool))
		return CUDA_ERROR_INVALID_VALUE;
	return memory_allocate(context, pool ? pool : pool_of(context->device), bytes, false, address);
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream)
{
	(void)stream;
	return allocate(address, bytes, NULL);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *address, size_t bytes, CUstream stream)
{
	return cuMemAllocAsync(address, bytes, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	(void)stream;
	return pool ? allocate(address, bytes, pool) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *address, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return cuMemAllocFromPoolAsync(address, bytes, pool, stream);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	(void)stream;
	return failure ? failure : memory_free(address);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream)
{
	return cuMemFreeAsync(address, stream);
}
