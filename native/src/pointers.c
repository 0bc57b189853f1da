#include "pointers.h"

#include <stddef.h>
#include <sys/mman.h>

#define WAYS 4u
#define FIRST_BUCKETS_LOG2 10u		/* 1,024 buckets of 64 bytes: 64 KiB for up to 4,096 pointers */
#define GROWTH_LOG2 3u
#define BUSY UINT64_C(1)		/* a key that no driver gives: the entry is being written or taken */
#define FIRST_KEY UINT64_C(2)		/* a program may well ask for what is below: freeing NULL is legal */

/* One cache line. */
struct vgpu_pointer_bucket {
	_Atomic uint64_t keys[WAYS];	/* 0: free */
	_Atomic uint64_t values[WAYS];	/* bytes << 8 | device << 4 | kind; written while the key is BUSY */
};

_Static_assert(sizeof(struct vgpu_pointer_bucket) == 64, "a bucket is a cache line");

static uint64_t pack(struct vgpu_pointer value)
{
	return value.bytes << 8 | (uint64_t)value.device << 4 | (uint64_t)value.kind;
}

static struct vgpu_pointer unpack(uint64_t word)
{
	return (struct vgpu_pointer){ word >> 8, word >> 4 & 0xf, (enum vgpu_pointer_kind)(word & 0xf) };
}

static size_t buckets_of(unsigned level)
{
	return (size_t)1 << (FIRST_BUCKETS_LOG2 + GROWTH_LOG2 * level);
}

static size_t bytes_of(unsigned level)
{
	return buckets_of(level) * sizeof(struct vgpu_pointer_bucket);
}

static struct vgpu_pointer_bucket *level_at(struct vgpu_pointers *table, unsigned level)
{
	return atomic_load_explicit(&table->levels[level], memory_order_relaxed);
}

/* Pairs with the release in grow(): a counted level is there. */
static unsigned levels_in_use(struct vgpu_pointers *table)
{
	return atomic_load_explicit(&table->count, memory_order_acquire);
}

static struct vgpu_pointer_bucket *bucket_of(struct vgpu_pointer_bucket *buckets, unsigned level, uint64_t key)
{
	return &buckets[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - FIRST_BUCKETS_LOG2 - GROWTH_LOG2 * level)];
}

