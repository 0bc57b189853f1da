/*
 * COUNT allocations, each freed at once, and nothing else in the loop: what a counter of instructions is run over. The driver
 * is reached as frameworks do it, by dlopen and dlsym.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

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

	if (argc != 2 || init(0) || get(&device, 0) || retain(&context, device) || use(context))
		return 1;
	for (long i = atol(argv[1]); i > 0; i--)
		if (allocate(&pointer, 4096) || release(pointer))
			return 2;
	return 0;
}
