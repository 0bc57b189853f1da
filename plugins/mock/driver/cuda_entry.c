/* libcuda: the exported symbols, and what faults do to its calls. Another file defines what is behind each symbol. */
#include "cuda_context.h"

#include <string.h>

#define SYMBOL(base, name, version, stream) ENTRY(name);
#include "symbols.def"
#undef SYMBOL

/* Which argument of a call is the device that it works on; other calls work on that of the current context. */
static const struct {
	const char *call;
	int argument;
} of_device[] = {
	{"cuCtxCreate", 2},         {"cuCtxCreate_v2", 2},
	{"cuCtxCreate_v3", 4},      {"cuCtxCreate_v4", 3},
	{"cuDeviceGet", 1},         {"cuDeviceGetName", 2},
	{"cuDevicePrimaryCtxRetain", 1},
};

/* The index of that GPU among the machine's; -1: none. */
static int device_of(const char *call, const uint64_t *arguments)
{
	CUcontext context = context_top();
	CUdevice device = context ? context->device : -1;

	for (size_t i = 0; i < sizeof of_device / sizeof of_device[0]; i++)
		if (strcmp(of_device[i].call, call) == 0)
			device = (CUdevice)arguments[of_device[i].argument];
	return is_device(device) ? (int)index_of(device) : -1;
}

/* What asks about the driver or this process, and not the GPU, works on when the GPU is gone. */
static bool needs_gpu(const char *call)
{
	static const char *const prefixes[] = {"cuInit", "cuDriver", "cuGet", "cuDeviceGet", "cuCtxGet", "cuCtxSet", "cuCtxPush", "cuCtxPop"};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
		if (strncmp(prefixes[i], call, strlen(prefixes[i])) == 0)
			return false;
	return true;
}

int entry_gate(const char *call, const uint64_t *arguments)
{
	struct state *state = entry_state();
	int device, answer;

	if (!state)
		return 0;
	device = device_of(call, arguments);
	answer = fault_call(state, call, device);
	if (!answer && device >= 0 && fault_condition(&state->faults, (unsigned)device) && needs_gpu(call))
		return CUDA_ERROR_UNKNOWN;
	return answer;
}
