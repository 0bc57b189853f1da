/*
 * libcuda: memory in stream order and its pools. A pool takes memory of its device in steps of 32 MiB and keeps what was freed, until something
 * is waited for: then all above its release threshold goes back. Handing pools to other processes is in cuda_pool_share.c.
 */
#include "cuda_pool.h"

#include <stdlib.h>

#include "cuda_graph_memory.h"
#include "cuda_shared.h"
#include "cuda_stream.h"

/* CUmemPool_attribute, as documented. 1 to 3 are ints, the others 64-bit. */
enum {
	REUSE_FIRST = 1,
	REUSE_LAST = 3,
	RELEASE_THRESHOLD = 4,
	RESERVED_CURRENT = 5,
	RESERVED_HIGH = 6,
	USED_CURRENT = 7,
	USED_HIGH = 8,
	ALLOCATION_TYPE = 9,
	EXPORT_HANDLE_TYPES = 10,
	LOCATION_ID = 11,
	LOCATION_TYPE = 12,
	MAX_POOL_SIZE = 13,
	HW_DECOMPRESS_ENABLED = 14,
};

enum { TYPE_PINNED = 1, TYPE_MANAGED = 2 };

static struct CUmemPoolHandle_st defaults[STATE_DEVICES], managed_defaults[STATE_DEVICES], of_graphs[STATE_DEVICES], host_default;
static CUmemoryPool chosen[STATE_DEVICES];      /* cuDeviceSetMemPool; NULL: the default */
static CUmemoryPool others;                     /* all that programs made */

static uint64_t up(uint64_t bytes, uint64_t step)
{
	return (bytes + step - 1) / step * step;
}

static void charge(CUmemoryPool pool, int64_t requested, int64_t physical)
{
	struct change change = {.requested = requested, .physical = physical};

	if (pool->device >= 0)
		driver_charge(pool->device, &change);
}

/* Locked. The rest of a device may be less than a step. */
static bool grow(CUmemoryPool pool, uint64_t requested, uint64_t least)
{
	uint64_t steps[2] = {up(least, POOL_STEP), up(least, 2ULL << 20)};

	for (int i = 0; i < 2; i++) {
		struct change cost = {.requested = (int64_t)requested, .physical = (int64_t)steps[i]};

		if (pool->device >= 0 && !driver_charge(pool->device, &cost))
			continue;
		pool->reserved += steps[i];
		return true;
	}
	return false;
}

bool pool_take(CUmemoryPool pool, uint64_t requested, uint64_t physical)
{
	uint64_t wanted = pool->taken + physical;

	if (pool->properties.maxSize && wanted > pool->properties.maxSize)
		return false;
	if (wanted > pool->reserved) {
		if (!grow(pool, requested, wanted - pool->reserved))
			return false;
	} else {
		charge(pool, (int64_t)requested, 0);
	}
	pool->taken = wanted;
	pool->used += requested;
	if (pool->used > pool->used_high)
		pool->used_high = pool->used;
	if (pool->reserved > pool->reserved_high)
		pool->reserved_high = pool->reserved;
	return true;
}

void pool_trim(CUmemoryPool pool, uint64_t keep)
{
	uint64_t least = up(pool->taken, POOL_STEP);

	if (keep > least)
		least = up(keep, POOL_STEP);
	if (!pool->taken && !keep)
		least = 0;
	if (least >= pool->reserved)
		return;
	charge(pool, 0, -(int64_t)(pool->reserved - least));
	pool->reserved = least;
}

static void end(CUmemoryPool pool)
{
	pool_trim(pool, 0);
	pool->alive = false;
	if (pool->shared)
		shared_close(pool->shared);
	pool->shared = NULL;
}

void pool_give(CUmemoryPool pool, uint64_t requested, uint64_t physical)
{
	charge(pool, -(int64_t)requested, 0);
	pool->used -= requested;
	pool->taken -= physical;
	if (pool->destroyed && !pool->taken)
		end(pool);
}

static void release(CUmemoryPool pool)
{
	if (pool->alive && pool->reserved > pool->taken && pool->reserved > pool->release_threshold)
		pool_trim(pool, pool->release_threshold);
}

void pools_release(void)
{
	driver_lock();
	for (unsigned device = 0; device < driver.devices; device++) {
		release(&defaults[device]);
		release(&managed_defaults[device]);
	}
	for (CUmemoryPool pool = others; pool; pool = pool->next)
		release(pool);
	driver_unlock();
}

void pools_empty(CUdevice device)
{
	pool_trim(&defaults[device], 0);
	pool_trim(&managed_defaults[device], 0);
	pool_trim(&of_graphs[device], 0);
}

