/* libcuda: linear and managed device memory: allocate, free, ask. Copies are in cuda_copy.c, host memory in cuda_host.c. */
#include "cuda_memory.h"

#include "cuda_array.h"
#include "cuda_graph_memory.h"
#include "cuda_host.h"
#include "cuda_pool.h"
#include "cuda_shared.h"
#include "cuda_virtual.h"

enum { PITCH_ALIGNMENT = 512 };

void memory_link(struct block *block, CUcontext context)
{
	block->context = context;
	block->previous = NULL;
	block->next = context->blocks;
	if (block->next)
		block->next->previous = block;
	context->blocks = block;
}

static void unlink_block(struct block *block)
{
	if (block->previous)
		block->previous->next = block->next;
	else
		block->context->blocks = block->next;
	if (block->next)
		block->next->previous = block->previous;
}

static struct change cost_of(uint64_t requested, uint64_t physical)
{
	return (struct change){.requested = (int64_t)requested, .physical = (int64_t)physical};
}

static struct change negative(const struct change *cost)
{
	return (struct change){.requested = -cost->requested, .physical = -cost->physical};
}

static bool take(CUcontext context, CUmemoryPool pool, uint64_t bytes, uint64_t physical)
{
	struct change cost = cost_of(bytes, physical);

	return pool ? pool_take(pool, bytes, physical) : driver_charge(context->device, &cost);
}

static void give(CUcontext context, CUmemoryPool pool, uint64_t bytes, uint64_t physical)
{
	struct change cost = cost_of(bytes, physical), back = negative(&cost);

	if (pool)
		pool_give(pool, bytes, physical);
	else
		driver_charge(context->device, &back);
}

