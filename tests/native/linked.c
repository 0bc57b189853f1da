/* A program that is linked to the driver, as those of nvcc's older days are. Says codes: before init, init, count, and so on. */
#include <stddef.h>
#include <stdio.h>

int cuInit(unsigned int flags);
int cuDeviceGetCount(int *count);
int cuDeviceGet(int *device, int ordinal);
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuCtxSetCurrent(void *context);
int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes);

int main(void)
{
	int count = -1, device = -1, init = cuInit(0), counted = cuDeviceGetCount(&count);
	void *context;
	unsigned long long pointer;

	cuDeviceGet(&device, 0);
	cuDevicePrimaryCtxRetain(&context, device);
	cuCtxSetCurrent(context);
	int all = cuMemAlloc_v2(&pointer, (size_t)1 << 30), more = cuMemAlloc_v2(&pointer, 1);

	printf("[%d, %d, %d, %d, %d, %d]\n", init, counted, count, more, all, more);
	return 0;
}
