/*
 * cuGetProcAddress in both its binary interfaces. The driver is asked with the caller's exact arguments; code and status stay
 * its own, and the address it gives is replaced only where it is that of a function we hook, in that very variant.
 */
#include <stdint.h>

#include "driver.h"
#include "wrappers.h"

static CUresult wrap(CUresult result, void **pfn)
{
	if (result == CUDA_SUCCESS && pfn)
		*pfn = vgpu_wrapper_of(*pfn, "cu");
	return result;
}

CUresult vgpu_cuGetProcAddress(const char *symbol, void **pfn, int version, cuuint64_t flags)
{
	return wrap(vgpu_cuda.cuGetProcAddress(symbol, pfn, version, flags), pfn);
}

CUresult vgpu_cuGetProcAddress_v2(const char *symbol, void **pfn, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult *status)
{
	return wrap(vgpu_cuda.cuGetProcAddress_v2(symbol, pfn, version, flags, status), pfn);
}
