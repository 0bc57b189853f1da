/* Linear device memory, as the other files of libcuda see it. */
#ifndef HAMI_MOCK_CUDA_MEMORY_H
#define HAMI_MOCK_CUDA_MEMORY_H

#include "blocks.h"
#include "cuda_driver.h"

/* A pool. Default pools live for ever, one per device. Fields change under the driver's lock. */
struct CUmemPoolHandle_st {
	bool alive;
	bool destroyed;                         /* no longer usable; goes with its last allocation */
	CUdevice device;
	uint64_t used, used_high;               /* requested bytes of living allocations */
	uint64_t reserved, reserved_high;       /* physical bytes of them: this driver keeps none in reserve */
	uint64_t release_threshold;
	uint32_t reuse[4];                      /* policies, by attribute 1 to 3 */
};

/* Allocate BYTES on the device of CONTEXT, or of POOL if there is one. */
CUresult memory_allocate(CUcontext context, CUmemoryPool pool, uint64_t bytes, bool managed, CUdeviceptr *address);

/* The end of whatever starts at ADDRESS. */
CUresult memory_free(CUdeviceptr address);

#endif
