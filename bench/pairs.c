/*
 * Times alloc+free pairs through whatever libcuda.so.1 the loader finds: PAIRS pairs, REPEATS times, beside LIVE allocations that
 * stay. Prints the fastest and the median repetition in ns a pair. With REPEATS 0 it runs `counted` once, for instruction counts.
 * A fourth argument chooses another pair: create+release, map+unmap, or pool: by cuMemAllocAsync, which
 * the pool serves from its reserve.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int (*init_fn)(unsigned int);
typedef int (*retain_fn)(void **, int);
typedef int (*current_fn)(void *);
typedef int (*alloc_fn)(unsigned long long *, size_t);
typedef int (*free_fn)(unsigned long long);

static alloc_fn allocate;
static free_fn release;

__attribute__((noinline)) void counted(long pairs)
{
	for (long i = 0; i < pairs; i++) {
		unsigned long long pointer;

		if (allocate(&pointer, 4096) || release(pointer))
			abort();
	}
}

/* Virtual memory: one granule, by its handle or at a reserved address. */
#define GRANULE ((size_t)2 << 20)

struct properties { int type, handle_types, location, device; void *metadata; unsigned char flags[8]; };

static int (*create)(unsigned long long *, size_t, const struct properties *, unsigned long long);
static int (*let_go)(unsigned long long);
static int (*map)(unsigned long long, size_t, size_t, unsigned long long, unsigned long long);
static int (*unmap)(unsigned long long, size_t);
static unsigned long long handle, address;

static void created(long pairs)
{
	static const struct properties properties = { .type = 1, .location = 1 };

	for (long i = 0; i < pairs; i++)
		if (let_go(handle) || create(&handle, GRANULE, &properties, 0))
			abort();
}

static void mapped(long pairs)
{
	for (long i = 0; i < pairs; i++)
		if (map(address, GRANULE, 0, handle, 0) || unmap(address, GRANULE))
			abort();
}

/* In the order of a stream. */
static int (*allocate_in_order)(unsigned long long *, size_t, void *);
static int (*free_in_order)(unsigned long long, void *);

static void pooled(long pairs)
{
	for (long i = 0; i < pairs; i++) {
		unsigned long long pointer;

		if (allocate_in_order(&pointer, 4096, NULL) || free_in_order(pointer, NULL))
			abort();
	}
}

static void (*chosen(void *driver, const char *pair))(long)
{
	int (*reserve)(unsigned long long *, size_t, size_t, unsigned long long, unsigned long long);

	if (!pair)
		return counted;
	allocate_in_order = (int (*)(unsigned long long *, size_t, void *))dlsym(driver, "cuMemAllocAsync");
	free_in_order = (int (*)(unsigned long long, void *))dlsym(driver, "cuMemFreeAsync");
	if (strcmp(pair, "pool") == 0)
		return pooled;
	create = (int (*)(unsigned long long *, size_t, const struct properties *, unsigned long long))dlsym(driver, "cuMemCreate");
	let_go = (int (*)(unsigned long long))dlsym(driver, "cuMemRelease");
	map = (int (*)(unsigned long long, size_t, size_t, unsigned long long, unsigned long long))dlsym(driver, "cuMemMap");
	unmap = (int (*)(unsigned long long, size_t))dlsym(driver, "cuMemUnmap");
	reserve = (int (*)(unsigned long long *, size_t, size_t, unsigned long long, unsigned long long))dlsym(
		driver, "cuMemAddressReserve");
	if (create(&handle, GRANULE, &(struct properties){ .type = 1, .location = 1 }, 0) || reserve(&address, GRANULE, 0, 0, 0))
		abort();
	return strcmp(pair, "map+unmap") == 0 ? mapped : created;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context;
	long pairs = argc > 1 ? atol(argv[1]) : 20000, repeats = argc > 2 ? atol(argv[2]) : 41, live = argc > 3 ? atol(argv[3]) : 0;
	double *ns = calloc((size_t)repeats + 1, sizeof(*ns));
	void (*run)(long);

	if (!driver || !ns)
		return 1;
	allocate = (alloc_fn)dlsym(driver, "cuMemAlloc_v2");
	release = (free_fn)dlsym(driver, "cuMemFree_v2");
	if (((init_fn)dlsym(driver, "cuInit"))(0) || ((retain_fn)dlsym(driver, "cuDevicePrimaryCtxRetain"))(&context, 0) ||
	    ((current_fn)dlsym(driver, "cuCtxSetCurrent"))(context))
		return 1;
	for (long i = 0; i < live; i++) {
		unsigned long long pointer;

		if (allocate(&pointer, 4096))
			return 1;
	}
	run = chosen(driver, argc > 4 ? argv[4] : NULL);
	run(1000);
	if (!repeats) {
		run(pairs);
		return 0;
	}
	for (long r = 0; r < repeats; r++) {
		uint64_t start = now_ns();

		run(pairs);
		ns[r] = (double)(now_ns() - start) / (double)pairs;
	}
	qsort(ns, (size_t)repeats, sizeof(*ns), ascending);
	printf("%.2f %.2f\n", ns[0], ns[repeats / 2]);
	return 0;
}
