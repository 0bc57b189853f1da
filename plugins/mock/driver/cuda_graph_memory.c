/* libcuda: see cuda_graph_memory.h. The reserve of all graphs of a device is a pool (cuda_pool.c), which only a trim makes smaller. */
#include "cuda_graph_memory.h"

#include "cuda_pool.h"
#include "cuda_work.h"

/* CUgraphMem_attribute */
enum { USED_CURRENT = 0, USED_HIGH = 1, RESERVED_CURRENT = 2, RESERVED_HIGH = 3 };

/* Locked. */
static struct block *find(CUdeviceptr address)
{
	struct block *block = address < 1ULL << 50 ? block_at(address) : NULL;

	return block && block->flags & BLOCK_GRAPH ? block : NULL;
}

CUresult graph_memory_reserve(CUdevice device, uint64_t bytes, CUdeviceptr *address)
{
	struct block *block;
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!bytes || !is_device(device))
		return CUDA_ERROR_INVALID_VALUE;
	if (bytes > BLOCK_LARGEST)
		return CUDA_ERROR_OUT_OF_MEMORY;
	driver_lock();
	block = block_begin(bytes, false);
	if (block) {
		block->flags = BLOCK_GRAPH;
		block->physical = account_physical(bytes);
		block->pool = NULL;
		block->references = 1;
		block->graph_device = (uint8_t)device;
		memory_link(block, context);
		*address = block_address(block);
	}
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void graph_memory_refer(CUdeviceptr address)
{
	struct block *block;

	driver_lock();
	block = find(address);
	if (block)
		block->references++;
	driver_unlock();
}

static void settle(struct block *block)
{
	if (!block->references && !block->pool)
		memory_end(block);
}

void graph_memory_unrefer(CUdeviceptr address)
{
	struct block *block;

	driver_lock();
	block = find(address);
	if (block && block->references) {
		block->references--;
		settle(block);
	}
	driver_unlock();
}

CUresult graph_memory_begin(CUdeviceptr address)
{
	CUresult failure = CUDA_SUCCESS;
	struct block *block;
	CUmemoryPool pool;

	machine_delay(driver.state);
	driver_lock();
	block = find(address);
	pool = block ? pool_of_graphs(block->graph_device) : NULL;
	if (!block || block->pool)
		failure = CUDA_ERROR_INVALID_VALUE;
	else if (!pool_take(pool, block->requested, block->physical))
		failure = CUDA_ERROR_OUT_OF_MEMORY;
	else
		block->pool = pool;
	driver_unlock();
	return failure;
}

bool graph_memory_free(struct block *block)
{
	CUmemoryPool pool = block->pool;

	if (!pool)
		return false;
	pool_give(pool, block->requested, block->physical);
	block->pool = NULL;
	settle(block);
	return true;
}

CUresult graph_memory_end(CUdeviceptr address)
{
	struct block *block;
	bool freed;

	machine_delay(driver.state);
	driver_lock();
	block = find(address);
	freed = block && graph_memory_free(block);
	driver_unlock();
	if (freed)
		return CUDA_SUCCESS;
	return block ? CUDA_ERROR_INVALID_VALUE : memory_free(address);
}

bool graph_memory_is_there(CUdeviceptr address)
{
	struct block *block;
	bool there;

	driver_lock();
	block = find(address);
	there = block && block->pool;
	driver_unlock();
	return there;
}

CUresult graph_capture_allocation(CUstream stream, enum stream_kind kind, uint64_t bytes, CUmemoryPool pool, CUdeviceptr *address)
{
	struct work work = {.type = WORK_ALLOCATION, .allocation = {.poolProps = pool->properties, .bytesize = bytes}};
	CUresult failure;

	if (!address || pool->device < 0)
		return CUDA_ERROR_INVALID_VALUE;
	failure = graph_memory_reserve(pool->device, bytes, &work.allocation.dptr);
	if (failure)
		return failure;
	failure = work_submit(stream, kind, &work);
	graph_memory_unrefer(work.allocation.dptr);     /* the node has its own reference */
	if (!failure)
		*address = work.allocation.dptr;
	return failure;
}

CUresult graph_capture_free(CUstream stream, enum stream_kind kind, CUdeviceptr address)
{
	struct work work = {.type = WORK_FREE, .address = address};

	return address ? work_submit(stream, kind, &work) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDeviceGraphMemTrim(CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	driver_lock();
	pool_trim(pool_of_graphs(device), 0);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
	CUresult failure = driver_device(device);
	CUmemoryPool pool;
	uint64_t facts[4];

	if (failure)
		return failure;
	if (!value || (int)attribute < USED_CURRENT || (int)attribute > RESERVED_HIGH)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	pool = pool_of_graphs(device);
	facts[USED_CURRENT] = pool->used;
	facts[USED_HIGH] = pool->used_high;
	facts[RESERVED_CURRENT] = pool->reserved;
	facts[RESERVED_HIGH] = pool->reserved_high;
	driver_unlock();
	*(uint64_t *)value = facts[attribute];
	return CUDA_SUCCESS;
}

/* High-water marks can be set to 0, which makes them the present value. */
CUresult cuDeviceSetGraphMemAttribute(CUdevice device, CUgraphMem_attribute attribute, void *value)
{
	CUresult failure = driver_device(device);
	CUmemoryPool pool;

	if (failure)
		return failure;
	if (!value || *(uint64_t *)value || ((int)attribute != USED_HIGH && (int)attribute != RESERVED_HIGH))
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	pool = pool_of_graphs(device);
	if ((int)attribute == USED_HIGH)
		pool->used_high = pool->used;
	else
		pool->reserved_high = pool->reserved;
	driver_unlock();
	return CUDA_SUCCESS;
}
