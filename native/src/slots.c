#include "slots.h"

#define START_TIME_MASK UINT64_C(0xffff)	/* what a state word holds of it */

/* What SELF does with a slot: the state word, as region.h lays it out. */
static uint64_t state_word(enum vgpu_slot_state state, const struct vgpu_identity *self)
{
	uint64_t namespace = (self->pid_namespace * UINT64_C(0x9e3779b97f4a7c15)) >> 52;

	return (uint64_t)self->pid << 32 | (self->start_time & START_TIME_MASK) << 16 | namespace << 4 | (uint64_t)state;
}

static enum vgpu_slot_state state_of(uint64_t word)
{
	return (enum vgpu_slot_state)(word & VGPU_SLOT_STATE_MASK);
}

static bool exchange_state(struct vgpu_region_slot *slot, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong_explicit(&slot->state, &from, to, memory_order_acq_rel, memory_order_acquire);
}

static struct vgpu_identity identity_of(const struct vgpu_region_slot *slot)
{
	return (struct vgpu_identity){ slot->pid, slot->start_time, slot->pid_namespace };
}

static uint32_t high_water(const struct vgpu_region *region)
{
	uint32_t mark = atomic_load_explicit(&region->header.high_water, memory_order_acquire);

	return mark < VGPU_MAX_SLOTS ? mark : VGPU_MAX_SLOTS;	/* the file is writable by others: never trust an index */
}

/* The device first, and once more than is held; whoever calls takes it off again with the slot's own. */
static void give_to_anonymous(struct vgpu_region *region, unsigned index, uint64_t bytes)
{
	atomic_fetch_add_explicit(&region->anonymous.begin, 1, memory_order_acq_rel);
	atomic_fetch_add_explicit(&region->devices[index].used, bytes, memory_order_acq_rel);
	atomic_fetch_add_explicit(&region->anonymous.used[index], bytes, memory_order_acq_rel);
	atomic_fetch_add_explicit(&region->anonymous.end, 1, memory_order_acq_rel);
}

void vgpu_hand_over(struct vgpu_region *region, struct vgpu_region_slot *slot, unsigned index, uint64_t bytes)
{
	atomic_fetch_add_explicit(&slot->begin, 1, memory_order_acq_rel);
	give_to_anonymous(region, index, bytes);
	vgpu_unshare(slot, index, bytes);
	atomic_fetch_sub_explicit(&slot->used[index], bytes, memory_order_acq_rel);
	atomic_fetch_sub_explicit(&region->devices[index].used, bytes, memory_order_acq_rel);
	atomic_fetch_add_explicit(&slot->end, 1, memory_order_acq_rel);
}

/* What a slot that is being emptied has shared. Never more than it was charged: the file is writable by others. */
static void keep_shared(struct vgpu_region *region, struct vgpu_region_slot *slot, unsigned index)
{
	uint64_t shared = atomic_load_explicit(&slot->shared[index], memory_order_acquire);
	uint64_t used = atomic_load_explicit(&slot->used[index], memory_order_acquire);

	if (shared && used)
		give_to_anonymous(region, index, shared < used ? shared : used);
	atomic_store_explicit(&slot->shared[index], 0, memory_order_release);
}

/* Take everything out of a slot whose owner is gone, and off the devices' sums. Dying in between leaves too much there. */
static void empty(struct vgpu_region *region, struct vgpu_region_slot *slot)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		keep_shared(region, slot, i);
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++) {
		struct vgpu_region_device *device = &region->devices[i];
		uint64_t bytes = atomic_exchange_explicit(&slot->used[i], 0, memory_order_acq_rel);
		uint64_t time = atomic_exchange_explicit(&slot->in_flight_ns[i], 0, memory_order_acq_rel);

		if (bytes)
			atomic_fetch_sub_explicit(&device->used, bytes, memory_order_acq_rel);
		if (time)
			atomic_fetch_sub_explicit(&device->in_flight_ns, time, memory_order_acq_rel);
		atomic_store_explicit(&slot->context[i], 0, memory_order_relaxed);
		atomic_store_explicit(&slot->launches[i], 0, memory_order_relaxed);
		atomic_store_explicit(&slot->busy_ns[i], 0, memory_order_relaxed);
	}
	atomic_store_explicit(&slot->end, atomic_load_explicit(&slot->begin, memory_order_acquire), memory_order_release);
}

