/*
 * What this process holds of physical memory that has no address of its own: the allocations behind the handles of cuMemCreate.
 * Each is held by references to its handle and by mappings; what it was charged is given back when the last hold is gone, in
 * whatever order they go. Arithmetic alone: knows neither the driver nor the region, and takes no lock: its caller does.
 *
 * A hold is dropped in two steps. Before the driver is asked it stops counting as alive, after the driver has let go it is
 * settled. Of two threads that drop the last two holds, the one that settles last gives back, whichever of them began first.
 */
#ifndef VGPU_ALLOCATIONS_H
#define VGPU_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "pointers.h"

struct vgpu_allocation {
	uint64_t handle;		/* the driver's name of it */
	uint64_t bytes;			/* charged */
	uint64_t shared, key, number;	/* the caller's own, and 0: see sharing.h */
	uint32_t device;		/* index in the grant */
	uint32_t alive;			/* holds that nobody is dropping */
	uint32_t kept;			/* holds that have not been settled: alive ones, and those that the driver may still have */
	uint32_t named;			/* of these, references and mappings: while there is one, HANDLE stands for nothing else */
	uint32_t flags;			/* the caller's own, and 0 */
	struct vgpu_allocation *next;	/* the caller's own, and of those that are free */
};

#define VGPU_ELSEWHERE (UINT64_C(1) << 63)	/* added to a place in another object; no address of a device has this bit */

/* A range of addresses, or a place in another object, through which an allocation is held. */
struct vgpu_mapping {
	uint64_t start, size;
	struct vgpu_allocation *of;
	struct vgpu_mapping *next;	/* of a list that was taken, and of those that are free */
};

struct vgpu_allocations_chunk;

/* All zero: empty. */
struct vgpu_allocations {
	struct vgpu_pointers handles, mappings;
	struct vgpu_allocations_chunk *chunks;
	struct vgpu_allocation *free_allocations;
	struct vgpu_mapping *free_mappings;
	struct vgpu_allocation *waiting;	/* the caller's own */
};

/*
 * A new allocation with one hold. NULL: no memory, and nothing changed. A HANDLE that is known already has been given out again
 * by the driver; what it stood for keeps its holds, and is found by its mappings alone.
 */
struct vgpu_allocation *vgpu_allocations_add(struct vgpu_allocations *table, uint64_t handle, uint64_t bytes, unsigned device);

/* The allocation that HANDLE stands for, or NULL. It may have no hold alive: then somebody is dropping the last one. */
struct vgpu_allocation *vgpu_allocations_find(struct vgpu_allocations *table, uint64_t handle);

static inline void vgpu_allocation_hold(struct vgpu_allocation *allocation)
{
	allocation->alive++;
	allocation->kept++;
	allocation->named++;
}

/* The first step of dropping a hold, and its undoing where the driver has refused. */
static inline void vgpu_allocation_drop(struct vgpu_allocation *allocation)
{
	allocation->alive--;
}

static inline void vgpu_allocation_keep(struct vgpu_allocation *allocation)
{
	allocation->alive++;
}

/*
 * The second step. NAMED: of a reference or a mapping; after the last one of these HANDLE is no longer known. True: it was the last
 * hold of all, and the caller ends with vgpu_allocations_remove.
 */
bool vgpu_allocations_settle(struct vgpu_allocations *table, struct vgpu_allocation *allocation, bool named);
void vgpu_allocations_remove(struct vgpu_allocations *table, struct vgpu_allocation *allocation);

/* One of the allocation's holds no longer keeps its name: it is held by another object, from now on. */
void vgpu_allocations_unname(struct vgpu_allocations *table, struct vgpu_allocation *allocation);

/* One of the allocation's holds becomes a mapping at START, named or ELSEWHERE. False: no memory, and nothing changed. */
bool vgpu_allocations_map(struct vgpu_allocations *table, uint64_t start, uint64_t size, struct vgpu_allocation *allocation);

/* The mapping that begins at START, or NULL. */
struct vgpu_mapping *vgpu_allocations_mapping(struct vgpu_allocations *table, uint64_t start);

/*
 * Take out the mappings that follow each other from START on and end within SIZE bytes: each hold's first step. The list goes to
 * vgpu_allocations_restore where the driver has refused; else its holds are settled one by one and its parts given to
 * vgpu_allocations_forget.
 */
struct vgpu_mapping *vgpu_allocations_unmap(struct vgpu_allocations *table, uint64_t start, uint64_t size);
void vgpu_allocations_restore(struct vgpu_allocations *table, struct vgpu_mapping *list);
void vgpu_allocations_forget(struct vgpu_allocations *table, struct vgpu_mapping *mapping);

/* Give all memory back. */
void vgpu_allocations_clear(struct vgpu_allocations *table);

#endif
