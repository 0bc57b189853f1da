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

/* Whether ALLOCATION is an import that has to be charged when it is mapped. Under the lock. */
static inline bool vgpu_shareable_is_unpaid(const struct vgpu_allocation *allocation)
{
	return (allocation->flags & (VGPU_ALLOCATION_IMPORTED | VGPU_ALLOCATION_PAID | VGPU_ALLOCATION_SIZED)) ==
	       VGPU_ALLOCATION_IMPORTED;
}

/*
 * Charge such an ALLOCATION, held and just mapped for its first MAPPED bytes, for all that it has: MAPPED is charged already.
 * CUDA_ERROR_OUT_OF_MEMORY: it does not fit, and the mapping must go. Asks the driver; slow path.
 */
CUresult vgpu_shareable_charge(struct vgpu_allocation *allocation, CUmemGenericAllocationHandle handle, uint64_t mapped);

#endif
