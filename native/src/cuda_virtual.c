/*
 * Virtual memory management: physical memory is charged where cuMemCreate makes it, on the device that its properties name, and
 * given back when the last reference to its handle and the last mapping of it are gone. Address ranges alone cost nothing.
 *
 * It belongs to the process, not to a context: destroying or resetting one leaves the charge.
 */
#include "cuda_virtual.h"

#include "charge.h"
#include "cuda_device.h"
#include "cuda_shareable.h"
#include "driver.h"
#include "lock.h"
#include "sharing.h"
#include "wrappers.h"

static struct vgpu_allocations allocations;
static uint64_t settled;	/* how often a handle was forgotten; under the lock */

struct vgpu_allocations *vgpu_virtual_lock(void)
{
	struct vgpu_process *process = vgpu_process();

	vgpu_lock(&process->virtual_lock);
	if (__builtin_expect(!process->virtual_ready, 0)) {
		vgpu_allocations_clear(&allocations);
		vgpu_sharing_forget();
		process->virtual_ready = 1;
	}
	return &allocations;
}

void vgpu_virtual_unlock(void)
{
	vgpu_unlock(&vgpu_process()->virtual_lock);
}

struct vgpu_allocation *vgpu_virtual_hold(CUmemGenericAllocationHandle handle)
{
	struct vgpu_allocation *allocation = vgpu_allocations_find(vgpu_virtual_lock(), handle);

	if (allocation)
		vgpu_allocation_hold(allocation);
	vgpu_virtual_unlock();
	return allocation;
}

/* Under the lock, which it leaves: ALLOCATION is held no more. */
static void end(struct vgpu_allocations *table, struct vgpu_allocation *allocation)
{
	uint64_t bytes = allocation->bytes;
	unsigned device = allocation->device;
	bool shared = allocation->flags != 0;

	if (!shared)
		vgpu_allocations_remove(table, allocation);
	vgpu_virtual_unlock();
	if (shared)
		vgpu_shareable_end(allocation);
	else if (bytes)
		vgpu_discharge(device, bytes);
}

/* Under the lock. True: the caller ends the allocation. */
static bool settle(struct vgpu_allocations *table, struct vgpu_allocation *allocation, bool named)
{
	bool last = vgpu_allocations_settle(table, allocation, named);

	settled += allocation->named == 0;
	return last;
}

CUresult vgpu_virtual_settle(CUresult result, struct vgpu_allocation *allocation)
{
	struct vgpu_allocations *table;

	if (!allocation)
		return result;
	table = vgpu_virtual_lock();
	if (result == CUDA_SUCCESS && settle(table, allocation, true)) {
		end(table, allocation);
		return result;
	}
	if (result != CUDA_SUCCESS)
		vgpu_allocation_keep(allocation);
	vgpu_virtual_unlock();
	return result;
}

void vgpu_virtual_let_go(struct vgpu_allocation *allocation)
{
	if (!allocation)
		return;
	vgpu_virtual_lock();
	vgpu_allocation_drop(allocation);
	vgpu_virtual_unlock();
	(void)vgpu_virtual_settle(CUDA_SUCCESS, allocation);
}

/* Index in the grant of the device whose memory PROPERTIES ask for, or -1: memory of the host, or what only the driver can answer. */
static CUresult place_of(const CUmemAllocationProp *properties, int *index)
{
	*index = -1;
	return properties ? vgpu_cuda_location(&properties->location, index) : CUDA_SUCCESS;
}

static bool record(CUmemGenericAllocationHandle handle, uint64_t bytes, unsigned device)
{
	bool recorded = vgpu_allocations_add(vgpu_virtual_lock(), handle, bytes, device);

	vgpu_virtual_unlock();
	return recorded;
}

CUresult vgpu_cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *properties,
                          unsigned long long flags)
{
	int index;
	CUresult result = place_of(properties, &index);
	uint64_t charged = index < 0 ? 0 : bytes;
	unsigned device = index < 0 ? VGPU_NO_DEVICE : (unsigned)index;

	if (result == CUDA_SUCCESS && charged)
		result = vgpu_charge(device, charged);
	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemCreate(handle, bytes, properties, flags);
	if (result == CUDA_SUCCESS && !record(*handle, charged, device)) {
		if (vgpu_cuda.cuMemRelease)
			vgpu_cuda.cuMemRelease(*handle);
		result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result != CUDA_SUCCESS && charged)
		vgpu_discharge(device, charged);
	return result;
}

