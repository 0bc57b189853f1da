/* Memory in stream order, from pools: what a free of it means to the pool's reserve. */
#ifndef VGPU_CUDA_POOL_H
#define VGPU_CUDA_POOL_H

#include "cuda_abi.h"
#include "pointers.h"

/*
 * The driver has answered the free of something that is not linear memory of its own, and has waited for the device: a pool's
 * allocation (KNOWN, and its record), or memory that has none, such as a graph's. Returns RESULT.
 */
CUresult vgpu_pool_freed(CUresult result, CUdeviceptr pointer, bool known, struct vgpu_pointer record);

#endif