/* Locked. */
static CUresult begin(CUcontext context, CUmemoryPool pool, uint64_t bytes, bool managed, struct block **block)
{
	uint64_t physical = account_physical(bytes);

	if (!take(context, pool, bytes, physical))
		return CUDA_ERROR_OUT_OF_MEMORY;
	*block = block_begin(bytes, managed);
	if (!*block) {
		give(context, pool, bytes, physical);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	(*block)->physical = physical;
	(*block)->pool = pool;
	memory_link(*block, context);
	return CUDA_SUCCESS;
}

/* Locked. Forget the block, and return what is still charged for it to its context's device: nothing, if its pool or others answer for it. */
static struct change forget(struct block *block)
{
	struct change held = cost_of(block->requested, block->physical);

	unlink_block(block);
	if (block->pool)
		pool_give(block->pool, block->requested, block->physical);
	if (block->pool || block->shared || block->flags)
		held = (struct change){0};
	if (block->shared)
		shared_close(block->shared);
	block_end(block);
	return held;
}

void memory_end(struct block *block)
{
	CUdevice device = block->context->device;
	struct change held = forget(block), back = negative(&held);

	if (held.physical)
		driver_charge(device, &back);
}

CUresult memory_allocate(CUcontext context, CUmemoryPool pool, uint64_t bytes, bool managed, CUdeviceptr *address)
{
	struct block *block;
	CUresult failure;

	if (!address || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (bytes > BLOCK_LARGEST)
		return CUDA_ERROR_OUT_OF_MEMORY;
	machine_delay(driver.state);
	driver_lock();
	failure = begin(context, pool, bytes, managed, &block);
	if (!failure)
		*address = block_address(block);
	driver_unlock();
	return failure;
}

CUresult memory_free(CUdeviceptr address)
{
	struct block *block;

	machine_delay(driver.state);
	driver_lock();
	block = block_at(address);
	if (block && block->flags & (BLOCK_KEPT | BLOCK_GRAPH))
		block = block->flags & BLOCK_GRAPH && graph_memory_free(block) ? block : NULL;
	else if (block)
		memory_end(block);
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

struct change memory_end_all(CUcontext context)
{
	struct change sum = arrays_end_all(context);

	while (context->blocks) {
		struct change held = forget(context->blocks);

		sum.requested += held.requested;
		sum.physical += held.physical;
	}
	pools_empty(context->device);
	return sum;
}

bool memory_range(CUdeviceptr address, struct range *range)
{
	struct block *block = address < VIRTUAL_BASE ? block_around(address) : NULL;

	if (address >= VIRTUAL_BASE)
		return virtual_range(address, range);
	if (!block)
		return host_range(address, range);
	*range = (struct range){.start = block_address(block),
	                        .size = block->requested,
	                        .context = block->context,
	                        .pool = block->pool,
	                        .device = block->pool && block->pool->device >= 0 ? block->pool->device : block->context->device,
	                        .managed = block->managed,
	                        .plain = true};
	return true;
}

/* Host memory: the program vouches for it, as for any pointer. */
bool memory_place(CUdeviceptr address, bool write, char **place, uint64_t *length)
{
	struct block *block;
	uint64_t offset;

	if (address >= VIRTUAL_BASE)
		return virtual_place(address, write, place, length);
	block = block_around(address);
	if (!block) {
		*place = (char *)(uintptr_t)address;
		*length = UINT64_MAX;
		return address < 1ULL << 47;
	}
	offset = address - block_address(block);
	*length = block->requested - offset;
	*place = write || block->shared ? block_bytes(block) : block->bytes;
	if (*place)
		*place += offset;
	return *place || (!write && !block->shared);
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	return failure ? failure : memory_allocate(context, NULL, bytes, false, address);
}

CUresult cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (flags != 1 && flags != 2)           /* attached to all streams, or to the host */
		return CUDA_ERROR_INVALID_VALUE;
	return memory_allocate(context, NULL, bytes, true, address);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height, unsigned int element)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	size_t row = (width + PITCH_ALIGNMENT - 1) & ~(size_t)(PITCH_ALIGNMENT - 1);
	size_t bytes;

	if (failure)
		return failure;
	if (!address || !pitch || !width || !height || (element != 4 && element != 8 && element != 16))
		return CUDA_ERROR_INVALID_VALUE;
	if (row < width || __builtin_mul_overflow(row, height, &bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	failure = memory_allocate(context, NULL, bytes, false, address);
	if (!failure)
		*pitch = row;
	return failure;
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure || !address)
		return failure;
	return memory_free(address);
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	uint64_t capacity;

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	account_drop_dead(driver.state, driver.machine.file, driver.row);
	driver_unlock();
	capacity = account_capacity(chip_of(context->device));
	if (free)
		*free = capacity - account_device(driver.state, index_of(context->device)).physical;
	if (total)
		*total = capacity;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct range range;
	bool known;

	if (failure)
		return failure;
	driver_lock();
	known = memory_range(address, &range);
	driver_unlock();
	if (!known)
		return CUDA_ERROR_NOT_FOUND;
	if (base)
		*base = range.start;
	if (size)
		*size = range.size;
	return CUDA_SUCCESS;
}

/* Where managed memory lies does not matter to what it holds: advice is checked and taken. */
static CUresult take_advice(CUdeviceptr address, size_t bytes)
{
	CUdeviceptr base;
	size_t size;
	CUresult failure = cuMemGetAddressRange_v2(&base, &size, address);

	if (failure)
		return failure == CUDA_ERROR_NOT_FOUND ? CUDA_ERROR_INVALID_VALUE : failure;
	return bytes && bytes <= size - (address - base) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemAdvise(CUdeviceptr address, size_t bytes, CUmem_advise advice, CUdevice device)
{
	(void)advice;
	(void)device;
	return take_advice(address, bytes);
}

CUresult cuMemAdvise_v2(CUdeviceptr address, size_t bytes, CUmem_advise advice, CUmemLocation location)
{
	(void)advice;
	(void)location;
	return take_advice(address, bytes);
}

CUresult cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice device, CUstream stream)
{
	(void)device;
	(void)stream;
	return take_advice(address, bytes);
}

CUresult cuMemPrefetchAsync_ptsz(CUdeviceptr address, size_t bytes, CUdevice device, CUstream stream)
{
	return cuMemPrefetchAsync(address, bytes, device, stream);
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr address, size_t bytes, CUmemLocation location, unsigned int flags, CUstream stream)
{
	(void)location;
	(void)stream;
	return flags ? CUDA_ERROR_INVALID_VALUE : take_advice(address, bytes);
}

CUresult cuMemPrefetchAsync_v2_ptsz(CUdeviceptr address, size_t bytes, CUmemLocation location, unsigned int flags, CUstream stream)
{
	return cuMemPrefetchAsync_v2(address, bytes, location, flags, stream);
}
