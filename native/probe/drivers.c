#include "drivers.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cuda cuda;
struct nvml nvml;

struct wanted {
	const char *name;
	void **function;
};

#define CUDA(name) { #name, (void **)&cuda.name }
static const struct wanted wanted_cuda[] = {
	CUDA(cuInit), CUDA(cuDeviceGetCount), CUDA(cuDeviceGet), CUDA(cuDeviceGetName), CUDA(cuDeviceGetUuid),
	CUDA(cuDeviceTotalMem_v2), CUDA(cuDevicePrimaryCtxRetain), CUDA(cuDevicePrimaryCtxRelease_v2), CUDA(cuCtxSetCurrent),
	CUDA(cuMemGetInfo_v2), CUDA(cuMemAlloc_v2), CUDA(cuMemFree_v2), CUDA(cuGetErrorName), { NULL, NULL },
};

#define NVML(name) { #name, (void **)&nvml.name }
static const struct wanted wanted_nvml[] = {
	NVML(nvmlInit_v2), NVML(nvmlShutdown), NVML(nvmlDeviceGetCount_v2), NVML(nvmlDeviceGetHandleByIndex_v2),
	NVML(nvmlDeviceGetName), NVML(nvmlDeviceGetUUID), NVML(nvmlDeviceGetMemoryInfo), { NULL, NULL },
};

void give_up(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("hami-probe: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

const char *code_name(CUresult code)
{
	const char *name = NULL;

	if (cuda.cuGetErrorName && cuda.cuGetErrorName(code, &name) == CUDA_SUCCESS && name)
		return name;
	switch (code) {
	case CUDA_SUCCESS:
		return "CUDA_SUCCESS";
	case CUDA_ERROR_OUT_OF_MEMORY:
		return "CUDA_ERROR_OUT_OF_MEMORY";
	case CUDA_ERROR_NO_DEVICE:
		return "CUDA_ERROR_NO_DEVICE";
	}
	return "an error without a name";
}

void must(CUresult code, const char *call)
{
	if (code != CUDA_SUCCESS)
		give_up("%s answers %s (%d)", call, code_name(code), code);
}

static void open_library(const char *soname, const struct wanted *wanted)
{
	void *library = dlopen(soname, RTLD_NOW);

	if (!library)
		give_up("no driver: %s", dlerror());
	for (; wanted->name; wanted++) {
		*wanted->function = dlsym(library, wanted->name);
		if (!*wanted->function && strcmp(wanted->name, "cuGetErrorName") != 0)
			give_up("the driver has no %s: it is too old", wanted->name);
	}
}

void open_drivers(void)
{
	open_library("libcuda.so.1", wanted_cuda);
	open_library("libnvidia-ml.so.1", wanted_nvml);
}
