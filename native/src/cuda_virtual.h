/*
 * The allocations of this process that are held by handles and mappings, behind their lock: what the wrappers of cuda_virtual.c,
 * cuda_multicast.c and cuda_shareable.c have in common. The arithmetic is allocations.h's.
 *
 * A hold is taken before the driver is asked, so that no other thread settles the last one meanwhile; it is let go of if the
 * driver refuses. One that is dropped is dropped before, and settled after.
 */
#ifndef VGPU_CUDA_VIRTUAL_H
#define VGPU_CUDA_VIRTUAL_H

#include "allocations.h"
#include "cuda_abi.h"

enum {
	VGPU_ALLOCATION_IMPORTED = 1,	/* of another process, by `key`: charged when it is first mapped */
	VGPU_ALLOCATION_PAID = 2,	/* ... nothing: a process of this container is charged for it */
	VGPU_ALLOCATION_EXPORTED = 4,	/* by a descriptor: charged until none of it is open, watched under `number` */
	VGPU_ALLOCATION_UNWATCHED = 8,	/* ... which cannot be told: charged until the process ends */
	VGPU_ALLOCATION_OWNED = 16,	/* exported by a handle of bytes: `key` */
	VGPU_ALLOCATION_PINNED = 32,	/* mapped into an array */
	VGPU_ALLOCATION_SIZED = 64,	/* imported, and charged for all of it */
};

#define VGPU_NO_DEVICE UINT32_MAX	/* the device of memory that is on none that is granted: never charged */

/* Enter and leave the lock. The table is this process' own: what a child inherits is emptied first. */
struct vgpu_allocations *vgpu_virtual_lock(void);
void vgpu_virtual_unlock(void);

/* One more hold on what HANDLE stands for, or NULL: not known here. */
struct vgpu_allocation *vgpu_virtual_hold(CUmemGenericAllocationHandle handle);

/* The same for the memory that is mapped at ADDRESS, at its start or within. Asks the driver. */
struct vgpu_allocation *vgpu_virtual_hold_mapped(CUdeviceptr address);

/*
 * The second step of dropping a hold, after the driver has answered RESULT: on success what was charged is given back if it was
 * the last one, otherwise the hold stays. ALLOCATION may be NULL. Returns RESULT.
 */
CUresult vgpu_virtual_settle(CUresult result, struct vgpu_allocation *allocation);

/* The same for mappings that vgpu_allocations_unmap has taken out: settled, or restored. LIST may be NULL. Returns RESULT. */
CUresult vgpu_virtual_settle_unmapped(CUresult result, struct vgpu_mapping *list);

/* Drop and settle a hold that came to nothing. ALLOCATION may be NULL. */
void vgpu_virtual_let_go(struct vgpu_allocation *allocation);

#endif