static CUmemoryPool builtin(CUmemoryPool pool, CUdevice device, bool managed)
{
	if (!pool->alive) {
		*pool = (struct CUmemPoolHandle_st){.alive = true, .builtin = true, .managed = managed, .device = device, .reuse = {0, 1, 1, 1}};
		pool->properties.allocType = managed ? TYPE_MANAGED : TYPE_PINNED;
		pool->properties.location.type = device < 0 ? LOCATION_HOST : LOCATION_DEVICE;
		pool->properties.location.id = device < 0 ? 0 : device;
	}
	return pool;
}

static CUmemoryPool default_pool(CUdevice device)
{
	return builtin(&defaults[device], device, false);
}

CUmemoryPool pool_of_graphs(CUdevice device)
{
	return builtin(&of_graphs[device], device, false);
}

static bool is_usable(CUmemoryPool pool)
{
	return pool && pool->alive && !pool->destroyed;
}

static CUmemoryPool pool_of(CUdevice device)
{
	return is_usable(chosen[device]) ? chosen[device] : default_pool(device);
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

/* The pool of a place. Managed memory has pools of its own. */
static CUresult pool_at(const CUmemLocation *location, int type, CUmemoryPool (*which)(CUdevice), CUmemoryPool *pool)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!location || !pool || (type != TYPE_PINNED && type != TYPE_MANAGED))
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)location->type == LOCATION_DEVICE) {
		if (!is_device(location->id))
			return CUDA_ERROR_INVALID_DEVICE;
		*pool = type == TYPE_MANAGED ? builtin(&managed_defaults[location->id], location->id, true) : which(location->id);
		return CUDA_SUCCESS;
	}
	if ((int)location->type < LOCATION_HOST || (int)location->type > LOCATION_HOST_NUMA_CURRENT)
		return CUDA_ERROR_INVALID_VALUE;
	*pool = builtin(&host_default, -1, true);
	return CUDA_SUCCESS;
}

CUresult cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	return pool_at(location, (int)type, default_pool, pool);
}

CUresult cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	return pool_at(location, (int)type, pool_of, pool);
}

CUresult cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
	CUmemoryPool now;
	CUresult failure = pool_at(location, (int)type, pool_of, &now);

	if (failure)
		return failure;
	if ((int)location->type != LOCATION_DEVICE || (int)type != TYPE_PINNED)
		return CUDA_ERROR_NOT_SUPPORTED;
	return cuDeviceSetMemPool(location->id, pool);
}

/* Device memory, managed memory, or host memory of any NUMA node. Of the kinds of handle, this system has descriptors. */
static CUresult check(const CUmemPoolProps *properties)
{
	int where, type;

	if (!properties)
		return CUDA_ERROR_INVALID_VALUE;
	where = (int)properties->location.type;
	type = (int)properties->allocType;
	if (type != TYPE_PINNED && type != TYPE_MANAGED)
		return CUDA_ERROR_INVALID_VALUE;
	if (where == LOCATION_DEVICE && !is_device(properties->location.id))
		return CUDA_ERROR_INVALID_DEVICE;
	if (where > LOCATION_HOST_NUMA_CURRENT || (where < LOCATION_DEVICE && type != TYPE_MANAGED))
		return CUDA_ERROR_INVALID_VALUE;
	return (int)properties->handleTypes & ~HANDLE_DESCRIPTOR ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

CUmemoryPool pool_make(const CUmemPoolProps *properties)
{
	CUmemoryPool pool = calloc(1, sizeof *pool);    /* never freed: a stale handle is recognised */
	int where = (int)properties->location.type;

	if (!pool)
		return NULL;
	pool->alive = true;
	pool->managed = (int)properties->allocType == TYPE_MANAGED || where != LOCATION_DEVICE;
	pool->device = where == LOCATION_DEVICE ? properties->location.id : -1;
	pool->properties = *properties;
	pool->reuse[1] = pool->reuse[2] = pool->reuse[3] = 1;
	driver_lock();
	pool->next = others;
	others = pool;
	driver_unlock();
	return pool;
}

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties)
{
	CUresult failure = driver_ready();

	if (!failure)
		failure = check(properties);
	if (failure)
		return failure;
	if (!pool)
		return CUDA_ERROR_INVALID_VALUE;
	*pool = pool_make(properties);
	return *pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Returns at once; the memory goes with the last allocation. A device whose pool this was has its default again. */
CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!is_usable(pool) || pool->builtin)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	pool->destroyed = true;
	if (!pool->taken)
		end(pool);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!is_usable(pool))
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	pool_trim(pool, keep);
	driver_unlock();
	return CUDA_SUCCESS;
}

