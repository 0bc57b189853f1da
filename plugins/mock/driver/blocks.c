/* See blocks.h. */
#define _GNU_SOURCE
#include "blocks.h"

#include "cuda_shared.h"

#include <string.h>
#include <sys/mman.h>

enum {
	SMALLEST = 9,                           /* 512 bytes: the alignment that programs rely on */
	PAGE = 12,
	LARGEST = 40,
	SHELVES = LARGEST + 1,
	CHUNK = 1 << 14,                        /* records that are mapped at a time, and only touched when used */
	CHUNKS = 256,
};

/* A space is a row of windows, one per slot size. */
struct space {
	uint64_t base;
	unsigned window;                        /* log2 of a window's size */
};

static const struct space device_space = {1ULL << 47, 44};
static const struct space managed_space = {1ULL << 45, 40};     /* above sanitizers' shadows, below where Linux maps from the top */

/* All slots of one size in one space. */
struct shelf {
	struct block *chunk[CHUNKS];
	struct block *free;
	uint32_t used;                          /* slots ever used */
};

static struct shelf shelves[2][SHELVES];

static const struct space *space_of(bool managed)
{
	return managed ? &managed_space : &device_space;
}

static unsigned shift_for(uint64_t bytes, bool managed)
{
	unsigned least = managed ? PAGE : SMALLEST;
	unsigned shift = bytes > 1 ? 64u - (unsigned)__builtin_clzll(bytes - 1) : 0;

	return shift < least ? least : shift;
}

static void *map(void *at, uint64_t size)
{
	void *found = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (found == MAP_FAILED)
		return NULL;
	if (at && found != at) {
		munmap(found, size);
		return NULL;
	}
	return found;
}

static struct block *record(struct shelf *shelf, uint32_t index)
{
	return &shelf->chunk[index / CHUNK][index % CHUNK];
}

static struct block *fresh_slot(struct shelf *shelf, unsigned shift, bool managed)
{
	uint32_t index = shelf->used;
	struct block *block;

	if (index / CHUNK >= CHUNKS || (uint64_t)index << shift >= 1ULL << space_of(managed)->window)
		return NULL;
	if (!shelf->chunk[index / CHUNK])
		shelf->chunk[index / CHUNK] = map(NULL, CHUNK * sizeof *block);
	if (!shelf->chunk[index / CHUNK])
		return NULL;
	shelf->used++;
	block = record(shelf, index);
	block->index = index;
	block->shift = (uint8_t)shift;
	block->managed = managed;
	return block;
}

static void put_back(struct block *block)
{
	struct shelf *shelf = &shelves[block->managed][block->shift];

	block->used = false;
	block->next = shelf->free;
	shelf->free = block;
}

struct block *block_begin(uint64_t bytes, bool managed)
{
	unsigned shift = shift_for(bytes, managed);
	struct shelf *shelf = &shelves[managed][shift];
	struct block *block = shelf->free;

	if (block)
		shelf->free = block->next;
	else
		block = fresh_slot(shelf, shift, managed);
	if (!block)
		return NULL;
	block->bytes = NULL;
	block->shared = NULL;
	block->requested = bytes;
	block->used = true;
	block->flags = 0;
	if (managed && !block_bytes(block)) {
		put_back(block);
		return NULL;
	}
	return block;
}

void block_end(struct block *block)
{
	if (block->bytes)
		munmap(block->bytes, block_size(block));
	put_back(block);
}

CUdeviceptr block_address(const struct block *block)
{
	const struct space *space = space_of(block->managed);

	return space->base + ((uint64_t)block->shift << space->window) + ((uint64_t)block->index << block->shift);
}

static struct block *find(CUdeviceptr address, bool managed)
{
	const struct space *space = space_of(managed);
	uint64_t offset = address - space->base;
	uint64_t shift = offset >> space->window;
	uint64_t index;
	struct shelf *shelf;
	struct block *block;

	if (address < space->base || shift >= SHELVES)
		return NULL;
	shelf = &shelves[managed][shift];
	index = (offset & ((1ULL << space->window) - 1)) >> shift;
	if (index >= shelf->used)
		return NULL;
	block = record(shelf, (uint32_t)index);
	return block->used ? block : NULL;
}

struct block *block_around(CUdeviceptr address)
{
	struct block *block = find(address, address < device_space.base);

	return block && address - block_address(block) < block->requested ? block : NULL;
}

struct block *block_at(CUdeviceptr address)
{
	struct block *block = find(address, address < device_space.base);

	return block && block_address(block) == address ? block : NULL;
}

uint64_t block_size(const struct block *block)
{
	return 1ULL << block->shift < 1 << PAGE ? 1 << PAGE : 1ULL << block->shift;
}

char *block_bytes(struct block *block)
{
	if (!block->bytes && block->shared)
		return shared_bytes(block->shared, &block->bytes);
	if (!block->bytes)
		block->bytes = map(block->managed ? (void *)(uintptr_t)block_address(block) : NULL, block_size(block));
	return block->bytes;
}
