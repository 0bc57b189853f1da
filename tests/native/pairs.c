/*
 * COUNT allocations, each freed at once, and nothing else in the loop: what a counter of instructions is run over. The driver
 * is reached as frameworks do it, by dlopen and dlsym.
 *
 *   pairs COUNT             cuMemAlloc and cuMemFree
 *   pairs COUNT create      cuMemCreate and cuMemRelease
 *   pairs COUNT map         cuMemMap and cuMemUnmap
 *   pairs COUNT pool        cuMemAllocAsync and cuMemFreeAsync, which the pool serves from its reserve
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define GRANULE ((size_t)2 << 20)

struct properties { int type, handle_types, location, device; void *metadata; unsigned char flags[8]; };

static int virtual_pairs(void *driver, int device, long count, int mapping)
{
	int (*create)(unsigned long long *, size_t, const struct properties *, unsigned long long) = dlsym(driver, "cuMemCreate");
	int (*release)(unsigned long long) = dlsym(driver, "cuMemRelease");
	int (*reserve)(unsigned long long *, size_t, size_t, unsigned long long, unsigned long long) =
		dlsym(driver, "cuMemAddressReserve");
	int (*map)(unsigned long long, size_t, size_t, unsigned long long, unsigned long long) = dlsym(driver, "cuMemMap");
	int (*unmap)(unsigned long long, size_t) = dlsym(driver, "cuMemUnmap");
	struct properties properties = { 1, 0, 1, device, NULL, { 0 } };
	unsigned long long handle, pointer;

	if (create(&handle, GRANULE, &properties, 0) || reserve(&pointer, GRANULE, 0, 0, 0))
		return 1;
	for (; count > 0; count--)
		if (mapping ? map(pointer, GRANULE, 0, handle, 0) || unmap(pointer, GRANULE)
		            : release(handle) || create(&handle, GRANULE, &properties, 0))
			return 2;
	return 0;
}

static int pool_pairs(void *driver, long count)
{
	int (*allocate)(unsigned long long *, size_t, void *) = dlsym(driver, "cuMemAllocAsync");
	int (*release)(unsigned long long, void *) = dlsym(driver, "cuMemFreeAsync");
	unsigned long long pointer;

	for (; count > 0; count--)
		if (allocate(&pointer, 4096, NULL) || release(pointer, NULL))
			return 2;
	return 0;
}

int main(int argc, char **argv)
{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context;
	int (*init)(unsigned int) = dlsym(driver, "cuInit");
	int (*retain)(void **, int) = dlsym(driver, "cuDevicePrimaryCtxRetain");
	int (*use)(void *) = dlsym(driver, "cuCtxSetCurrent");
	int (*get)(int *, int) = dlsym(driver, "cuDeviceGet");
	int (*allocate)(unsigned long long *, size_t) = dlsym(driver, "cuMemAlloc_v2");
	int (*release)(unsigned long long) = dlsym(driver, "cuMemFree_v2");
	unsigned long long pointer;
	int device;

	if (argc < 2 || init(0) || get(&device, 0) || retain(&context, device) || use(context))
		return 1;
	if (argc == 3 && strcmp(argv[2], "pool") == 0)
		return pool_pairs(driver, atol(argv[1]));
	if (argc == 3)
		return virtual_pairs(driver, device, atol(argv[1]), strcmp(argv[2], "map") == 0);
	for (long i = atol(argv[1]); i > 0; i--)
		if (allocate(&pointer, 4096) || release(pointer))
			return 2;
	return 0;
}
