/* Allocations that other processes hold too: how their charge begins and ends. Which call does what is cuda_shareable.c's. */
#ifndef VGPU_CUDA_SHAREABLE_H
#define VGPU_CUDA_SHAREABLE_H

#include "cuda_virtual.h"
#include "region_file.h"

/*
 * The last hold of this process on a shared ALLOCATION, one with flags, is gone. Gives back what it was charged, hands it over to
 * those who still hold it, or keeps it while a descriptor may be open. ALLOCATION is no longer the caller's.
 */
void vgpu_shareable_end(struct vgpu_allocation *allocation);

/*
 * Give back what was kept for descriptors that have been closed since. The caller holds the process' lock. Slow where something
 * is kept, else an atomic or two.
 */
void vgpu_shareable_sweep(const struct vgpu_region_file *file);

/* What an ALLOCATION has yet to be charged when its first SIZE bytes are mapped. Under the lock. */
static inline uint64_t vgpu_shareable_unpaid(const struct vgpu_allocation *allocation, uint64_t size)
{
	bool pays = (allocation->flags & (VGPU_ALLOCATION_IMPORTED | VGPU_ALLOCATION_PAID)) == VGPU_ALLOCATION_IMPORTED;

	return pays && size > allocation->bytes ? size - allocation->bytes : 0;
}

#endif
