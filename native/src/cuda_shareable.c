/*
 * Allocations that leave the process: exported by a descriptor or as a fabric handle, and imported from there.
 *
 * The public interface tells an importer neither the size of what it imports nor whose it is, and nobody when a shareable handle
 * is closed. So: who creates memory pays until its own holds are gone and no descriptor that it exported is open. Who imports
 * memory pays for it from the first mapping on, which shows its size, unless a process of its container is known to pay already:
 * a fabric handle's bytes tell that, a descriptor does not. What a process lets go of while others of its container may hold it
 * unpaid stays charged to the container. Where this is not exact it is too much.
 */
#include "cuda_shareable.h"

#include "charge.h"
#include "cuda_device.h"
#include "driver.h"
#include "grant.h"
#include "guest.h"
#include "sharing.h"
#include "wrappers.h"

static uint64_t numbers;	/* of allocations with a descriptor that is watched; under the lock */

/* OTHERS: what was shared is still held, and goes to the anonymous slot. */
static void give_back(const struct vgpu_allocation *allocation, bool others)
{
	uint64_t own = allocation->bytes;

	if (others) {
		vgpu_hand_over_charge(allocation->device, allocation->shared);
		own -= allocation->shared;
	} else if (allocation->shared) {
		vgpu_unshare_charge(allocation->device, allocation->shared);
	}
	if (own)
		vgpu_discharge(allocation->device, own);
}

static bool may_be_held(const struct vgpu_allocation *allocation)
{
	if (allocation->flags & VGPU_ALLOCATION_UNWATCHED)
		return true;
	return allocation->flags & VGPU_ALLOCATION_EXPORTED && vgpu_sharing_may_be_held(allocation->number);
}

/* Whether a process of the container holds what ALLOCATION has shared, and does not pay for it. */
static bool is_held_unpaid(const struct vgpu_region_file *file, const struct vgpu_allocation *allocation)
{
	if (allocation->flags & VGPU_ALLOCATION_OWNED && vgpu_sharing_is_open(file, allocation->key))
		return true;
	return allocation->flags & VGPU_ALLOCATION_EXPORTED && vgpu_sharing_is_open(file, VGPU_SHARING_UNTOLD);
}

static void finish(struct vgpu_allocations *table, const struct vgpu_region_file *file, struct vgpu_allocation *allocation)
{
	bool owned = allocation->flags & VGPU_ALLOCATION_OWNED;

	give_back(allocation, allocation->shared && is_held_unpaid(file, allocation));
	if (owned)
		vgpu_sharing_disown(file, allocation->key);
	if (allocation->flags & VGPU_ALLOCATION_IMPORTED)
		vgpu_sharing_close(file, allocation->key);
	vgpu_allocations_remove(table, allocation);
}

void vgpu_shareable_end(struct vgpu_allocation *allocation)
{
	struct vgpu_region_file file = vgpu_charge_file();
	struct vgpu_guest guest = vgpu_guest_enter();
	struct vgpu_allocations *table = vgpu_virtual_lock();

	if (may_be_held(allocation)) {
		allocation->next = table->waiting;
		table->waiting = allocation;
	} else {
		finish(table, &file, allocation);
	}
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
}

void vgpu_shareable_sweep(const struct vgpu_region_file *file)
{
	struct vgpu_allocations *table = vgpu_virtual_lock();
	struct vgpu_allocation **link = &table->waiting, *allocation;

	while ((allocation = *link))
		if (may_be_held(allocation)) {
			link = &allocation->next;
		} else {
			*link = allocation->next;
			finish(table, file, allocation);
		}
	vgpu_virtual_unlock();
}

