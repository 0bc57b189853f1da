/* The two driver libraries as the probe calls them: opened at run time, so that the program starts without them. */
#ifndef HAMI_DRIVERS_H
#define HAMI_DRIVERS_H

#include <stddef.h>

#include "cuda_abi.h"
#include "nvml_abi.h"

struct cuda {
	CUresult (*cuInit)(unsigned int);
	CUresult (*cuDeviceGetCount)(int *);
	CUresult (*cuDeviceGet)(CUdevice *, int);
	CUresult (*cuDeviceGetName)(char *, int, CUdevice);
	CUresult (*cuDeviceGetUuid)(CUuuid *, CUdevice);
	CUresult (*cuDeviceTotalMem_v2)(size_t *, CUdevice);
	CUresult (*cuDevicePrimaryCtxRetain)(CUcontext *, CUdevice);
	CUresult (*cuDevicePrimaryCtxRelease_v2)(CUdevice);
	CUresult (*cuCtxSetCurrent)(CUcontext);
	CUresult (*cuMemGetInfo_v2)(size_t *, size_t *);
	CUresult (*cuMemAlloc_v2)(CUdeviceptr *, size_t);
	CUresult (*cuMemFree_v2)(CUdeviceptr);
	CUresult (*cuGetErrorName)(CUresult, const char **);
};

struct nvml {
	nvmlReturn_t (*nvmlInit_v2)(void);
	nvmlReturn_t (*nvmlShutdown)(void);
	nvmlReturn_t (*nvmlDeviceGetCount_v2)(unsigned int *);
	nvmlReturn_t (*nvmlDeviceGetHandleByIndex_v2)(unsigned int, nvmlDevice_t *);
	nvmlReturn_t (*nvmlDeviceGetName)(nvmlDevice_t, char *, unsigned int);
	nvmlReturn_t (*nvmlDeviceGetUUID)(nvmlDevice_t, char *, unsigned int);
	nvmlReturn_t (*nvmlDeviceGetMemoryInfo)(nvmlDevice_t, nvmlMemory_t *);
};

extern struct cuda cuda;
extern struct nvml nvml;

/* Open both and find every function; ends the program with a sentence where one is missing. */
void open_drivers(void);

/* "CUDA_ERROR_OUT_OF_MEMORY" and the like. */
const char *code_name(CUresult code);

/* End the program, with status 1, unless CODE is CUDA_SUCCESS. */
void must(CUresult code, const char *call);

/* End the program with a sentence and status 1. */
__attribute__((format(printf, 1, 2), noreturn))
void give_up(const char *format, ...);

#endif
