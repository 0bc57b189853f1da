/* libcuda: linear and managed device memory: allocate, free, ask. Copies are in cuda_copy.c, host memory in cuda_host.c. */
#include "cuda_memory.h"

enum { PITCH_ALIGNMENT = 512 };

static void link_block(struct block *block, CUcontext context)
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

static void pool_add(CUmemoryPool pool, const struct block *block)
{
	pool->used += block->requested;
	pool->reserved += block->physical;
	if (pool->used > pool->used_high)
		pool->used_high = pool->used;
	if (pool->reserved > pool->reserved_high)
		pool->reserved_high = pool->reserved;
}

static void pool_take(CUmemoryPool pool, const struct block *block)
{
	pool->used -= block->requested;
	pool->reserved -= block->physical;
	if (pool->destroyed && !pool->reserved)
		pool->alive = false;
}

static struct change cost_of(uint64_t requested, uint64_t physical)
{
	return (struct change){.requested = (int64_t)requested, .physical = (int64_t)physical};
}

static struct change negative(struct change cost)
{
	return (struct change){.requested = -cost.requested, .physical = -cost.physical, .context = -cost.context};
}

static CUdevice device_of(const struct block *block)
{
	return block->pool ? block->pool->device : block->context->device;
}

/* Locked. */
static CUresult begin(CUcontext context, CUmemoryPool pool, uint64_t bytes, bool managed, struct block **block)
{
	CUdevice device = pool ? pool->device : context->device;
	struct change cost = cost_of(bytes, account_physical(bytes));

	if (!driver_charge(device, &cost))
		return CUDA_ERROR_OUT_OF_MEMORY;
	*block = block_begin(bytes, managed);
	if (!*block) {
		cost = negative(cost);
		driver_charge(device, &cost);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	(*block)->physical = (uint64_t)cost.physical;
	(*block)->pool = pool;
	link_block(*block, context);
	if (pool)
		pool_add(pool, *block);
	return CUDA_SUCCESS;
}

/* Locked. Forget the block; what it held is still charged. */
static struct change forget(struct block *block)
{
	struct change held = cost_of(block->requested, block->physical);

	unlink_block(block);
	if (block->pool)
		pool_take(block->pool, block);
	block_end(block);
	return held;
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
	if (block) {
		CUdevice device = device_of(block);
		struct change back = negative(forget(block));

		driver_charge(device, &back);
	}
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A pool of another device is charged there at once; the rest of the context's device is summed up for the caller. */
struct change memory_end_all(CUcontext context)
{
	struct change sum = {0};

	while (context->blocks) {
		CUdevice device = device_of(context->blocks);
		struct change held = forget(context->blocks);

		if (device == context->device) {
			sum.requested += held.requested;
			sum.physical += held.physical;
		} else {
			held = negative(held);
			driver_charge(device, &held);
		}
	}
	return sum;
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
		*free = capacity - account_device(driver.state, (unsigned)context->device).physical;
	if (total)
		*total = capacity;
	return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct block *block;

	if (failure)
		return failure;
	driver_lock();
	block = block_around(address);
	if (block && base)
		*base = block_address(block);
	if (block && size)
		*size = block->requested;
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
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
