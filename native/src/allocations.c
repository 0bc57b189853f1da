#include "allocations.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_SIZE (64u << 10)

/* Allocations and mappings are cut from chunks, and are the same size so that either can be cut from any. */
union cell {
	struct vgpu_allocation allocation;
	struct vgpu_mapping mapping;
};

#define CELLS ((CHUNK_SIZE - sizeof(void *) * 2) / sizeof(union cell))

struct vgpu_allocations_chunk {
	struct vgpu_allocations_chunk *next;
	union cell cells[CELLS];
};

_Static_assert(sizeof(struct vgpu_allocations_chunk) <= CHUNK_SIZE, "a chunk is what is asked of the system at a time");

/* The table of pointers keeps 0 and 1 for itself; a driver's handle may be any number but the last two. */
static uint64_t key_of(uint64_t handle)
{
	return handle + 2;
}

static bool is_unusable(uint64_t handle)
{
	return key_of(handle) < 2;
}

/* Half of a new chunk for each kind. */
static bool grow(struct vgpu_allocations *table)
{
	struct vgpu_allocations_chunk *chunk = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (chunk == MAP_FAILED)
		return false;
	chunk->next = table->chunks;
	table->chunks = chunk;
	for (size_t i = 0; i + 1 < CELLS; i += 2) {
		chunk->cells[i].allocation.next = table->free_allocations;
		table->free_allocations = &chunk->cells[i].allocation;
		chunk->cells[i + 1].mapping.next = table->free_mappings;
		table->free_mappings = &chunk->cells[i + 1].mapping;
	}
	return true;
}

/* A pointer in the place of a count of bytes: addresses of programs are below 2^56, as the table demands. */
static bool index_add(struct vgpu_pointers *index, uint64_t key, const void *what)
{
	struct vgpu_pointer stale;

	return vgpu_pointers_add(index, key, (struct vgpu_pointer){ (uintptr_t)what, 0, VGPU_POINTER_MEMORY }, &stale);
}

static void *index_find(struct vgpu_pointers *index, uint64_t key)
{
	struct vgpu_pointer value;

	return vgpu_pointers_find(index, key, &value) ? (void *)(uintptr_t)value.bytes : NULL;
}

/* Take KEY out if it stands for WHAT. */
static void index_take(struct vgpu_pointers *index, uint64_t key, const void *what)
{
	struct vgpu_pointer value;

	if (vgpu_pointers_take(index, key, &value) && value.bytes != (uintptr_t)what)
		(void)index_add(index, key, (void *)(uintptr_t)value.bytes);	/* into the place it was taken from */
}

struct vgpu_allocation *vgpu_allocations_add(struct vgpu_allocations *table, uint64_t handle, uint64_t bytes, unsigned device)
{
	struct vgpu_allocation *allocation;

	if (is_unusable(handle) || (!table->free_allocations && !grow(table)))
		return NULL;
	allocation = table->free_allocations;
	if (!index_add(&table->handles, key_of(handle), allocation))
		return NULL;
	table->free_allocations = allocation->next;
	*allocation = (struct vgpu_allocation){ .handle = handle, .bytes = bytes, .device = device, .alive = 1, .kept = 1, .named = 1 };
	return allocation;
}

struct vgpu_allocation *vgpu_allocations_find(struct vgpu_allocations *table, uint64_t handle)
{
	return is_unusable(handle) ? NULL : index_find(&table->handles, key_of(handle));
}

void vgpu_allocations_unname(struct vgpu_allocations *table, struct vgpu_allocation *allocation)
{
	if (--allocation->named == 0)
		index_take(&table->handles, key_of(allocation->handle), allocation);
}

bool vgpu_allocations_settle(struct vgpu_allocations *table, struct vgpu_allocation *allocation, bool named)
{
	if (named)
		vgpu_allocations_unname(table, allocation);
	return --allocation->kept == 0;
}

void vgpu_allocations_remove(struct vgpu_allocations *table, struct vgpu_allocation *allocation)
{
	allocation->next = table->free_allocations;
	table->free_allocations = allocation;
}

bool vgpu_allocations_map(struct vgpu_allocations *table, uint64_t start, uint64_t size, struct vgpu_allocation *allocation)
{
	struct vgpu_mapping *mapping;

	if (start < 2 || (!table->free_mappings && !grow(table)))
		return false;
	mapping = table->free_mappings;
	if (!index_add(&table->mappings, start, mapping))
		return false;
	table->free_mappings = mapping->next;
	*mapping = (struct vgpu_mapping){ start, size, allocation, NULL };
	if (start & VGPU_ELSEWHERE)
		vgpu_allocations_unname(table, allocation);
	return true;
}

struct vgpu_mapping *vgpu_allocations_mapping(struct vgpu_allocations *table, uint64_t start)
{
	return start < 2 ? NULL : index_find(&table->mappings, start);
}

struct vgpu_mapping *vgpu_allocations_unmap(struct vgpu_allocations *table, uint64_t start, uint64_t size)
{
	struct vgpu_mapping *first = NULL, **last = &first, *mapping;

	while (size && (mapping = vgpu_allocations_mapping(table, start)) && mapping->size && mapping->size <= size) {
		index_take(&table->mappings, start, mapping);
		vgpu_allocation_drop(mapping->of);
		*last = mapping;
		last = &mapping->next;
		start += mapping->size;
		size -= mapping->size;
	}
	*last = NULL;
	return first;
}

void vgpu_allocations_restore(struct vgpu_allocations *table, struct vgpu_mapping *list)
{
	for (struct vgpu_mapping *mapping = list; mapping; mapping = mapping->next) {
		vgpu_allocation_keep(mapping->of);
		(void)index_add(&table->mappings, mapping->start, mapping);	/* into the place it was taken from */
	}
}

void vgpu_allocations_forget(struct vgpu_allocations *table, struct vgpu_mapping *mapping)
{
	mapping->next = table->free_mappings;
	table->free_mappings = mapping;
}

void vgpu_allocations_clear(struct vgpu_allocations *table)
{
	struct vgpu_allocations_chunk *chunk = table->chunks, *next;

	for (; chunk; chunk = next) {
		next = chunk->next;
		munmap(chunk, CHUNK_SIZE);
	}
	vgpu_pointers_clear(&table->handles);
	vgpu_pointers_clear(&table->mappings);
	memset(table, 0, sizeof(*table));
}