/* Whether the process whose act the state word tells is dead. The word holds only parts of its identity. */
static bool actor_is_dead(uint64_t word, const struct vgpu_identity *self, vgpu_life_function *life)
{
	struct vgpu_identity actor = { (uint32_t)(word >> 32), word >> 16 & START_TIME_MASK, self->pid_namespace };

	if (state_word(state_of(word), &actor) != word)
		return false;		/* another PID namespace: cannot tell */
	return life(&actor, self, START_TIME_MASK) == VGPU_DEAD;
}

static bool reap(struct vgpu_region *region, struct vgpu_region_slot *slot, const struct vgpu_identity *self,
                 vgpu_life_function *life)
{
	uint64_t word = atomic_load_explicit(&slot->state, memory_order_acquire);
	uint64_t reaping = state_word(VGPU_SLOT_REAPING, self);
	struct vgpu_identity owner = identity_of(slot);

	switch (state_of(word)) {
	case VGPU_SLOT_FREE:
		return false;
	case VGPU_SLOT_LIVE:
		if (life(&owner, self, UINT64_MAX) != VGPU_DEAD)
			return false;
		break;
	default:
		if (!actor_is_dead(word, self, life))
			return false;
	}
	/* The word carries its owner, so this fails if the slot has changed hands since it was read. */
	if (!exchange_state(slot, word, reaping))
		return false;
	empty(region, slot);
	return exchange_state(slot, reaping, VGPU_SLOT_FREE);
}

bool vgpu_slots_reap(struct vgpu_region *region, const struct vgpu_identity *self, vgpu_life_function *life)
{
	uint32_t mark = high_water(region);
	bool any = false;

	for (uint32_t i = 0; i < mark; i++)
		any |= reap(region, &region->slots[i], self, life);
	return any;
}

static unsigned namespace_bits(uint64_t word)
{
	return (unsigned)(word >> 4 & 0xfff);
}

/* A LIVE slot tells its owner's namespace, and 0 where it could not; of an actor there is only the hash. */
static bool is_foreign(const struct vgpu_region_slot *slot, const struct vgpu_identity *self)
{
	uint64_t word = atomic_load_explicit(&slot->state, memory_order_acquire);

	if (!self->pid_namespace || state_of(word) == VGPU_SLOT_FREE)
		return false;
	if (state_of(word) == VGPU_SLOT_LIVE)
		return slot->pid_namespace && slot->pid_namespace != self->pid_namespace;
	return namespace_bits(word) && namespace_bits(word) != namespace_bits(state_word(VGPU_SLOT_FREE, self));
}

bool vgpu_slots_have_foreign(const struct vgpu_region *region, const struct vgpu_identity *self)
{
	uint32_t mark = high_water(region);

	for (uint32_t i = 0; i < mark; i++)
		if (is_foreign(&region->slots[i], self))
			return true;
	return false;
}

bool vgpu_slots_clear_foreign(struct vgpu_region *region, const struct vgpu_identity *self, vgpu_life_function *life)
{
	uint64_t reaping = state_word(VGPU_SLOT_REAPING, self);
	uint32_t mark = high_water(region);

	vgpu_slots_reap(region, self, life);
	for (uint32_t i = 0; i < mark; i++)
		if (state_of(atomic_load_explicit(&region->slots[i].state, memory_order_acquire)) != VGPU_SLOT_FREE &&
		    !is_foreign(&region->slots[i], self))
			return false;
	for (uint32_t i = 0; i < mark; i++) {
		struct vgpu_region_slot *slot = &region->slots[i];
		uint64_t word = atomic_load_explicit(&slot->state, memory_order_acquire);

		if (state_of(word) == VGPU_SLOT_FREE || !exchange_state(slot, word, reaping))
			continue;
		empty(region, slot);
		exchange_state(slot, reaping, VGPU_SLOT_FREE);
	}
	vgpu_slots_audit(region);
	return true;
}

static bool is_live_of(const struct vgpu_region_slot *slot, const struct vgpu_identity *self)
{
	return atomic_load_explicit(&slot->state, memory_order_acquire) == state_word(VGPU_SLOT_LIVE, self) &&
	       slot->pid == self->pid && slot->start_time == self->start_time && slot->pid_namespace == self->pid_namespace;
}

/*
 * What this very process left before it called exec: its slot, which is returned empty, and slots that another of its threads
 * was just claiming or reaping.
 */
static struct vgpu_region_slot *recover(struct vgpu_region *region, const struct vgpu_identity *self)
{
	uint64_t claiming = state_word(VGPU_SLOT_CLAIMING, self), reaping = state_word(VGPU_SLOT_REAPING, self);
	struct vgpu_region_slot *own = NULL;
	uint32_t mark = high_water(region);

