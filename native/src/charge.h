/*
 * Charging this process for device memory: reserve before the driver is asked, then record or give back. Attaches to the
 * region at the first charge or query, never earlier. Which driver call allocates what is for cuda_memory.c and cuda_context.c.
 *
 * Order, for an allocation: vgpu_charge, driver, vgpu_record or vgpu_discharge. For a free: vgpu_forget, driver, vgpu_discharge
 * or vgpu_remember. So physical <= accounted <= limit at every instant.
 */
#ifndef VGPU_CHARGE_H
#define VGPU_CHARGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "cuda_abi.h"
#include "pointers.h"
#include "process.h"
#include "region_file.h"
#include "slots.h"

#define VGPU_FOLLOW_NS INT64_C(100000000)	/* a changed limits file is noticed within 0.1 s, at 10 stat(2) a second */

/* Not wiped by a fork: a child finds no pointer of its own in it, and empties it when it attaches. */
extern struct vgpu_pointers vgpu_charged_pointers;

CUresult vgpu_charge_slowly(unsigned index, uint64_t bytes);
CUresult vgpu_charge_within_slowly(unsigned index, uint64_t bytes);
void vgpu_discharge_stale(struct vgpu_pointer stale);

/* The coarse clock costs 5 ns and no system call; its step of some ms is fine for what is done every 0.1 s. */
static inline bool vgpu_follow_is_due(struct vgpu_process *process)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec >=
	       atomic_load_explicit(&process->follow_at_ns, memory_order_relaxed);
}

/* Where the region has device INDEX of the grant: a limits file may list in another order than the one that began it. */
static inline unsigned vgpu_place(const struct vgpu_process *process, unsigned index)
{
	return process->place[index];
}

static inline CUresult vgpu_charge_or(unsigned index, uint64_t bytes, CUresult (*slowly)(unsigned, uint64_t))
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);
	struct vgpu_region *region;
	unsigned place;

	if (__builtin_expect(!slot || vgpu_follow_is_due(process), 0))
		return slowly(index, bytes);
	region = atomic_load_explicit(&process->region, memory_order_relaxed);
	place = vgpu_place(process, index);
	if (__builtin_expect(vgpu_reserve(&region->devices[place], slot, place,
	                                  atomic_load_explicit(&process->limit_bytes[index], memory_order_relaxed), bytes), 1))
		return CUDA_SUCCESS;
	return slowly(index, bytes);
}

/*
 * Reserve BYTES of device INDEX. CUDA_SUCCESS, CUDA_ERROR_OUT_OF_MEMORY, or CUDA_ERROR_NO_DEVICE when nothing is granted. Any
 * thread. Usually eight atomics and no lock, allocation or system call; a refusal, the first call and, ten times a second, a
 * look at the limits take the slow path. Before it refuses, this process' pools and graphs give back what they do not use.
 */
static inline CUresult vgpu_charge(unsigned index, uint64_t bytes)
{
	return vgpu_charge_or(index, bytes, vgpu_charge_slowly);
}

/* The same for pools and graphs themselves: nothing is asked of them, and no refusal is counted (vgpu_refused). */
static inline CUresult vgpu_charge_within(unsigned index, uint64_t bytes)
{
	return vgpu_charge_or(index, bytes, vgpu_charge_within_slowly);
}

/* Count a refusal that the program is about to be told of. */
void vgpu_refused(unsigned index, uint64_t bytes);

/* Give back BYTES of a charge of this process. Any thread; no slow path. */
static inline void vgpu_discharge(unsigned index, uint64_t bytes)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_region_slot *slot = atomic_load_explicit(&process->slot, memory_order_acquire);
	struct vgpu_region *region = atomic_load_explicit(&process->region, memory_order_relaxed);
	unsigned place = vgpu_place(process, index);

	if (slot)		/* NULL: a child that has forgotten its parent's charges */
		vgpu_release(&region->devices[place], slot, place, bytes);
}

/* Remember what KEY was charged. False: no memory for the record; the caller undoes the allocation and discharges it. */
static inline bool vgpu_record(uint64_t key, struct vgpu_pointer value)
{
	struct vgpu_pointer stale;

	if (!vgpu_pointers_add(&vgpu_charged_pointers, key, value, &stale))
		return false;
	if (__builtin_expect(stale.bytes != 0, 0))
		vgpu_discharge_stale(stale);
	return true;
}

/* Take KEY's record out. False: we have charged nothing for it. */
static inline bool vgpu_forget(uint64_t key, struct vgpu_pointer *value)
{
	return vgpu_pointers_take(&vgpu_charged_pointers, key, value);
}

/* What the three acts of slots.h on shared bytes are for this process' slot. Any thread; nothing where nothing is charged. */
void vgpu_share_charge(unsigned index, uint64_t bytes);
void vgpu_unshare_charge(unsigned index, uint64_t bytes);
void vgpu_hand_over_charge(unsigned index, uint64_t bytes);

/* The region's file, attached if need be; its region is NULL where none can be had. While the grant is OPEN. Slow path. */
struct vgpu_region_file vgpu_charge_file(void);

/* The part of INDEX's charge that is contexts has changed: shown by the region, used by no decision. */
void vgpu_note_context(unsigned index, int64_t bytes);

/*
 * Bytes charged to device INDEX by all processes of the grant, after the dead have been reaped. UINT64_MAX where no region can
 * be had: then nothing can be allocated either. While the grant is OPEN. Slow path.
 */
uint64_t vgpu_charged(unsigned index);

/* What a query of memory is told. Bytes. */
struct vgpu_memory_view {
	uint64_t total, free, used;
};

/*
 * The one answer to every query of device INDEX, given what the driver said: total is the limit or less, free is what can be
 * allocated now. Invariant: an allocation of exactly `free` succeeds, if nobody else is faster.
 */
struct vgpu_memory_view vgpu_view(unsigned index, uint64_t driver_total, uint64_t driver_free);

/* The region to read, attached if need be, or NULL; the dead have been reaped. While the grant is OPEN. Slow path. */
struct vgpu_region *vgpu_charge_region(void);

#endif