CUresult vgpu_cuMemRelease(CUmemGenericAllocationHandle handle)
{
	struct vgpu_allocation *allocation = vgpu_allocations_find(vgpu_virtual_lock(), handle);

	if (allocation)
		vgpu_allocation_drop(allocation);
	vgpu_virtual_unlock();
	return vgpu_virtual_settle(vgpu_cuda.cuMemRelease(handle), allocation);
}

CUresult vgpu_virtual_settle_unmapped(CUresult result, struct vgpu_mapping *list)
{
	struct vgpu_mapping *next;

	if (result != CUDA_SUCCESS && list) {
		vgpu_allocations_restore(vgpu_virtual_lock(), list);
		vgpu_virtual_unlock();
		return result;
	}
	for (; list; list = next) {
		struct vgpu_allocations *table = vgpu_virtual_lock();
		struct vgpu_allocation *allocation = list->of;
		bool named = !(list->start & VGPU_ELSEWHERE);

		next = list->next;
		vgpu_allocations_forget(table, list);
		if (settle(table, allocation, named))
			end(table, allocation);
		else
			vgpu_virtual_unlock();
	}
	return result;
}

static struct vgpu_mapping *begin_unmapping(CUdeviceptr pointer, size_t size)
{
	struct vgpu_mapping *list = vgpu_allocations_unmap(vgpu_virtual_lock(), pointer, size);

	vgpu_virtual_unlock();
	return list;
}

/* A hold on what HANDLE stands for. UNPAID: an import that is to be charged. */
static struct vgpu_allocation *hold_for_mapping(CUmemGenericAllocationHandle handle, bool *unpaid)
{
	struct vgpu_allocation *allocation = vgpu_allocations_find(vgpu_virtual_lock(), handle);

	if (allocation)
		vgpu_allocation_hold(allocation);
	*unpaid = allocation && vgpu_shareable_is_unpaid(allocation);
	vgpu_virtual_unlock();
	return allocation;
}

/* HELD becomes the mapping at POINTER. One that is known there was unmapped without our seeing it: it holds nothing any more. */
static bool add_mapping(CUdeviceptr pointer, size_t size, struct vgpu_allocation *held)
{
	struct vgpu_allocations *table = vgpu_virtual_lock();
	struct vgpu_mapping *known = vgpu_allocations_mapping(table, pointer);
	struct vgpu_mapping *stale = known ? vgpu_allocations_unmap(table, pointer, known->size) : NULL;
	bool added = vgpu_allocations_map(table, pointer, size, held);

	vgpu_virtual_unlock();
	(void)vgpu_virtual_settle_unmapped(CUDA_SUCCESS, stale);
	return added;
}

