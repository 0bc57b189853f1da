/*
 * The arithmetic of the interposer under the compiler's sanitizers, which end the program at the first wrong step.
 *
 *   sanitized limits        Reads records from standard input, each 4 bytes of length and as many of text, parses each as a
 *                           limits text, as a UUID and as a size, and prints a line with the reason that closes the text.
 *   sanitized acts SEED N   N random acts on a region, on a pointer table and on allocations, against plain arithmetic beside them.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "limits.h"
#include "pointers.h"
#include "slots.h"

#define OWNERS 32u
#define KEYS 512u

static int parse_records(void)
{
	uint32_t length;

	while (fread(&length, sizeof(length), 1, stdin) == 1) {
		char *exact = malloc(length), *terminated = calloc(1, (size_t)length + 1);	/* a byte too far is found */
		struct vgpu_limits limits;
		struct vgpu_fault fault;
		uint8_t uuid[16];
		uint64_t bytes;

		if (!exact || !terminated || fread(exact, 1, length, stdin) != length)
			return 1;
		memcpy(terminated, exact, length);
		printf("%d\n", (int)vgpu_limits_parse(exact, length, &limits, &fault));
		vgpu_limits_parse_uuid(exact, length, uuid);
		vgpu_limits_parse_size(terminated, &bytes);
		free(exact);
		free(terminated);
	}
	return 0;
}

static uint64_t seed;

static uint64_t random_below(uint64_t end)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % end;
}

static bool dead[OWNERS];

static enum vgpu_life life(const struct vgpu_identity *who, const struct vgpu_identity *self, uint64_t start_time_mask)
{
	(void)start_time_mask;
	if (who->pid_namespace != self->pid_namespace)
		return VGPU_CANNOT_TELL;
	return who->pid < OWNERS && dead[who->pid] ? VGPU_DEAD : VGPU_ALIVE;
}

static struct vgpu_region *region;
static struct vgpu_region_slot *slots[OWNERS];		/* NULL: owns none */
static uint64_t held[OWNERS][VGPU_MAX_DEVICES], shared[OWNERS][VGPU_MAX_DEVICES], left[VGPU_MAX_DEVICES];
static struct vgpu_pointers table;
static uint64_t known[KEYS];				/* bytes; 0: not in the table */

static struct vgpu_identity identity(unsigned owner)
{
	return (struct vgpu_identity){ owner, 1000 + owner, owner % 8 ? 4026531836 : 77 };	/* some are of elsewhere */
}

static uint64_t sum_of(unsigned device)
{
	uint64_t sum = left[device];

	for (unsigned owner = 0; owner < OWNERS; owner++)
		sum += held[owner][device];
	return sum;
}

/* Some of what an owner holds is shared, kept for itself again, or left to the others. */
static void share_or_hand_over(unsigned owner)
{
	unsigned device = (unsigned)random_below(VGPU_MAX_DEVICES);
	uint64_t bytes;

	if (!slots[owner])
		return;
	if (random_below(2)) {
		bytes = random_below(held[owner][device] - shared[owner][device] + 1);
		vgpu_share(slots[owner], device, bytes);
		shared[owner][device] += bytes;
		return;
	}
	bytes = random_below(shared[owner][device] + 1);
	shared[owner][device] -= bytes;
	if (random_below(2)) {
		vgpu_unshare(slots[owner], device, bytes);
		return;
	}
	vgpu_hand_over(region, slots[owner], device, bytes);
	held[owner][device] -= bytes;
	left[device] += bytes;
	assert(region->devices[device].used == sum_of(device) && !vgpu_slots_audit(region));
}

static void clear_anonymous(void)
{
	vgpu_slots_clear_anonymous(region);
	memset(left, 0, sizeof(left));
}

static void reserve_or_release(unsigned owner)
{
	unsigned device = (unsigned)random_below(VGPU_MAX_DEVICES);
	uint64_t limit = random_below(2) ? random_below(UINT64_MAX) : random_below(1 << 20), bytes = random_below(1 << 16);
	struct vgpu_identity self = identity(owner);
	uint64_t before = sum_of(device);

	if (!slots[owner])
		slots[owner] = vgpu_slots_claim(region, &self);
	assert(slots[owner]);
	if (random_below(2)) {
		bool fits = vgpu_reserve(&region->devices[device], slots[owner], device, limit, bytes);

		assert(fits == (before + bytes <= limit));
		held[owner][device] += fits ? bytes : 0;
	} else if (held[owner][device]) {
		bytes = random_below(held[owner][device] - shared[owner][device] + 1);
		vgpu_release(&region->devices[device], slots[owner], device, bytes);
		held[owner][device] -= bytes;
	}
	assert(region->devices[device].used == sum_of(device));
}

/* An owner dies, and one that is alive and of the same namespace reaps. */
static void die(unsigned owner)
{
	struct vgpu_identity reaper = identity(1);

	if (owner % 8 == 0 || owner == 1)
		return;
	dead[owner] = true;
	vgpu_slots_reap(region, &reaper, life);
	assert(!vgpu_slots_audit(region));
	dead[owner] = false;
	slots[owner] = NULL;
	for (unsigned device = 0; device < VGPU_MAX_DEVICES; device++) {
		left[device] += shared[owner][device];
		shared[owner][device] = held[owner][device] = 0;
		assert(region->devices[device].used == sum_of(device));
	}
}

