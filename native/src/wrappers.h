/* Prototypes of our stand-ins, generated from hooks.def: vgpu_<symbol> for each hooked symbol. */
#ifndef VGPU_WRAPPERS_H
#define VGPU_WRAPPERS_H

#include "cuda_abi.h"
#include "nvml_abi.h"

#define CUDA_HOOK(symbol, base, version, flags, parameters, arguments) CUresult vgpu_##symbol parameters;
#define NVML_HOOK(symbol, parameters, arguments) nvmlReturn_t vgpu_##symbol parameters;
#include "hooks.def"

#endif