/* After the driver has mapped HELD: remember it, or undo it. */
static CUresult commit_mapping(CUdeviceptr pointer, size_t size, struct vgpu_allocation *held)
{
	if (add_mapping(pointer, size, held))
		return CUDA_SUCCESS;
	if (vgpu_cuda.cuMemUnmap)
		vgpu_cuda.cuMemUnmap(pointer, size);
	vgpu_virtual_let_go(held);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Memory of another process, not charged to this one so far: what is mapped is reserved before, the rest when its size shows. */
static CUresult map_unpaid(CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                           unsigned long long flags, struct vgpu_allocation *held)
{
	uint64_t end = (uint64_t)offset + size;
	unsigned device = held->device;
	CUresult result = vgpu_charge(device, end);

	if (result == CUDA_SUCCESS) {
		result = vgpu_cuda.cuMemMap(pointer, size, offset, handle, flags);
		if (result != CUDA_SUCCESS)
			vgpu_discharge(device, end);
	}
	if (result == CUDA_SUCCESS) {
		result = vgpu_shareable_charge(held, handle, end);
		if (result == CUDA_SUCCESS)
			return commit_mapping(pointer, size, held);
		if (vgpu_cuda.cuMemUnmap)
			vgpu_cuda.cuMemUnmap(pointer, size);
		vgpu_discharge(device, end);
	}
	vgpu_virtual_let_go(held);
	return result;
}

CUresult vgpu_cuMemMap(CUdeviceptr pointer, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                       unsigned long long flags)
{
	bool unpaid;
	struct vgpu_allocation *held = hold_for_mapping(handle, &unpaid);
	CUresult result;

	if (unpaid)
		return map_unpaid(pointer, size, offset, handle, flags, held);
	result = vgpu_cuda.cuMemMap(pointer, size, offset, handle, flags);
	if (result == CUDA_SUCCESS && held)
		return commit_mapping(pointer, size, held);
	vgpu_virtual_let_go(held);
	return result;
}

/* The driver unmaps whole mappings, one or several that follow each other; what it refuses stays as it was. */
CUresult vgpu_cuMemUnmap(CUdeviceptr pointer, size_t size)
{
	struct vgpu_mapping *list = begin_unmapping(pointer, size);

	return vgpu_virtual_settle_unmapped(vgpu_cuda.cuMemUnmap(pointer, size), list);
}

static uint64_t settled_so_far(void)
{
	uint64_t count;

	vgpu_virtual_lock();
	count = settled;
	vgpu_virtual_unlock();
	return count;
}

/* Under the lock: whether the allocation that the driver has just retained is one that we know to be held. */
enum retained { HELD, NOT_OURS, TOO_LATE };

static enum retained note_retained(CUmemGenericAllocationHandle handle, uint64_t before, struct vgpu_allocation **found)
{
	struct vgpu_allocation *allocation = vgpu_allocations_find(vgpu_virtual_lock(), handle);
	enum retained retained = NOT_OURS;

	if (allocation && allocation->alive) {
		vgpu_allocation_hold(allocation);
		retained = HELD;
	} else if (allocation || settled != before) {
		retained = TOO_LATE;
	}
	vgpu_virtual_unlock();
	*found = allocation;
	return retained;
}

#define RETAIN_ATTEMPTS 64		/* each that comes too late saw another thread give something back */

/*
 * The driver answers the very handle that the memory was mapped by. If another thread drops the last hold meanwhile, its bytes
 * are given back as if we had come later: so we do, and ask again.
 */
static CUresult retain(CUmemGenericAllocationHandle *handle, void *address, struct vgpu_allocation **found)
{
	enum retained retained = TOO_LATE;

	for (unsigned i = 0; i < RETAIN_ATTEMPTS && retained == TOO_LATE; i++) {
		uint64_t before = settled_so_far();
		CUresult result = vgpu_cuda.cuMemRetainAllocationHandle(handle, address);

		if (result != CUDA_SUCCESS)
			return result;
		retained = note_retained(*handle, before, found);
		if (retained == TOO_LATE && vgpu_cuda.cuMemRelease)
			vgpu_cuda.cuMemRelease(*handle);
	}
	return retained == TOO_LATE ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult vgpu_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
	struct vgpu_allocation *found;

	return retain(handle, address, &found);
}

struct vgpu_allocation *vgpu_virtual_hold_mapped(CUdeviceptr address)
{
	CUmemGenericAllocationHandle handle;
	struct vgpu_allocation *found = NULL;

	if (!vgpu_cuda.cuMemRetainAllocationHandle || !vgpu_cuda.cuMemRelease ||
	    retain(&handle, (void *)(uintptr_t)address, &found) != CUDA_SUCCESS)
		return NULL;
	vgpu_cuda.cuMemRelease(handle);
	return found;
}

/*
 * Memory that is mapped into a sparse array is held by it. It is unmapped in the order of a stream, at a time that only the
 * stream knows: so it counts as held until the process ends, which is too long and never too short.
 */
static void pin(const CUarrayMapInfo *list, unsigned int count)
{
	struct vgpu_allocations *table = vgpu_virtual_lock();

	for (unsigned int i = 0; list && i < count; i++) {
		struct vgpu_allocation *allocation = NULL;

		if (list[i].memOperationType == CU_MEM_OPERATION_TYPE_MAP)
			allocation = vgpu_allocations_find(table, list[i].memHandle.memHandle);
		if (allocation && !(allocation->flags & VGPU_ALLOCATION_PINNED)) {
			allocation->flags |= VGPU_ALLOCATION_PINNED;
			vgpu_allocation_hold(allocation);
			vgpu_allocations_unname(table, allocation);
		}
	}
	vgpu_virtual_unlock();
}

CUresult vgpu_cuMemMapArrayAsync(CUarrayMapInfo *list, unsigned int count, CUstream stream)
{
	pin(list, count);
	return vgpu_cuda.cuMemMapArrayAsync(list, count, stream);
}

CUresult vgpu_cuMemMapArrayAsync_ptsz(CUarrayMapInfo *list, unsigned int count, CUstream stream)
{
	pin(list, count);
	return vgpu_cuda.cuMemMapArrayAsync_ptsz(list, count, stream);
}
