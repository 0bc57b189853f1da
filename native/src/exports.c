/*
 * The driver's names, exported: what a linked program, or a look-up in the global scope, binds to. Each one asks whether the
 * driver has the function that it stands for; everything else is in vgpu_<name>.
 */
#include "driver.h"
#include "wrappers.h"

#define EXPORT __attribute__((visibility("default")))

#define CUDA_HOOK(symbol, base, version, flags, parameters, arguments) \
	EXPORT CUresult symbol parameters; \
	EXPORT CUresult symbol parameters \
	{ \
		return vgpu_has_cuda() && vgpu_cuda.symbol ? vgpu_##symbol arguments : CUDA_ERROR_NOT_FOUND; \
	}
#define NVML_HOOK(symbol, parameters, arguments) \
	EXPORT nvmlReturn_t symbol parameters; \
	EXPORT nvmlReturn_t symbol parameters \
	{ \
		return vgpu_has_nvml() && vgpu_nvml.symbol ? vgpu_##symbol arguments : NVML_ERROR_FUNCTION_NOT_FOUND; \
	}
#include "hooks.def"
