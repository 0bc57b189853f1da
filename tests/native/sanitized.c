/*
 * The arithmetic of the interposer under the compiler's sanitizers, which end the program at the first wrong step.
 *
 *   sanitized limits        Reads records from standard input, each 4 bytes of length and as many of text, parses each as a
 *                           limits text, as a UUID and as a size, and prints a line with the reason that closes the text.
 *   sanitized acts SEED N   N random acts on a region and on a pointer table, against plain arithmetic beside them.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
static uint64_t held[OWNERS][VGPU_MAX_DEVICES];
static struct vgpu_pointers table;
static uint64_t known[KEYS];				/* bytes; 0: not in the table */

static struct vgpu_identity identity(unsigned owner)
{
	return (struct vgpu_identity){ owner, 1000 + owner, owner % 8 ? 4026531836 : 77 };	/* some are of elsewhere */
}

static uint64_t sum_of(unsigned device)
{
	uint64_t sum = 0;

	for (unsigned owner = 0; owner < OWNERS; owner++)
		sum += held[owner][device];
	return sum;
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
		bytes = random_below(held[owner][device] + 1);
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
	memset(held[owner], 0, sizeof(held[owner]));
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

static int act(unsigned long count)
{
	struct vgpu_identity survivor = identity(1);

	region = calloc(1, sizeof(*region));
	for (unsigned long i = 0; i < count; i++) {
		unsigned owner = (unsigned)random_below(OWNERS);

		add_or_take();
		if (random_below(16))
			reserve_or_release(owner);
		else
			die(owner);
	}
	for (unsigned owner = 0; owner < OWNERS; owner++)
		dead[owner] = true;
	assert(!vgpu_slots_have_foreign(region, &survivor) || vgpu_slots_clear_foreign(region, &survivor, life));
	for (unsigned device = 0; device < VGPU_MAX_DEVICES; device++)
		assert(region->devices[device].used == 0);
	vgpu_pointers_clear(&table);
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
