/*
 * The driver's own functions, and the map from their addresses to our stand-ins ("address in, wrapper out"). The one seam to
 * the driver: whatever calls it goes through the two tables below. Which wrapper does what is not decided here.
 */
#ifndef VGPU_DRIVER_H
#define VGPU_DRIVER_H

#include <stdbool.h>

#include "cuda_abi.h"
#include "nvml_abi.h"

/* NULL: this driver has no such function. Complete, and constant, once vgpu_has_cuda() or vgpu_has_nvml() has said true. */
struct vgpu_cuda {
#define CUDA_HOOK(symbol, base, version, flags, parameters, arguments) CUresult (*symbol) parameters;
#define CUDA_CALL(symbol, parameters) CUresult (*symbol) parameters;
#include "hooks.def"
};

struct vgpu_nvml {
#define NVML_HOOK(symbol, parameters, arguments) nvmlReturn_t (*symbol) parameters;
#define NVML_CALL(symbol, parameters) nvmlReturn_t (*symbol) parameters;
#include "hooks.def"
};

extern struct vgpu_cuda vgpu_cuda;
extern struct vgpu_nvml vgpu_nvml;

/*
 * Whether the process has loaded libcuda.so.1 (libnvidia-ml.so.1); the first true fills the table and the map and pins the
 * library. Never loads anything. After the first true: one atomic load. Any thread; a thread that the driver calls back from
 * within the first look-up is told false.
 */
bool vgpu_has_cuda(void);
bool vgpu_has_nvml(void);

/*
 * What a program that was given ADDRESS for NAME must get: our stand-in where the address is a driver function that we hook,
 * ADDRESS itself otherwise, NULL for NULL. Calls the driver at its first use only.
 */
void *vgpu_wrapper_of(void *address, const char *name);

/* Whether NAME is a symbol that we export for a driver, and if so, whether that driver is loaded and has it. */
enum vgpu_export { VGPU_NOT_EXPORTED, VGPU_EXPORT_ABSENT, VGPU_EXPORT_PRESENT };
enum vgpu_export vgpu_export_of(const char *name);

#endif
