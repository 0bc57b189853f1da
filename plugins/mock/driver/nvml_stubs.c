/* libnvidia-ml: every other function that bindings look up. They are there, and say "not supported", as a driver does for a feature it lacks. */
#include "nvml_driver.h"

static nvmlReturn_t refuse(void)
{
	return nvml_state() ? NVML_ERROR_NOT_SUPPORTED : NVML_ERROR_UNINITIALIZED;
}

#define STUB(name) \
	nvmlReturn_t name(void); \
	__attribute__((visibility("default"))) nvmlReturn_t name(void) { return refuse(); }
#include "nvml_stubs.def"
#undef STUB