/* Two threads may both find the table full: one level is kept, the other goes back. */
static bool grow(struct vgpu_pointers *table, unsigned level)
{
	struct vgpu_pointer_bucket *none = NULL;
	uint32_t before = level;
	void *memory;

	if (level == VGPU_POINTER_LEVELS)
		return false;
	memory = mmap(NULL, bytes_of(level), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	if (!atomic_compare_exchange_strong_explicit(&table->levels[level], &none, memory, memory_order_acq_rel,
	                                             memory_order_acquire))
		munmap(memory, bytes_of(level));
	atomic_compare_exchange_strong_explicit(&table->count, &before, level + 1, memory_order_acq_rel, memory_order_relaxed);
	return true;
}

static inline bool claim(struct vgpu_pointer_bucket *bucket, unsigned way, uint64_t from)
{
	return atomic_compare_exchange_strong_explicit(&bucket->keys[way], &from, BUSY, memory_order_acq_rel,
	                                               memory_order_relaxed);
}

static inline void put(struct vgpu_pointer_bucket *bucket, unsigned way, uint64_t key, struct vgpu_pointer value)
{
	atomic_store_explicit(&bucket->values[way], pack(value), memory_order_relaxed);
	atomic_store_explicit(&bucket->keys[way], key, memory_order_release);
}

/* The way that holds KEY, or WAYS. */
static inline unsigned find(const struct vgpu_pointer_bucket *bucket, uint64_t key)
{
	unsigned way = 0;

	while (way < WAYS && atomic_load_explicit(&bucket->keys[way], memory_order_acquire) != key)
		way++;
	return way;
}

/* The value may be of a successor under the same key: that is what the key stands for then. */
bool vgpu_pointers_find(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer *value)
{
	if (__builtin_expect(key < FIRST_KEY, 0))
		return false;
	for (unsigned level = levels_in_use(table); level-- > 0;) {
		struct vgpu_pointer_bucket *bucket = bucket_of(level_at(table, level), level, key);
		unsigned way = find(bucket, key);

		if (way == WAYS)
			continue;
		*value = unpack(atomic_load_explicit(&bucket->values[way], memory_order_acquire));
		if (atomic_load_explicit(&bucket->keys[way], memory_order_acquire) == key)
			return true;
	}
	return false;
}

bool vgpu_pointers_take(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer *value)
{
	if (__builtin_expect(key < FIRST_KEY, 0))
		return false;
	for (unsigned level = levels_in_use(table); level-- > 0;) {
		struct vgpu_pointer_bucket *bucket = bucket_of(level_at(table, level), level, key);
		unsigned way = find(bucket, key);

		if (way == WAYS || !claim(bucket, way, key))
			continue;
		*value = unpack(atomic_load_explicit(&bucket->values[way], memory_order_relaxed));
		atomic_store_explicit(&bucket->keys[way], 0, memory_order_release);
		return true;
	}
	return false;
}

static bool put_free(struct vgpu_pointer_bucket *bucket, uint64_t key, struct vgpu_pointer value)
{
	for (unsigned way = 0; way < WAYS; way++)
		if (atomic_load_explicit(&bucket->keys[way], memory_order_relaxed) == 0 && claim(bucket, way, 0)) {
			put(bucket, way, key, value);
			return true;
		}
	return false;
}

/* Where KEY is known already, which hardly ever happens: take its place. */
static bool put_over(struct vgpu_pointers *table, unsigned levels, uint64_t key, struct vgpu_pointer value,
                     struct vgpu_pointer *stale)
{
	for (unsigned level = levels; level-- > 0;) {
		struct vgpu_pointer_bucket *bucket = bucket_of(level_at(table, level), level, key);
		unsigned way = find(bucket, key);

		if (way == WAYS || !claim(bucket, way, key))
			continue;
		*stale = unpack(atomic_load_explicit(&bucket->values[way], memory_order_relaxed));
		put(bucket, way, key, value);
		return true;
	}
	return false;
}

/* Into the newest level that has room in its bucket. */
static bool put_new(struct vgpu_pointers *table, unsigned levels, uint64_t key, struct vgpu_pointer value)
{
	for (unsigned level = levels; level-- > 0;)
		if (put_free(bucket_of(level_at(table, level), level, key), key, value))
			return true;
	return false;
}

/* Out of line: the common case needs fewer registers without it. */
__attribute__((noinline))
static bool add_growing(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer value)
{
	for (;;) {
		unsigned levels = levels_in_use(table);

		if (put_new(table, levels, key, value))
			return true;
		if (!grow(table, levels))
			return false;
	}
}

bool vgpu_pointers_add(struct vgpu_pointers *table, uint64_t key, struct vgpu_pointer value, struct vgpu_pointer *stale)
{
	unsigned levels = levels_in_use(table);

	stale->bytes = 0;
	if (__builtin_expect(key < FIRST_KEY, 0))
		return true;
	if (put_over(table, levels, key, value, stale))
		return true;
	/* Most often the newest level has room. */
	if (levels && put_free(bucket_of(level_at(table, levels - 1), levels - 1, key), key, value))
		return true;
	return add_growing(table, key, value);
}

void vgpu_pointers_visit(struct vgpu_pointers *table, void (*visit)(uint64_t, struct vgpu_pointer, void *), void *data)
{
	for (unsigned level = levels_in_use(table); level-- > 0;) {
		struct vgpu_pointer_bucket *buckets = level_at(table, level);

		for (size_t i = 0; i < buckets_of(level) * WAYS; i++) {
			struct vgpu_pointer_bucket *bucket = &buckets[i / WAYS];
			uint64_t key = atomic_load_explicit(&bucket->keys[i % WAYS], memory_order_acquire);

			if (key > BUSY)
				visit(key, unpack(atomic_load_explicit(&bucket->values[i % WAYS], memory_order_relaxed)), data);
		}
	}
}

void vgpu_pointers_clear(struct vgpu_pointers *table)
{
	for (unsigned level = levels_in_use(table); level-- > 0;) {
		munmap(level_at(table, level), bytes_of(level));
		atomic_store_explicit(&table->levels[level], NULL, memory_order_relaxed);
	}
	atomic_store_explicit(&table->count, 0, memory_order_relaxed);
}
