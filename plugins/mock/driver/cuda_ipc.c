/*
 * libcuda: memory and events of another process, by 64 bytes that it may send in any way.
 *
 * Memory is the owner's in the books. What happens if its owner frees it or ends while others have it open is left open by the interface ("undefined
 * behavior"); here, as drivers on Linux are known to do, it stays until the last of them has closed it or is gone.
 */
#include "cuda_event.h"
#include "cuda_memory.h"
#include "cuda_shared.h"

#include <string.h>

enum { MEMORY_HANDLE = 0x6d656d31, EVENT_HANDLE = 0x65766e31, LAZY_PEER_ACCESS = 1, NO_TIMING = 2, INTERPROCESS = 4 };

/* What a handle holds here. */
struct handle {
	uint32_t kind;
	int32_t pid;                            /* of the owner, and when it started: a handle is of no use to it */
	uint64_t id;
	uint64_t requested;
	uint64_t row;
};

_Static_assert(sizeof(struct handle) <= sizeof(CUipcMemHandle), "IPC handle");

static struct handle handle_of(uint32_t kind, uint64_t id, uint64_t requested)
{
	return (struct handle){kind, driver.machine.pid, id, requested, driver.row};
}

static bool is_mine(const struct handle *handle)
{
	return handle->pid == driver.machine.pid && handle->row == driver.row;
}

/* Locked. Linear device memory only: no pools, no managed memory, nothing that is mapped or was opened. */
static CUresult publish(CUdeviceptr address, uint64_t *id, uint64_t *requested)
{
	struct block *block = block_around(address);
	struct change held;

	if (!block || block->managed || block->pool || block->flags)
		return CUDA_ERROR_INVALID_VALUE;
	held = (struct change){.requested = (int64_t)block->requested, .physical = (int64_t)block->physical};
	if (!block->shared)
		block->shared = shared_publish(block->context->device, &held, block_size(block), &block->bytes);
	if (!block->shared)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*id = block->shared->id;
	*requested = block->requested;
	return CUDA_SUCCESS;
}

/* The handle stands for the whole allocation, wherever in it the address lies. */
CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	uint64_t id, requested;
	struct handle held;

	if (failure)
		return failure;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = publish(address, &id, &requested);
	driver_unlock();
	if (failure)
		return failure;
	held = handle_of(MEMORY_HANDLE, id, requested);
	memset(handle, 0, sizeof *handle);
	memcpy(handle, &held, sizeof held);
	return CUDA_SUCCESS;
}

static struct block *find_open(CUcontext context, uint64_t id)
{
	for (struct block *block = context->blocks; block; block = block->next)
		if (block->flags & BLOCK_KEPT && block->shared && block->shared->id == id)
			return block;
	return NULL;
}

/* Locked. A handle that a context has open already is the same address once more. */
static CUresult open_memory(CUcontext context, const struct handle *handle, CUdeviceptr *address)
{
	struct block *block = find_open(context, handle->id);
	struct shared *shared;

	if (!block) {
		shared = shared_open(handle->id);
		if (!shared)
			return CUDA_ERROR_INVALID_VALUE;
		block = block_begin(handle->requested, false);
		if (!block) {
			shared_close(shared);
			return CUDA_ERROR_OUT_OF_MEMORY;
		}
		block->shared = shared;
		block->flags = BLOCK_IMPORTED | BLOCK_KEPT;
		block->physical = 0;
		block->pool = NULL;
		block->references = 0;
		memory_link(block, context);
	}
	block->references++;
	*address = block_address(block);
	return CUDA_SUCCESS;
}

CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *address, CUipcMemHandle given, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct handle handle;

	if (failure)
		return failure;
	memcpy(&handle, &given, sizeof handle);
	if (!address || flags != LAZY_PEER_ACCESS || handle.kind != MEMORY_HANDLE)
		return CUDA_ERROR_INVALID_VALUE;
	if (is_mine(&handle))
		return CUDA_ERROR_INVALID_CONTEXT;
	driver_lock();
	failure = open_memory(context, &handle, address);
	driver_unlock();
	return failure;
}

CUresult cuIpcOpenMemHandle(CUdeviceptr *address, CUipcMemHandle handle, unsigned int flags)
{
	return cuIpcOpenMemHandle_v2(address, handle, flags);
}

CUresult cuIpcCloseMemHandle(CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct block *block;

	if (failure)
		return failure;
	driver_lock();
	block = block_at(address);
	if (block && !(block->flags & BLOCK_KEPT && block->shared))
		block = NULL;
	if (block && --block->references == 0)
		memory_end(block);
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuIpcGetEventHandle(CUipcEventHandle *handle, CUevent event)
{
	CUresult failure = event_check(event);
	struct handle held;

	if (failure)
		return failure;
	if (!handle || (event->flags & (INTERPROCESS | NO_TIMING)) != (INTERPROCESS | NO_TIMING))
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	if (!event->shared && driver_join()) {
		event->shared = sharing_event_begin(driver.state, driver.machine.file, driver.row);
		if (event->shared)
			atomic_store(&sharing_event(driver.state, event->shared)->done, event->moment.time);
	}
	driver_unlock();
	if (!event->shared)
		return CUDA_ERROR_OUT_OF_MEMORY;
	held = handle_of(EVENT_HANDLE, event->shared, 0);
	memset(handle, 0, sizeof *handle);
	memcpy(handle, &held, sizeof held);
	return CUDA_SUCCESS;
}

CUresult cuIpcOpenEventHandle(CUevent *event, CUipcEventHandle given)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct handle handle;

	if (failure)
		return failure;
	memcpy(&handle, &given, sizeof handle);
	if (!event || handle.kind != EVENT_HANDLE || !sharing_event(driver.state, handle.id))
		return CUDA_ERROR_INVALID_VALUE;
	*event = event_new(context, INTERPROCESS | NO_TIMING);
	if (!*event)
		return CUDA_ERROR_OUT_OF_MEMORY;
	(*event)->shared = handle.id;
	(*event)->imported = true;
	return CUDA_SUCCESS;
}