/* The 64-bit value of an attribute. Returns false for the unknown. */
static bool read_attribute(CUmemoryPool pool, int attribute, uint64_t *value)
{
	switch (attribute) {
	case RELEASE_THRESHOLD: *value = pool->release_threshold; return true;
	case RESERVED_CURRENT: *value = pool->reserved; return true;
	case RESERVED_HIGH: *value = pool->reserved_high; return true;
	case USED_CURRENT: *value = pool->used; return true;
	case USED_HIGH: *value = pool->used_high; return true;
	case MAX_POOL_SIZE: *value = pool->properties.maxSize; return true;
	default: return false;
	}
}

static bool read_small(CUmemoryPool pool, int attribute, uint32_t *value)
{
	if (attribute >= REUSE_FIRST && attribute <= REUSE_LAST)
		*value = pool->reuse[attribute];
	else if (attribute == ALLOCATION_TYPE)
		*value = (uint32_t)pool->properties.allocType;
	else if (attribute == EXPORT_HANDLE_TYPES)
		*value = (uint32_t)pool->properties.handleTypes;
	else if (attribute == LOCATION_ID)
		*value = (uint32_t)pool->properties.location.id;
	else if (attribute == LOCATION_TYPE)
		*value = (uint32_t)pool->properties.location.type;
	else if (attribute == HW_DECOMPRESS_ENABLED)
		*value = 0;
	else
		return false;
	return true;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	CUresult failure = driver_ready();
	uint64_t wide;
	uint32_t small;

	if (failure)
		return failure;
	if (!is_usable(pool) || !value)
		return CUDA_ERROR_INVALID_VALUE;
	if (read_small(pool, (int)attribute, &small))
		*(uint32_t *)value = small;
	else if (read_attribute(pool, (int)attribute, &wide))
		*(uint64_t *)value = wide;
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
	uint32_t bit;

	if (failure)
		return failure;
	if (!flags || !is_usable(pool) || !location || (int)location->type != LOCATION_DEVICE || !is_device(location->id))
		return CUDA_ERROR_INVALID_VALUE;
	bit = 1u << location->id;
	*flags = location->id == pool->device || pool->writers & bit ? ACCESS_READ_WRITE : pool->readers & bit ? ACCESS_READ : ACCESS_NONE;
	return CUDA_SUCCESS;
}

/* A pool's own device cannot lose its access. */
static CUresult set_access(CUmemoryPool pool, const CUmemAccessDesc *access)
{
	uint32_t bit = 1u << access->location.id;

	if ((int)access->location.type != LOCATION_DEVICE)
		return pool->managed ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (!is_device(access->location.id))
		return CUDA_ERROR_INVALID_DEVICE;
	if (access->location.id == pool->device)
		return (int)access->flags == ACCESS_READ_WRITE ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	pool->readers = (int)access->flags & ACCESS_READ ? pool->readers | bit : pool->readers & ~bit;
	pool->writers = (int)access->flags == ACCESS_READ_WRITE ? pool->writers | bit : pool->writers & ~bit;
	return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!is_usable(pool) || (!map && count))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count && !failure; i++)
		failure = set_access(pool, &map[i]);
	return failure;
}

static CUresult allocate(CUdeviceptr *address, size_t bytes, CUmemoryPool pool, CUstream stream, enum stream_kind kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, kind, &context);

	if (failure)
		return failure;
	if (pool && (!is_usable(pool) || pool->imported))
		return CUDA_ERROR_INVALID_VALUE;
	pool = pool ? pool : pool_of(context->device);
	if (stream_is_capturing(stream, kind))
		return graph_capture_allocation(stream, kind, bytes, pool, address);
	return memory_allocate(context, pool, bytes, pool->managed, address);
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream)
{
	return allocate(address, bytes, NULL, stream, LEGACY_STREAM);
}

CUresult cuMemAllocAsync_ptsz(CUdeviceptr *address, size_t bytes, CUstream stream)
{
	return allocate(address, bytes, NULL, stream, THREAD_STREAM);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? allocate(address, bytes, pool, stream, LEGACY_STREAM) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *address, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? allocate(address, bytes, pool, stream, THREAD_STREAM) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult give_up(CUdeviceptr address, CUstream stream, enum stream_kind kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, kind, &context);

	if (failure)
		return failure;
	return stream_is_capturing(stream, kind) ? graph_capture_free(stream, kind, address) : memory_free(address);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream)
{
	return give_up(address, stream, LEGACY_STREAM);
}

CUresult cuMemFreeAsync_ptsz(CUdeviceptr address, CUstream stream)
{
	return give_up(address, stream, THREAD_STREAM);
}
