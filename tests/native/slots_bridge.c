/*
 * slots.c and pointers.c for a test that calls them through cffi: who is dead is the test's word, and an act can end after any
 * of its steps, as if the process had been killed there.
 */
#include <stdlib.h>
#include <string.h>

#include "pointers.h"
#include "slots.h"

struct identity { uint32_t pid; uint64_t start_time, pid_namespace; };
struct pointer { uint64_t bytes; unsigned device; int kind; };

static bool dead[1024];

static struct vgpu_identity as_ours(struct identity who)
{
	return (struct vgpu_identity){ who.pid, who.start_time, who.pid_namespace };
}

static enum vgpu_life life(const struct vgpu_identity *who, const struct vgpu_identity *self, uint64_t start_time_mask)
{
	(void)start_time_mask;
	if (who->pid_namespace != self->pid_namespace)
		return VGPU_CANNOT_TELL;
	return dead[who->pid % 1024] ? VGPU_DEAD : VGPU_ALIVE;
}

void set_dead(uint32_t pid, int is_dead)
{
	dead[pid % 1024] = is_dead != 0;
}

struct vgpu_region *region_new(void)
{
	struct vgpu_region *region = aligned_alloc(4096, sizeof(*region));

	memset(region, 0, sizeof(*region));
	return region;
}

void region_delete(struct vgpu_region *region)
{
	free(region);
}

int reserve(struct vgpu_region *region, int slot, unsigned device, uint64_t limit, uint64_t bytes)
{
	return vgpu_reserve(&region->devices[device], &region->slots[slot], device, limit, bytes);
}

void release(struct vgpu_region *region, int slot, unsigned device, uint64_t bytes)
{
	vgpu_release(&region->devices[device], &region->slots[slot], device, bytes);
}

int claim(struct vgpu_region *region, struct identity who)
{
	struct vgpu_identity self = as_ours(who);
	struct vgpu_region_slot *slot = vgpu_slots_claim(region, &self);

	return slot ? (int)(slot - region->slots) : -1;
}

bool reap(struct vgpu_region *region, struct identity who)
{
	struct vgpu_identity self = as_ours(who);

	return vgpu_slots_reap(region, &self, life);
}

bool audit(struct vgpu_region *region)
{
	return vgpu_slots_audit(region);
}

bool clear_foreign(struct vgpu_region *region, struct identity who)
{
	struct vgpu_identity self = as_ours(who);

	return vgpu_slots_have_foreign(region, &self) && vgpu_slots_clear_foreign(region, &self, life);
}

void reserve_anonymous(struct vgpu_region *region, unsigned device, uint64_t bytes)
{
	vgpu_reserve(&region->devices[device], &region->anonymous, device, UINT64_MAX, bytes);
}

void clear_anonymous(struct vgpu_region *region)
{
	vgpu_slots_clear_anonymous(region);
}

uint64_t anonymous_begin(struct vgpu_region *region)
{
	return region->anonymous.begin;
}

uint64_t anonymous_end(struct vgpu_region *region)
{
	return region->anonymous.end;
}

uint64_t device_used(struct vgpu_region *region, unsigned device)
{
	return region->devices[device].used;
}

uint64_t device_peak(struct vgpu_region *region, unsigned device)
{
	return region->devices[device].peak;
}

uint64_t slot_used(struct vgpu_region *region, int slot, unsigned device)
{
	return region->slots[slot].used[device];
}

uint64_t slot_state(struct vgpu_region *region, int slot)
{
	return region->slots[slot].state & VGPU_SLOT_STATE_MASK;
}

/* The first STEP of the four steps of vgpu_reserve. */
void die_reserving(struct vgpu_region *region, int slot, unsigned device, uint64_t bytes, int step)
{
	if (step > 0)
		region->slots[slot].begin++;
	if (step > 1)
		region->devices[device].used += bytes;
	if (step > 2)
		region->slots[slot].used[device] += bytes;
}

/* The same of vgpu_release. */
void die_releasing(struct vgpu_region *region, int slot, unsigned device, uint64_t bytes, int step)
{
	if (step > 0)
		region->slots[slot].begin++;
	if (step > 1)
		region->slots[slot].used[device] -= bytes;
	if (step > 2)
		region->devices[device].used -= bytes;
}

/* 0: the slot is marked; 1: and emptied; 2: and taken off the device. The word is written as slots.c writes it. */
void die_reaping(struct vgpu_region *region, int slot, struct identity who, int step)
{
	uint64_t namespace = (who.pid_namespace * UINT64_C(0x9e3779b97f4a7c15)) >> 52, bytes = region->slots[slot].used[0];

	region->slots[slot].state = (uint64_t)who.pid << 32 | (who.start_time & 0xffff) << 16 | namespace << 4 | VGPU_SLOT_REAPING;
	if (step > 0)
		region->slots[slot].used[0] = 0;
	if (step > 1)
		region->devices[0].used -= bytes;
}

void die_claiming(struct vgpu_region *region, int slot, struct identity who)
{
	uint64_t namespace = (who.pid_namespace * UINT64_C(0x9e3779b97f4a7c15)) >> 52;

	region->slots[slot].state = (uint64_t)who.pid << 32 | (who.start_time & 0xffff) << 16 | namespace << 4 | VGPU_SLOT_CLAIMING;
	region->header.high_water = (uint32_t)slot + 1;
}

struct vgpu_pointers *table_new(void)
{
	return calloc(1, sizeof(struct vgpu_pointers));
}

void table_delete(struct vgpu_pointers *table)
{
	vgpu_pointers_clear(table);
	free(table);
}

bool table_add(struct vgpu_pointers *table, uint64_t key, struct pointer value, struct pointer *stale)
{
	struct vgpu_pointer found;
	bool added = vgpu_pointers_add(table, key, (struct vgpu_pointer){ value.bytes, value.device, value.kind }, &found);

	stale->bytes = found.bytes;
	return added;
}

bool table_take(struct vgpu_pointers *table, uint64_t key, struct pointer *value)
{
	struct vgpu_pointer found = { 0 };
	bool known = vgpu_pointers_take(table, key, &found);

	*value = (struct pointer){ found.bytes, found.device, (int)found.kind };
	return known;
}

static void count_one(uint64_t key, struct vgpu_pointer value, void *data)
{
	(void)key;
	(void)value;
	++*(size_t *)data;
}

size_t table_count(struct vgpu_pointers *table)
{
	size_t count = 0;

	vgpu_pointers_visit(table, count_one, &count);
	return count;
}

bool stat_parse(const char *text, size_t length, struct vgpu_stat *stat)
{
	return vgpu_stat_parse(text, length, stat);
}