/* Under the lock. Only what this process was charged for as its own is shared: an importer's charge goes with the importer. */
static void note_exported(const struct vgpu_region_file *file, struct vgpu_allocation *allocation,
                          CUmemAllocationHandleType type, const void *shareable)
{
	bool imported = allocation->flags & VGPU_ALLOCATION_IMPORTED;

	if (!allocation->bytes && !imported)
		return;			/* memory of the host */
	if (type == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) {
		if (!allocation->number)
			allocation->number = ++numbers;
		allocation->flags |= vgpu_sharing_watch(*(const int *)shareable, allocation->number) ? VGPU_ALLOCATION_EXPORTED
		                                                                                   : VGPU_ALLOCATION_UNWATCHED;
	} else if (type == CU_MEM_HANDLE_TYPE_FABRIC && !imported && !(allocation->flags & VGPU_ALLOCATION_OWNED)) {
		allocation->key = vgpu_sharing_key(shareable, CU_MEM_FABRIC_HANDLE_SIZE);
		allocation->flags |= VGPU_ALLOCATION_OWNED;
		vgpu_sharing_own(file, allocation->key);
	}
	if (!imported && !allocation->shared) {
		allocation->shared = allocation->bytes;
		vgpu_share_charge(allocation->device, allocation->shared);
	}
}

CUresult vgpu_cuMemExportToShareableHandle(void *shareable, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type,
                                           unsigned long long flags)
{
	struct vgpu_allocation *held = vgpu_virtual_hold(handle);
	CUresult result = vgpu_cuda.cuMemExportToShareableHandle(shareable, handle, type, flags);

	if (result == CUDA_SUCCESS && held) {
		struct vgpu_region_file file = vgpu_charge_file();
		struct vgpu_guest guest = vgpu_guest_enter();

		vgpu_virtual_lock();
		note_exported(&file, held, type, shareable);
		vgpu_virtual_unlock();
		vgpu_guest_leave(guest);
	}
	vgpu_virtual_let_go(held);
	return result;
}

/*
 * Index in the grant of the device whose memory HANDLE stands for. VGPU_NO_DEVICE: of the host, of a device that is not granted
 * (its owner's affair, such as another node's by fabric), or no memory at all but a multicast object.
 */
static uint32_t device_of(CUmemGenericAllocationHandle handle)
{
	CUmemAllocationProp properties = { 0 };
	int index = -1;

	if (!vgpu_cuda.cuMemGetAllocationPropertiesFromHandle ||
	    vgpu_cuda.cuMemGetAllocationPropertiesFromHandle(&properties, handle) != CUDA_SUCCESS)
		return VGPU_NO_DEVICE;
	if (properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE)
		index = vgpu_cuda_index(properties.location.id);
	else if (properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN)
		index = vgpu_cuda_index(properties.location.localized.deviceId);
	return index < 0 ? VGPU_NO_DEVICE : (uint32_t)index;
}

/* Before the driver imports: that memory of others is open here. Returns whether a process of this container pays for it. */
static bool begin_import(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_guest guest = vgpu_guest_enter();
	bool owned;

	vgpu_virtual_lock();
	vgpu_sharing_open(file, key);
	owned = key != VGPU_SHARING_UNTOLD && vgpu_sharing_is_owned(file, key);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
	return owned;
}

static void undo_import(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_guest guest = vgpu_guest_enter();

	vgpu_virtual_lock();
	vgpu_sharing_close(file, key);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
}

/* Whether SIZE bytes of HANDLE can be mapped, somewhere where nobody sees it. */
static bool can_map(CUmemGenericAllocationHandle handle, uint64_t size)
{
	CUdeviceptr pointer;
	bool mapped;

	if (vgpu_cuda.cuMemAddressReserve(&pointer, size, 0, 0, 0) != CUDA_SUCCESS)
		return false;
	mapped = vgpu_cuda.cuMemMap(pointer, size, 0, handle, 0) == CUDA_SUCCESS;
	if (mapped)
		vgpu_cuda.cuMemUnmap(pointer, size);
	vgpu_cuda.cuMemAddressFree(pointer, size);
	return mapped;
}

/*
 * The size of what HANDLE stands for, of which MAPPED bytes could be mapped; nothing else tells it. Most often these are all, and
 * one question that the driver refuses is enough. Not asked before a first mapping: that of a multicast object blocks until its
 * team is complete.
 */
