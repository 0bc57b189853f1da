/*
 * Arithmetic on the shared region: reserve and release, claim, reap, audit. Atomics only: no lock, no file, no allocation, no
 * knowledge of CUDA. Whatever instruction a process dies at, a device's counter is exact or too high, never too low; what is
 * too high is found by the next reap and audit. Where the region comes from is region_file.h's.
 */
#ifndef VGPU_SLOTS_H
#define VGPU_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "identity.h"
#include "region.h"

/*
 * Charge BYTES of device INDEX to SLOT. False, and nothing charged, when the share would be exceeded.
 *
 * The counter rises before the driver is asked, and by compare-and-exchange: with fetch-add, a neighbour that keeps asking for
 * too much makes fitting requests fail. The slot follows the device; in between, begin != end tells the audit. Any thread.
 * The acquire-release exchanges pair with the loads of vgpu_slots_audit.
 */
static inline bool vgpu_reserve(struct vgpu_region_device *device, struct vgpu_region_slot *slot, unsigned index,
                                uint64_t limit, uint64_t bytes)
{
	uint64_t now, peak;
	bool fits;

	atomic_fetch_add_explicit(&slot->begin, 1, memory_order_acq_rel);
	now = atomic_load_explicit(&device->used, memory_order_relaxed);
	do
		fits = now <= limit && bytes <= limit - now;	/* "now + bytes > limit" can wrap */
	while (fits && !atomic_compare_exchange_weak_explicit(&device->used, &now, now + bytes, memory_order_acq_rel,
	                                                      memory_order_relaxed));
	if (fits)
		atomic_fetch_add_explicit(&slot->used[index], bytes, memory_order_acq_rel);
	atomic_fetch_add_explicit(&slot->end, 1, memory_order_acq_rel);
	if (!fits)
		return false;
	peak = atomic_load_explicit(&device->peak, memory_order_relaxed);
	while (peak < now + bytes && !atomic_compare_exchange_weak_explicit(&device->peak, &peak, now + bytes,
	                                                                   memory_order_relaxed, memory_order_relaxed))
		;
	return true;
}

/* Give back what vgpu_reserve has charged: slot first, device second, so that a death in between leaves too much. Any thread. */
static inline void vgpu_release(struct vgpu_region_device *device, struct vgpu_region_slot *slot, unsigned index,
                                uint64_t bytes)
{
	atomic_fetch_add_explicit(&slot->begin, 1, memory_order_acq_rel);
	atomic_fetch_sub_explicit(&slot->used[index], bytes, memory_order_acq_rel);
	atomic_fetch_sub_explicit(&device->used, bytes, memory_order_acq_rel);
	atomic_fetch_add_explicit(&slot->end, 1, memory_order_acq_rel);
}

/*
 * What of SLOT's charge other processes may hold on to: it outlives the slot's owner, in the anonymous slot. Sharing is said
 * after the charge and taken back before the bytes are released, so that a death in between leaves too much. Any thread.
 */
static inline void vgpu_share(struct vgpu_region_slot *slot, unsigned index, uint64_t bytes)
{
	atomic_fetch_add_explicit(&slot->shared[index], bytes, memory_order_acq_rel);
}

static inline void vgpu_unshare(struct vgpu_region_slot *slot, unsigned index, uint64_t bytes)
{
	uint64_t now = atomic_load_explicit(&slot->shared[index], memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(&slot->shared[index], &now, now < bytes ? 0 : now - bytes,
	                                              memory_order_acq_rel, memory_order_relaxed))
		;
}

/*
 * Give BYTES of SLOT's charge, which it has shared, to the anonymous slot: its owner lets go of what others still hold. The
 * device is charged twice in between, as a death there must leave too much. Any thread.
 */
void vgpu_hand_over(struct vgpu_region *region, struct vgpu_region_slot *slot, unsigned index, uint64_t bytes);

/* How the arithmetic asks whether a process lives; the seam for tests. vgpu_identity_life is the real one. */
typedef enum vgpu_life vgpu_life_function(const struct vgpu_identity *who, const struct vgpu_identity *self,
                                          uint64_t start_time_mask);

/*
 * A LIVE slot for SELF, or NULL when all are taken. One that SELF already owns, from before an exec, is emptied and used
 * again: the device memory of the old image is gone. Call once per process image, by one thread at a time.
 */
struct vgpu_region_slot *vgpu_slots_claim(struct vgpu_region *region, const struct vgpu_identity *self);

/*
 * Give back what dead processes hold; what they shared goes to the anonymous slot, for who may still hold it. Returns whether any
 * slot was freed. Any thread, any number of processes at once.
 */
bool vgpu_slots_reap(struct vgpu_region *region, const struct vgpu_identity *self, vgpu_life_function *life);

/*
 * Correct device counters that are above the sum of their slots: what a process left that died between two steps. Does nothing
 * unless no process is between two steps now, which a stopped one may be for hours. Returns whether any was corrected.
 */
bool vgpu_slots_audit(struct vgpu_region *region);

/* Whether a slot is of another PID namespace than SELF's: whether its process lives cannot be told from here. */
bool vgpu_slots_have_foreign(const struct vgpu_region *region, const struct vgpu_identity *self);

/*
 * Empty and free the slots of other PID namespaces, unless a process of SELF's own may be alive. Only with the exclusive lock
 * on VGPU_LOCK_USERS, which tells that nobody of any namespace holds the region. Returns whether they were freed.
 */
bool vgpu_slots_clear_foreign(struct vgpu_region *region, const struct vgpu_identity *self, vgpu_life_function *life);

/* Empty the anonymous slot. Only with the exclusive lock on VGPU_LOCK_ANONYMOUS, which tells that nobody is in it. */
void vgpu_slots_clear_anonymous(struct vgpu_region *region);

#endif