static void add_or_take(void)
{
	unsigned key = (unsigned)random_below(KEYS);
	uint64_t address = (UINT64_C(0x7f) << 40) + (uint64_t)(key + 1) * 512;
	struct vgpu_pointer value = { random_below((UINT64_C(1) << 56) - 1) + 1, (unsigned)random_below(16), VGPU_POINTER_MEMORY };
	struct vgpu_pointer found = { 0 };

	if (random_below(2)) {
		assert(vgpu_pointers_add(&table, address, value, &found));
		assert(found.bytes == known[key]);
		known[key] = value.bytes;
		return;
	}
	assert(vgpu_pointers_take(&table, address, &found) == (known[key] != 0));
	assert(found.bytes == known[key]);
	known[key] = 0;
}

#define HANDLES 64u
#define HOLDS 8u
#define PAGE UINT64_C(0x200000)

/* Allocations by handles that come again: each with references, and mappings in a range of its own that follow each other. */
static struct vgpu_allocations allocations;
static struct {
	struct vgpu_allocation *is;
	uint64_t bytes;
	unsigned references;
	bool mapped[HOLDS];
} known_allocations[HANDLES];

static uint64_t place(unsigned number, unsigned at)
{
	return (UINT64_C(0x10) << 40) + ((uint64_t)number * HOLDS + at) * PAGE;
}

static void settle(unsigned number)
{
	unsigned holds = known_allocations[number].references;
	bool last;

	for (unsigned at = 0; at < HOLDS; at++)
		holds += known_allocations[number].mapped[at];
	last = vgpu_allocations_settle(&allocations, known_allocations[number].is, true);
	assert(last == (holds == 0));
	if (!last)
		return;
	assert(known_allocations[number].is->bytes == known_allocations[number].bytes);
	assert(!vgpu_allocations_find(&allocations, number));
	vgpu_allocations_remove(&allocations, known_allocations[number].is);
	known_allocations[number].is = NULL;
}

static void unmap_some(unsigned number, unsigned at, unsigned count)
{
	struct vgpu_mapping *list = vgpu_allocations_unmap(&allocations, place(number, at), count * PAGE), *next;
	unsigned run = 0;

	while (run < count && at + run < HOLDS && known_allocations[number].mapped[at + run])
		run++;
	if (random_below(4) == 0) {		/* the driver refuses */
		vgpu_allocations_restore(&allocations, list);
		return;
	}
	for (unsigned i = 0; i < run; i++) {
		assert(list && list->start == place(number, at + i) && list->of == known_allocations[number].is);
		next = list->next;
		vgpu_allocations_forget(&allocations, list);
		known_allocations[number].mapped[at + i] = false;
		settle(number);
		list = next;
	}
	assert(!list);
}

static void hold_or_drop(void)
{
	unsigned number = (unsigned)random_below(HANDLES), at = (unsigned)random_below(HOLDS);
	struct vgpu_allocation *found = vgpu_allocations_find(&allocations, number);

	assert(found == known_allocations[number].is);
	if (!found) {
		known_allocations[number].bytes = random_below(UINT64_C(1) << 40);
		known_allocations[number].references = 1;
		known_allocations[number].is = vgpu_allocations_add(&allocations, number, known_allocations[number].bytes, 3);
		assert(known_allocations[number].is);
	} else if (random_below(3) == 0) {
		unmap_some(number, at, 1 + (unsigned)random_below(HOLDS - at));
	} else if (random_below(2) && !known_allocations[number].mapped[at]) {
		vgpu_allocation_hold(found);
		assert(vgpu_allocations_map(&allocations, place(number, at), PAGE, found));
		known_allocations[number].mapped[at] = true;
	} else if (known_allocations[number].references && random_below(3)) {
		known_allocations[number].references--;
		vgpu_allocation_drop(found);
		settle(number);
	} else {
		known_allocations[number].references++;
		vgpu_allocation_hold(found);
	}
}

static int act(unsigned long count)
{
	struct vgpu_identity survivor = identity(1);

	region = calloc(1, sizeof(*region));
	for (unsigned long i = 0; i < count; i++) {
		unsigned owner = (unsigned)random_below(OWNERS);

		add_or_take();
		hold_or_drop();
		share_or_hand_over(owner);
		if (random_below(16))
			reserve_or_release(owner);
		else
			die(owner);
		if (random_below(64) == 0)
			clear_anonymous();
	}
	for (unsigned owner = 0; owner < OWNERS; owner++)
		dead[owner] = true;
	assert(!vgpu_slots_have_foreign(region, &survivor) || vgpu_slots_clear_foreign(region, &survivor, life));
	clear_anonymous();
	for (unsigned device = 0; device < VGPU_MAX_DEVICES; device++)
		assert(region->devices[device].used == 0);
	vgpu_pointers_clear(&table);
	vgpu_allocations_clear(&allocations);
	free(region);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "limits") == 0)
		return parse_records();
	if (argc != 4 || strcmp(argv[1], "acts") != 0)
		return 2;
	seed = strtoull(argv[2], NULL, 10);
	return act(strtoul(argv[3], NULL, 10));
}