static uint64_t size_of(CUmemGenericAllocationHandle handle, uint64_t mapped)
{
	CUmemAllocationProp properties;
	uint64_t low = mapped, high;
	size_t step;

	if (!vgpu_cuda.cuMemAddressReserve || !vgpu_cuda.cuMemAddressFree || !vgpu_cuda.cuMemUnmap ||
	    !vgpu_cuda.cuMemGetAllocationGranularity ||
	    vgpu_cuda.cuMemGetAllocationPropertiesFromHandle(&properties, handle) != CUDA_SUCCESS ||
	    vgpu_cuda.cuMemGetAllocationGranularity(&step, &properties, 0) != CUDA_SUCCESS || !step)
		return mapped;
	high = low + step;
	while (can_map(handle, high)) {
		low = high;
		high = low * 2 / step * step;
	}
	while (high - low > step) {
		uint64_t middle = low + (high - low) / step / 2 * step;

		*(can_map(handle, middle) ? &low : &high) = middle;
	}
	return low;
}

/* Under the lock: it is paid for, all of it. Another thread that mapped it at the same time may have been faster. */
static bool settle_size(const struct vgpu_region_file *file, struct vgpu_allocation *allocation, uint64_t size)
{
	if (!vgpu_shareable_is_unpaid(allocation))
		return false;
	allocation->bytes = size;
	allocation->flags |= VGPU_ALLOCATION_SIZED;
	if (allocation->key == VGPU_SHARING_UNTOLD) {
		vgpu_sharing_open(file, 0);
		vgpu_sharing_close(file, VGPU_SHARING_UNTOLD);
		allocation->key = 0;
	}
	return true;
}

CUresult vgpu_shareable_charge(struct vgpu_allocation *allocation, CUmemGenericAllocationHandle handle, uint64_t mapped)
{
	struct vgpu_region_file file = vgpu_charge_file();
	uint64_t size = size_of(handle, mapped);
	CUresult result = size > mapped ? vgpu_charge(allocation->device, size - mapped) : CUDA_SUCCESS;
	struct vgpu_guest guest;
	bool settled;

	if (result != CUDA_SUCCESS)
		return result;
	guest = vgpu_guest_enter();
	vgpu_virtual_lock();
	settled = settle_size(&file, allocation, size);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
	if (!settled)
		vgpu_discharge(allocation->device, size);
	return CUDA_SUCCESS;
}

enum recorded { RECORDED, KNOWN, NO_MEMORY };

/* What the driver has imported under a handle of this process' own is its own. */
static enum recorded record_import(CUmemGenericAllocationHandle handle, uint64_t key, uint32_t device, bool paid)
{
	struct vgpu_allocations *table = vgpu_virtual_lock();
	struct vgpu_allocation *known = vgpu_allocations_find(table, handle);
	struct vgpu_allocation *made = known ? NULL : vgpu_allocations_add(table, handle, 0, (unsigned)device);

	if (known)
		vgpu_allocation_hold(known);
	if (made) {
		made->key = key;
		made->flags = VGPU_ALLOCATION_IMPORTED | (paid || device == VGPU_NO_DEVICE ? VGPU_ALLOCATION_PAID : 0);
	}
	vgpu_virtual_unlock();
	return known ? KNOWN : made ? RECORDED : NO_MEMORY;
}

CUresult vgpu_cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shareable,
                                             CUmemAllocationHandleType type)
{
	bool by_bytes = type == CU_MEM_HANDLE_TYPE_FABRIC && shareable, paid;
	uint64_t key = by_bytes ? vgpu_sharing_key(shareable, CU_MEM_FABRIC_HANDLE_SIZE) : VGPU_SHARING_UNTOLD;
	CUresult result = vgpu_cuda_devices();
	enum recorded recorded = NO_MEMORY;
	struct vgpu_region_file file;

	if (result != CUDA_SUCCESS)
		return result;
	file = vgpu_charge_file();
	paid = begin_import(&file, key) || vgpu_grant_is_whole();
	result = vgpu_cuda.cuMemImportFromShareableHandle(handle, shareable, type);
	if (result == CUDA_SUCCESS) {
		recorded = record_import(*handle, key, device_of(*handle), paid);
		if (recorded == NO_MEMORY && vgpu_cuda.cuMemRelease)
			vgpu_cuda.cuMemRelease(*handle);
	}
	if (recorded != RECORDED)
		undo_import(&file, key);
	return result == CUDA_SUCCESS && recorded == NO_MEMORY ? CUDA_ERROR_OUT_OF_MEMORY : result;
}
