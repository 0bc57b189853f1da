/* Memory pools, as the other files of libcuda see them. What the graphs of a device hold is a pool too. */
#ifndef HAMI_MOCK_CUDA_POOL_H
#define HAMI_MOCK_CUDA_POOL_H

#include "cuda_memory.h"

#define POOL_STEP (32ULL << 20)                 /* what a pool takes at a time */

/* A pool. Default pools live for ever, one per device. Fields change under the driver's lock. */
struct CUmemPoolHandle_st {
	bool alive;
	bool destroyed;                         /* no longer usable; goes with its last allocation */
	bool builtin;
	bool managed;
	bool imported;
	CUdevice device;                        /* -1: on the host, and costs nothing */
	CUmemPoolProps properties;
	uint64_t used, used_high;               /* requested bytes of living allocations */
	uint64_t taken;                         /* of the reserve, what living allocations take */
	uint64_t reserved, reserved_high;       /* what the pool holds of its device */
	uint64_t release_threshold;
	uint32_t reuse[4];                      /* policies, by attribute 1 to 3 */
	uint32_t readers, writers;              /* a bit per device that was given access */
	struct shared *shared;                  /* once exported, or imported */
	struct CUmemPoolHandle_st *next;
};

/* Locked. Take room for an allocation, and give it back; the reserve grows, and does not shrink by itself. False: it does not fit. */
bool pool_take(CUmemoryPool pool, uint64_t requested, uint64_t physical);
void pool_give(CUmemoryPool pool, uint64_t requested, uint64_t physical);

/* Locked. Give back what is reserved and unused above KEEP bytes. */
void pool_trim(CUmemoryPool pool, uint64_t keep);

/* Something was waited for: pools give back what their threshold does not keep. */
void pools_release(void);

/* Locked. The device was reset: nothing unused is kept. */
void pools_empty(CUdevice device);

/* A new pool, listed; NULL if the host has no room. */
CUmemoryPool pool_make(const CUmemPoolProps *properties);

/* Locked. What the graphs of a device hold. */
CUmemoryPool pool_of_graphs(CUdevice device);

#endif
