/*
 * What this process has been charged for: device pointers and contexts, by their value. Grows without stopping other threads,
 * never moves an entry, needs no lock, and takes memory from the system only when it grows. Arithmetic alone: knows neither
 * the driver nor the region.
 *
 * Levels of four-way buckets, each level eight times the last. An entry may lie in one bucket of each level, so a look-up is
 * a cache line per level, newest first; there are no chains, hence no tombstones.
 */
#ifndef VGPU_POINTERS_H
#define VGPU_POINTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VGPU_POINTER_LEVELS 6u	/* the last alone holds 134 million entries; its memory is only taken where it is touched */

struct vgpu_pointer_bucket;

/* All zero: empty. */
struct vgpu_pointers {
	_Atomic uint32_t count;		/* levels in use */
	struct vgpu_pointer_bucket *_Atomic levels[VGPU_POINTER_LEVELS];
};

enum vgpu_pointer_kind {
	VGPU_POINTER_MEMORY,
	VGPU_POINTER_CONTEXT,
	VGPU_POINTER_ARRAY,
	VGPU_POINTER_OWNER,		/* not charged: `bytes` is the context that owns the array whose handle is KEY - 1 */
	VGPU_POINTER_POOLED,		/* not charged, its pool is: `bytes` is cuda_reserve.h's */
	VGPU_POINTER_GRAPH,		/* not charged: what the executable graph allocates on `device`; its handle is KEY - device */
};

struct vgpu_pointer {
	uint64_t bytes;			/* below 2^56 */
	unsigned device;		/* index in the grant */
	enum vgpu_pointer_kind kind;
};

/*
 * Remember KEY; 0 and 1 stand for nothing, and are never known. False: no memory, and nothing changed. If KEY is known already,
 * the driver has freed it behind our back and given it out again: *STALE tells what it stood for, else its bytes are 0. Any
 * thread.
 */
bool vgpu_pointers_add(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer value, struct vgpu_pointer *stale);

/* What KEY stands for. False: not known. Any thread. */
bool vgpu_pointers_find(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer *value);

/* Forget KEY. False: not known. Of several threads that try, one is told true. Any thread. */
bool vgpu_pointers_take(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer *value);

/* Call VISIT with every entry of the moment; it may take and add. Any thread. */
void vgpu_pointers_visit(struct vgpu_pointers *table, void (*visit)(uint64_t key, struct vgpu_pointer value, void *data),
                         void *data);

/* Give all memory back. No other thread may use the table. */
void vgpu_pointers_clear(struct vgpu_pointers *table);

#endif
