/*
 * Linear memory that other processes open by IPC handles. Who allocated it pays; who opens it pays only where no process of its
 * own container does: then for all of it, as its owner may let go first. Freeing it while it is open is undefined; its bytes stay
 * charged to the container for as long as a process of it has anything of others open.
 */
#include "cuda_ipc.h"

#include "cuda_device.h"
#include "cuda_virtual.h"
#include "driver.h"
#include "grant.h"
#include "guest.h"
#include "sharing.h"
#include "wrappers.h"

static struct vgpu_pointers exports;	/* the key of what was given to others, by pointer; under the lock */
static struct vgpu_allocations opened;	/* by pointer; under the lock */

/* The lock of virtual memory. A child finds the tables of its parent stale, and empties them. */
static void lock(void)
{
	struct vgpu_process *process = vgpu_process();

	(void)vgpu_virtual_lock();
	if (process->ipc_ready)
		return;
	vgpu_pointers_clear(&exports);
	vgpu_allocations_clear(&opened);
	process->ipc_ready = 1;
}

static uint64_t key_of(const CUipcMemHandle *handle)
{
	return vgpu_sharing_key(handle->reserved, sizeof(handle->reserved));
}

/* What POINTER, the beginning of an allocation or a place in it, was charged. Comes out with its beginning. */
static bool find_charged(CUdeviceptr *pointer, struct vgpu_pointer *charged)
{
	size_t size;

	if (vgpu_pointers_find(&vgpu_charged_pointers, *pointer, charged))
		return true;
	return vgpu_cuda.cuMemGetAddressRange_v2 &&
	       vgpu_cuda.cuMemGetAddressRange_v2(pointer, &size, *pointer) == CUDA_SUCCESS &&
	       vgpu_pointers_find(&vgpu_charged_pointers, *pointer, charged);
}

/* Under the lock. A pointer is given out again and again by one handle; by another one, it stands for other memory. */
static void note_exported(const struct vgpu_region_file *file, uint64_t pointer, struct vgpu_pointer charged, uint64_t key)
{
	struct vgpu_pointer known, stale;

	if (vgpu_pointers_find(&exports, pointer, &known) && known.bytes == key)
		return;
	if (vgpu_pointers_take(&exports, pointer, &known))
		vgpu_sharing_disown(file, known.bytes);
	if (!vgpu_pointers_add(&exports, pointer, (struct vgpu_pointer){ key, charged.device, charged.kind }, &stale))
		return;			/* no memory: not known as ours, so that whoever opens it pays */
	vgpu_share_charge(charged.device, charged.bytes);
	vgpu_sharing_own(file, key);
	atomic_store_explicit(&vgpu_process()->has_exports, 1, memory_order_relaxed);
}

CUresult vgpu_cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer)
{
	CUresult result = vgpu_cuda.cuIpcGetMemHandle(handle, pointer);
	struct vgpu_pointer charged;

	if (result == CUDA_SUCCESS && find_charged(&pointer, &charged)) {
		struct vgpu_region_file file = vgpu_charge_file();
		struct vgpu_guest guest = vgpu_guest_enter();

		lock();
		note_exported(&file, pointer, charged, key_of(handle));
		vgpu_virtual_unlock();
		vgpu_guest_leave(guest);
	}
	return result;
}

/* Under the lock. */
static void discharge_exported(const struct vgpu_region_file *file, struct vgpu_pointer charged, uint64_t key)
{
	if (vgpu_sharing_is_open(file, key)) {
		vgpu_hand_over_charge(charged.device, charged.bytes);
	} else {
		vgpu_unshare_charge(charged.device, charged.bytes);
		vgpu_discharge(charged.device, charged.bytes);
	}
	vgpu_sharing_disown(file, key);
}

void vgpu_ipc_discharge(uint64_t pointer, struct vgpu_pointer charged)
{
	struct vgpu_region_file file = vgpu_charge_file();
	struct vgpu_guest guest = vgpu_guest_enter();
	struct vgpu_pointer exported;

	lock();
	if (vgpu_pointers_take(&exports, pointer, &exported))
		discharge_exported(&file, charged, exported.bytes);
	else
		vgpu_discharge(charged.device, charged.bytes);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
}

/* Before the driver opens it. Returns whether a process of this container pays. */
static bool begin_opening(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_guest guest = vgpu_guest_enter();
	bool owned;

	lock();
	vgpu_sharing_open(file, key);
	owned = vgpu_sharing_is_owned(file, key);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
	return owned;
}

static void end_opening(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_guest guest = vgpu_guest_enter();

	lock();
	vgpu_sharing_close(file, key);
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
}

