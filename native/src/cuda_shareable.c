/*
 * Allocations that leave the process: exported by a descriptor or as a fabric handle, and imported from there.
 *
 * The public interface tells an importer neither the size of what it imports nor whose it is, and nobody when a shareable handle
 * is closed. So: who creates memory pays until its own holds are gone and no descriptor that it exported is open. Who imports
 * memory pays for as much as it maps, unless a process of its container is known to pay already, which a fabric handle's bytes
 * tell and a descriptor does not. What a process has shared outlives it, at the container's cost, while any process of the
 * container has something imported. Where this is not exact it is too much.
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

static void finish(struct vgpu_allocations *table, const struct vgpu_region_file *file, struct vgpu_allocation *allocation)
{
	bool owned = allocation->flags & VGPU_ALLOCATION_OWNED;

	give_back(allocation, owned && vgpu_sharing_is_open(file, allocation->key));
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
 * Index in the grant of the device whose memory HANDLE stands for, or -1: of the host, of a device that is not granted (its
 * owner's affair, such as another node's by fabric), or no memory at all but a multicast object.
 */
static int device_of(CUmemGenericAllocationHandle handle)
{
	CUmemAllocationProp properties = { 0 };

	if (!vgpu_cuda.cuMemGetAllocationPropertiesFromHandle ||
	    vgpu_cuda.cuMemGetAllocationPropertiesFromHandle(&properties, handle) != CUDA_SUCCESS)
		return -1;
	if (properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE)
		return vgpu_cuda_index(properties.location.id);
	if (properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN)
		return vgpu_cuda_index(properties.location.localized.deviceId);
	return -1;
}

/* Before the driver imports: that memory of others is open here. Returns whether a process of this container pays for it. */
static bool begin_import(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_guest guest = vgpu_guest_enter();
	bool owned;

	vgpu_virtual_lock();
	vgpu_sharing_open(file, key);
	owned = key && vgpu_sharing_is_owned(file, key);
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

enum recorded { RECORDED, KNOWN, NO_MEMORY };

/* What the driver has imported under a handle of this process' own is its own. */
static enum recorded record_import(CUmemGenericAllocationHandle handle, uint64_t key, int device, bool paid)
{
	struct vgpu_allocations *table = vgpu_virtual_lock();
	struct vgpu_allocation *known = vgpu_allocations_find(table, handle);
	struct vgpu_allocation *made = known ? NULL : vgpu_allocations_add(table, handle, 0, device < 0 ? 0 : (unsigned)device);

	if (known)
		vgpu_allocation_hold(known);
	if (made) {
		made->key = key;
		made->flags = VGPU_ALLOCATION_IMPORTED | (paid || device < 0 ? VGPU_ALLOCATION_PAID : 0);
	}
	vgpu_virtual_unlock();
	return known ? KNOWN : made ? RECORDED : NO_MEMORY;
}

CUresult vgpu_cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *shareable,
                                             CUmemAllocationHandleType type)
{
	bool by_bytes = type == CU_MEM_HANDLE_TYPE_FABRIC && shareable, paid;
	uint64_t key = by_bytes ? vgpu_sharing_key(shareable, CU_MEM_FABRIC_HANDLE_SIZE) : 0;
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
