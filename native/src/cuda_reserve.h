/*
 * Memory that the driver takes in steps and keeps beyond what is allocated from it: a process' memory pools, and the memory of
 * its graphs on each device. What is charged is what the driver has reserved, which is what the device has lost; allocations
 * from it are charged nothing of their own.
 *
 * The rule. Before a call that may make a reserve grow, the most that it can grow by is charged: the request, in steps of
 * VGPU_RESERVE_STEP until the driver is seen to take other ones. After the call the driver is asked what it has reserved, and
 * the rest is given back. So reserved <= charged <= limit at every instant, and a request that has to make the reserve grow
 * beyond the limit is refused before the driver is asked. Where the most does not fit, but the reserve has as much unused as is
 * requested, the driver is asked all the same: should it grow nevertheless, its unused parts being too small or another
 * stream's, the pool's allocation is undone. That growth, for the time of one call, is the only thing here that is ever held
 * and not charged. A reserve falls where the driver lets it: after a synchronisation, when it is trimmed, when it is destroyed.
 * It is read again then, whenever the program asks for free memory, and before this process is refused anything.
 *
 * All of a process' reserves are under one lock, which is held across the driver's call by whoever lets one grow, and never
 * waited for by a free or a synchronisation.
 */
#ifndef VGPU_CUDA_RESERVE_H
#define VGPU_CUDA_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda_abi.h"

#define VGPU_RESERVE_STEP (UINT64_C(32) << 20)	/* what drivers let a pool grow by, as seen from outside */
#define VGPU_MOST_RESERVES 512u			/* pools at a time, with one for the graphs of each device; below 2^16 */
#define VGPU_HOLES 8u

/* What was freed in a stream and has not been allocated again: an allocation in the same stream that fits makes nothing grow. */
struct vgpu_hole {
	uint64_t begin, bytes;
	uint64_t stream;		/* which stream, a thread's own one by the thread */
};

enum vgpu_reserve_state {
	VGPU_RESERVE_FREE,		/* this place of the table */
	VGPU_RESERVE_POOL,
	VGPU_RESERVE_UNCHARGED,		/* a pool of the host's memory, or of another process, which pays */
	VGPU_RESERVE_DESTROYED,		/* a pool that lives on until its last allocation is freed */
	VGPU_RESERVE_GRAPHS,		/* the memory of this process' graphs on a device */
};

struct vgpu_reserve {
	enum vgpu_reserve_state state;
	unsigned device;		/* index in the grant */
	CUmemoryPool pool;		/* NULL for GRAPHS */
	uint64_t charged;		/* bytes of the last reading */
	uint64_t step;
	uint32_t epoch;			/* the last synchronisation that has been taken account of */
	uint32_t unread;		/* allocations since the last reading */
	_Atomic uint64_t live;		/* bytes of the allocations that are recorded as this pool's */
	_Atomic uint32_t allocations;	/* so far: what was freed before one is perhaps in use again */
	uint64_t last;			/* GRAPHS: the executable graph that was launched last, 0 if it may no longer be backed */
	unsigned hole_count, next_hole;
	struct vgpu_hole holes[VGPU_HOLES];
};

/* Take and leave the lock of all reserves. Not from within a free or a synchronisation: those try. */
void vgpu_reserves_enter(void);
bool vgpu_reserves_try(void);
void vgpu_reserves_leave(void);

/* With the lock: the reserve of a pool, or of a device's graphs, or NULL where it is not known. */
struct vgpu_reserve *vgpu_reserve_of_pool(CUmemoryPool pool);

/* With the lock: a new reserve, or that of a device's graphs, made if need be. NULL: the table is full. */
struct vgpu_reserve *vgpu_reserve_add(enum vgpu_reserve_state state, unsigned device, CUmemoryPool pool);
struct vgpu_reserve *vgpu_reserve_of_graphs(unsigned device);

/*
 * With the lock: before and after a call that may make it grow for BYTES. *HAND is what was charged for that. False of `after`:
 * it has grown by more than could be charged, and the caller undoes what it did; it stays charged with all that was to be had.
 */
CUresult vgpu_reserve_before(struct vgpu_reserve *reserve, uint64_t bytes, uint64_t *hand);
bool vgpu_reserve_after(struct vgpu_reserve *reserve, uint64_t hand);

/* With the lock: read it again, after the driver may have given back; give all that is unused back. */
void vgpu_reserve_settle(struct vgpu_reserve *reserve);
void vgpu_reserve_trim(struct vgpu_reserve *reserve);

/* With the lock: it is gone, with all of its charge. */
void vgpu_reserve_drop(struct vgpu_reserve *reserve);

/* What a recorded allocation of BYTES says: in granules of 512, with its pool's place in the table; and back. */
uint64_t vgpu_reserve_pack(const struct vgpu_reserve *reserve, uint64_t bytes);
struct vgpu_reserve *vgpu_reserve_unpack(uint64_t packed, uint64_t *bytes);

/* An allocation has gone: it no longer keeps a destroyed pool. */
void vgpu_reserve_forget(uint64_t packed);

/* Without the lock. Something was freed, which a synchronisation may give back to the device. */
void vgpu_reserves_note_free(void);

/* Without the lock. The driver has synchronised RESULT-fully: what was freed may have been given back. Returns RESULT. */
CUresult vgpu_reserves_synchronised(CUresult result);

/* Without the lock. Read all again, unless another thread is at them: it will. */
void vgpu_reserves_settle(void);

/* Without the lock. DEVICE was reset: a pool that the driver no longer knows is gone. */
void vgpu_reserves_reset(unsigned device);

/* Without the lock. Give back what DEVICE's reserves do not use. Whether that was anything. */
bool vgpu_reserves_trim(unsigned device);

#endif