/* What an opened POINTER costs whoever pays for it: all that is behind it. Nothing on a device that is not granted. */
static CUresult charge_opened(CUdeviceptr pointer, unsigned *index, uint64_t *bytes)
{
	CUdeviceptr base;
	CUdevice device;
	size_t size;
	int found = -1;

	if (vgpu_cuda.cuPointerGetAttribute &&
	    vgpu_cuda.cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer) == CUDA_SUCCESS)
		found = vgpu_cuda_index(device);
	*bytes = 0;
	*index = 0;
	if (found < 0)
		return CUDA_SUCCESS;
	if (!vgpu_cuda.cuMemGetAddressRange_v2 ||
	    vgpu_cuda.cuMemGetAddressRange_v2(&base, &size, pointer) != CUDA_SUCCESS)
		return CUDA_ERROR_OUT_OF_MEMORY;	/* its size cannot be told, so it cannot be charged, so it is not given */
	*index = (unsigned)found;
	*bytes = size;
	return vgpu_charge(*index, *bytes);
}

/* One more hold on what is open at POINTER, which the driver counts too; false where it was not open. */
static bool hold_opened(CUdeviceptr pointer)
{
	struct vgpu_allocation *known;

	lock();
	known = vgpu_allocations_find(&opened, pointer);
	if (known)
		vgpu_allocation_hold(known);
	vgpu_virtual_unlock();
	return known;
}

/* Another thread may have been faster with the same pointer: then it is KNOWN, and held once more. */
static CUresult add_opened(CUdeviceptr pointer, uint64_t key, unsigned index, uint64_t bytes, bool *known)
{
	struct vgpu_allocation *held, *made = NULL;

	lock();
	held = vgpu_allocations_find(&opened, pointer);
	if (held)
		vgpu_allocation_hold(held);
	else
		made = vgpu_allocations_add(&opened, pointer, bytes, index);
	if (made)
		made->key = key;
	vgpu_virtual_unlock();
	*known = held;
	return held || made ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* After the driver has opened it: CUDA_SUCCESS, or CUDA_ERROR_OUT_OF_MEMORY and it has to be closed again. */
static CUresult record_opened(CUdeviceptr pointer, uint64_t key, bool paid, bool *known)
{
	CUresult result = CUDA_SUCCESS;
	uint64_t bytes = 0;
	unsigned index = 0;

	if (!paid)
		result = charge_opened(pointer, &index, &bytes);
	if (result != CUDA_SUCCESS)
		return result;
	result = add_opened(pointer, key, index, bytes, known);
	if (bytes && (*known || result != CUDA_SUCCESS))
		vgpu_discharge(index, bytes);
	return result;
}

static CUresult open_by(CUresult (*open)(CUdeviceptr *, CUipcMemHandle, unsigned int), CUdeviceptr *pointer,
                        const CUipcMemHandle *handle, unsigned int flags)
{
	uint64_t key = key_of(handle);
	CUresult result = vgpu_cuda_devices();
	struct vgpu_region_file file;
	bool paid, known = false;

	if (result != CUDA_SUCCESS)
		return result;
	file = vgpu_charge_file();
	paid = begin_opening(&file, key) || vgpu_grant_is_whole();
	result = open(pointer, *handle, flags);
	if (result == CUDA_SUCCESS && !(known = hold_opened(*pointer))) {
		result = record_opened(*pointer, key, paid, &known);
		if (result != CUDA_SUCCESS && vgpu_cuda.cuIpcCloseMemHandle)
			vgpu_cuda.cuIpcCloseMemHandle(*pointer);
	}
	if (known || result != CUDA_SUCCESS)
		end_opening(&file, key);
	return result;
}

CUresult vgpu_cuIpcOpenMemHandle(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned int flags)
{
	return open_by(vgpu_cuda.cuIpcOpenMemHandle, pointer, &handle, flags);
}

CUresult vgpu_cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned int flags)
{
	return open_by(vgpu_cuda.cuIpcOpenMemHandle_v2, pointer, &handle, flags);
}

static struct vgpu_allocation *begin_closing(CUdeviceptr pointer)
{
	struct vgpu_allocation *allocation;

	lock();
	allocation = vgpu_allocations_find(&opened, pointer);
	if (allocation)
		vgpu_allocation_drop(allocation);
	vgpu_virtual_unlock();
	return allocation;
}

CUresult vgpu_cuIpcCloseMemHandle(CUdeviceptr pointer)
{
	struct vgpu_allocation *allocation = begin_closing(pointer);
	CUresult result = vgpu_cuda.cuIpcCloseMemHandle(pointer);
	struct vgpu_region_file file;
	struct vgpu_guest guest;

	if (!allocation)
		return result;
	file = vgpu_charge_file();
	guest = vgpu_guest_enter();
	lock();
	if (result != CUDA_SUCCESS) {
		vgpu_allocation_keep(allocation);
	} else if (vgpu_allocations_settle(&opened, allocation, true)) {
		if (allocation->bytes)
			vgpu_discharge(allocation->device, allocation->bytes);
		vgpu_sharing_close(&file, allocation->key);
		vgpu_allocations_remove(&opened, allocation);
	}
	vgpu_virtual_unlock();
	vgpu_guest_leave(guest);
	return result;
}
