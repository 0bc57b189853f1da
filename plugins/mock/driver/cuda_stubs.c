/* libcuda: every other function of the interface. They are there, as programs expect, and refuse, as a driver does for a feature that it lacks. */
#include "cuda_driver.h"

static CUresult refuse(void)
{
	return driver.ready ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_NOT_INITIALIZED;
}

#define STUB(name) \
	CUresult name(void); \
	__attribute__((visibility("default"))) CUresult name(void) { return refuse(); }
#include "cuda_stubs.def"
#undef STUB
