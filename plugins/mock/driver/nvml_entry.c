/*
 * libnvidia-ml: the exported symbols, and what faults do to its calls. Behind each is a function of another file; behind those of nvml_stubs.def
 * one that says "not supported", as a driver does for a feature that it lacks.
 */
#include "nvml_driver.h"

#include <string.h>

#define FUNCTION(name) ENTRY(name);
#include "nvml_functions.def"
#undef FUNCTION

#define STUB(name) ENTRY(name);
#include "nvml_stubs.def"
#undef STUB

/* FIRST may be a device, and then the device's own trouble goes first. */
static nvmlReturn_t refuse(const void *first)
{
	nvmlReturn_t failure;

	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (nvml_is_device(first) && !nvml_chip((nvmlDevice_t)(uintptr_t)first, &failure))
		return failure;
	return NVML_ERROR_NOT_SUPPORTED;
}

#define STUB(name) \
	nvmlReturn_t mock_##name(const void *first); \
	nvmlReturn_t mock_##name(const void *first) { return refuse(first); }
#include "nvml_stubs.def"
#undef STUB

/* The GPU that a call is about: its first argument is the handle, or the index that asks for one. */
static int device_of(const char *call, const uint64_t *arguments)
{
	const void *first = (const void *)(uintptr_t)arguments[0];

	if (nvml_is_device(first))
		return (int)((nvmlDevice_t)(uintptr_t)first)->index;
	return strncmp(call, "nvmlDeviceGetHandleByIndex", 26) == 0 ? (int)arguments[0] : -1;
}

int entry_gate(const char *call, const uint64_t *arguments)
{
	struct state *state = entry_state();

	return state ? fault_call(state, call, device_of(call, arguments)) : 0;
}
