/*
 * What a forked child must forget: everything here lies in memory that the kernel wipes in the child (MADV_WIPEONFORK, Linux
 * 4.14; a handler of fork before that). So the check "is this process attached" is one load and also notices every fork; only
 * a vfork child sees its parent's, and that may not call CUDA.
 */
#ifndef VGPU_PROCESS_H
#define VGPU_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "region.h"

struct vgpu_process {
	/* Read on every allocation. */
	struct vgpu_region_slot *_Atomic slot;		/* NULL: nothing has been charged yet; set last */
	struct vgpu_region *_Atomic region;		/* NULL: not attached */
	_Atomic int64_t follow_at_ns;			/* CLOCK_MONOTONIC_COARSE at which the limits are looked at again */
	_Atomic uint32_t device_count;			/* of the grant; 0: not loaded */
	_Atomic uint32_t cuda_count;			/* devices of the grant that CUDA has; valid once cuda_ready */
	_Atomic uint64_t limit_bytes[VGPU_MAX_DEVICES];
	uint8_t place[VGPU_MAX_DEVICES];		/* in the region, by index in the grant; written before region */

	/* Written once under the lock, before cuda_ready. By CUDA ordinal as the program sees them. */
	_Atomic uint32_t cuda_ready;
	int32_t cuda_device[VGPU_MAX_DEVICES];		/* the driver's handle */
	uint8_t cuda_index[VGPU_MAX_DEVICES];		/* index in the grant */
	_Atomic uint32_t primary_lock;			/* lock.h's: of those who charge for a primary context */
	_Atomic uint32_t primary_charged[VGPU_MAX_DEVICES];	/* by index: the primary context has been charged for */
	_Atomic uint32_t primary_references[VGPU_MAX_DEVICES];	/* by index: what this process retained and has not released */
	void *_Atomic primary[VGPU_MAX_DEVICES];		/* by index: CUcontext of the device's primary context, once retained */

	/* Pools and graphs (cuda_reserve.c). */
	_Atomic uint32_t reserve_lock;			/* lock.h's; held across calls of the driver */
	_Atomic uint32_t reserves_known;		/* 0: the table is the parent's, or empty; under the lock */
	_Atomic uint32_t reserves_freed;		/* something was freed that a synchronisation may give back to the device */
	_Atomic uint32_t reserves_epoch;		/* such synchronisations so far */
	void *current_pool[VGPU_MAX_DEVICES];		/* by index: CUmemoryPool of cuMemAllocAsync; NULL: to be asked; under the lock */
	_Atomic uint32_t captures;			/* a capture has begun: streams have to be asked */
	_Atomic uint32_t graphs_allocate;		/* an executable graph that allocates has been made */

	/* What is held by handles and what is shared; their tables are found stale by a child, and emptied. */
	_Atomic uint32_t virtual_lock;			/* lock.h's */
	uint32_t virtual_ready, ipc_ready;
	_Atomic uint32_t has_exports;			/* some pointer has been given to other processes */
	uint32_t imports;				/* allocations of others that are open here */
	int watcher, sentinel;				/* descriptors; valid once watching */
	uint32_t watching;

	/* Slow paths. Zero is a valid pthread_mutex_t on Linux, and an unlocked one. */
	pthread_mutex_t lock;
	uint32_t grant_state;				/* enum vgpu_grant_state; CLOSED in a child: read again */
	int64_t attach_again_ns;			/* CLOCK_MONOTONIC before which a failed attach is not repeated */
	int64_t reaped_at_ns;				/* CLOCK_MONOTONIC of the last reap for a query */
};

extern struct vgpu_process *_Atomic vgpu_process_page;

/* The page, made on first use. Never NULL: where memory is refused, a static one that the fork handler wipes. */
struct vgpu_process *vgpu_process_make(void);

static inline struct vgpu_process *vgpu_process(void)
{
	struct vgpu_process *page = atomic_load_explicit(&vgpu_process_page, memory_order_acquire);

	return __builtin_expect(page != NULL, 1) ? page : vgpu_process_make();
}

#endif