	for (uint32_t i = 0; i < mark && self->start_time && self->pid_namespace; i++) {
		struct vgpu_region_slot *slot = &region->slots[i];

		if (!own && is_live_of(slot, self)) {
			own = slot;
			atomic_fetch_add_explicit(&slot->begin, 1, memory_order_acq_rel);	/* empty() closes it */
			empty(region, slot);
		}
		exchange_state(slot, claiming, VGPU_SLOT_FREE);
		if (atomic_load_explicit(&slot->state, memory_order_acquire) == reaping) {
			empty(region, slot);
			exchange_state(slot, reaping, VGPU_SLOT_FREE);
		}
	}
	return own;
}

static void raise_high_water(struct vgpu_region *region, uint32_t mark)
{
	uint32_t now = atomic_load_explicit(&region->header.high_water, memory_order_relaxed);

	while (now < mark && !atomic_compare_exchange_weak_explicit(&region->header.high_water, &now, mark,
	                                                           memory_order_acq_rel, memory_order_relaxed))
		;
}

struct vgpu_region_slot *vgpu_slots_claim(struct vgpu_region *region, const struct vgpu_identity *self)
{
	struct vgpu_region_slot *slot = recover(region, self);
	uint64_t claiming = state_word(VGPU_SLOT_CLAIMING, self);

	if (slot)
		return slot;
	for (uint32_t i = 0; i < VGPU_MAX_SLOTS; i++) {
		slot = &region->slots[i];
		if (!exchange_state(slot, VGPU_SLOT_FREE, claiming))
			continue;
		raise_high_water(region, i + 1);	/* before LIVE: an audit that misses the slot sees the mark move */
		slot->pid = self->pid;
		slot->start_time = self->start_time;
		slot->pid_namespace = self->pid_namespace;
		atomic_store_explicit(&slot->state, state_word(VGPU_SLOT_LIVE, self), memory_order_release);
		return slot;
	}
	return NULL;
}

/* One slot as the audit's first pass finds it, if it is at rest. */
struct rest {
	uint64_t begin, state;
};

static bool note_rest(const struct vgpu_region_slot *slot, struct rest *rest, uint64_t sums[VGPU_MAX_DEVICES])
{
	uint64_t end = atomic_load_explicit(&slot->end, memory_order_acquire);

	rest->state = atomic_load_explicit(&slot->state, memory_order_acquire);
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		sums[i] += atomic_load_explicit(&slot->used[i], memory_order_acquire);
	rest->begin = atomic_load_explicit(&slot->begin, memory_order_acquire);
	return rest->begin == end && state_of(rest->state) != VGPU_SLOT_REAPING;
}

static bool still_rests(const struct vgpu_region_slot *slot, const struct rest *rest)
{
	return atomic_load_explicit(&slot->begin, memory_order_acquire) == rest->begin &&
	       atomic_load_explicit(&slot->state, memory_order_acquire) == rest->state;
}

/*
 * Two passes. If no slot was inside its brackets in the first, and none has entered them by the second, then at the moment
 * between the passes nobody was, and the sums and the device values read there belong together. A change after the second
 * pass makes the exchange fail, or has put the value back.
 */
bool vgpu_slots_audit(struct vgpu_region *region)
{
	struct rest rests[VGPU_MAX_SLOTS + 1];
	uint64_t sums[VGPU_MAX_DEVICES] = { 0 }, used[VGPU_MAX_DEVICES];
	uint32_t mark = high_water(region);
	bool any = false;

	if (!note_rest(&region->anonymous, &rests[VGPU_MAX_SLOTS], sums))
		return false;
	for (uint32_t i = 0; i < mark; i++)
		if (!note_rest(&region->slots[i], &rests[i], sums))
			return false;
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		used[i] = atomic_load_explicit(&region->devices[i].used, memory_order_acquire);
	for (uint32_t i = 0; i < mark; i++)
		if (!still_rests(&region->slots[i], &rests[i]))
			return false;
	if (!still_rests(&region->anonymous, &rests[VGPU_MAX_SLOTS]) || high_water(region) != mark)
		return false;
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (used[i] > sums[i])
			any |= atomic_compare_exchange_strong_explicit(&region->devices[i].used, &used[i], sums[i],
			                                               memory_order_acq_rel, memory_order_relaxed);
	return any;
}

/* Its state stays FREE, so the brackets alone tell an audit that it is between two steps; empty() closes them. */
void vgpu_slots_clear_anonymous(struct vgpu_region *region)
{
	atomic_fetch_add_explicit(&region->anonymous.begin, 1, memory_order_acq_rel);
	empty(region, &region->anonymous);
}
