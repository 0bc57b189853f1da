/* libcuda: functions and kernels: what they say of themselves, how many fit, and launches. A launch takes its time and computes nothing. */
#include "cuda_capture.h"
#include "cuda_module.h"
#include "cuda_work.h"

/* CUfunction_attribute */
enum { MAX_THREADS = 0, REGISTERS = 4, PTX_VERSION = 5, BINARY_VERSION = 6, MAX_DYNAMIC_SHARED = 8, CARVEOUT = 9 };
enum { BLOCK_SIZE = 256, CLUSTER = 8, DEFAULT_SHARED = 49152 };
enum { DEVICE_SMS = 16, DEVICE_THREADS = 39, DEVICE_MAJOR = 75, DEVICE_MINOR = 76, DEVICE_SHARED = 81 };

static int version_of(CUdevice device)
{
	return 10 * chip_of(device)->attributes[DEVICE_MAJOR] + chip_of(device)->attributes[DEVICE_MINOR];
}

static int attribute_of(CUfunction function, int attribute, CUdevice device)
{
	if (attribute >= SETTABLE)
		return 0;
	if (function->attributes[attribute])
		return function->attributes[attribute];
	switch (attribute) {
	case MAX_THREADS: return 1024;
	case REGISTERS: return 32;
	case PTX_VERSION:
	case BINARY_VERSION: return version_of(device);
	case MAX_DYNAMIC_SHARED: return DEFAULT_SHARED;
	case CARVEOUT: return -1;
	default: return 0;
	}
}

/* Unknown attributes are 0 and no error: programs ask for those of newer drivers. */
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
	CUcontext context;
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	if (!value || (int)attribute < 0)
		return CUDA_ERROR_INVALID_VALUE;
	*value = attribute_of(function, (int)attribute, current_context(&context) ? 0 : context->device);
	return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device)
{
	CUresult failure = driver_device(device);

	if (!failure)
		failure = function_check((CUfunction)kernel);
	if (failure)
		return failure;
	if (!value || (int)attribute < 0)
		return CUDA_ERROR_INVALID_VALUE;
	*value = attribute_of((CUfunction)kernel, (int)attribute, device);
	return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	if ((int)attribute < MAX_DYNAMIC_SHARED || (int)attribute >= SETTABLE)
		return CUDA_ERROR_INVALID_VALUE;
	function->attributes[attribute] = value;
	return CUDA_SUCCESS;
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice device)
{
	CUresult failure = driver_device(device);

	return failure ? failure : cuFuncSetAttribute((CUfunction)kernel, attribute, value);
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config)
{
	(void)config;
	return function_check(function);
}

CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice device)
{
	CUresult failure = driver_device(device);

	(void)config;
	return failure ? failure : function_check((CUfunction)kernel);
}

CUresult cuFuncSetSharedMemConfig(CUfunction function, CUsharedconfig config)
{
	(void)config;
	return function_check(function);
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function)
{
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	*module = function->module;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetLibrary(CUlibrary *library, CUkernel kernel)
{
	return cuFuncGetModule((CUmodule *)library, (CUfunction)kernel);
}

CUresult cuFuncGetName(const char **name, CUfunction function)
{
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = function->name;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetName(const char **name, CUkernel kernel)
{
	return cuFuncGetName(name, (CUfunction)kernel);
}

CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
	CUresult failure = function_check((CUfunction)kernel);

	if (failure)
		return failure;
	if (!function)
		return CUDA_ERROR_INVALID_VALUE;
	*function = (CUfunction)kernel;
	return CUDA_SUCCESS;
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	if (!state)
		return CUDA_ERROR_INVALID_VALUE;
	*state = 1;
	return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction function)
{
	return function_check(function);
}

/* Of PTX only: of other images no parameter is known. */
CUresult cuFuncGetParamInfo(CUfunction function, size_t number, size_t *offset, size_t *size)
{
	CUresult failure = function_check(function);
	size_t found_offset, found_size;

	if (failure)
		return failure;
	if (!offset || !function->module->ptx || !ptx_parameter(function->module->ptx, function->name, number, &found_offset, &found_size))
		return CUDA_ERROR_INVALID_VALUE;
	*offset = found_offset;
	if (size)
		*size = found_size;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t number, size_t *offset, size_t *size)
{
	return cuFuncGetParamInfo((CUfunction)kernel, number, offset, size);
}

CUresult cuFuncGetParamCount(CUfunction function, size_t *count)
{
	CUresult failure = function_check(function);
	size_t offset;

	if (failure)
		return failure;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	for (*count = 0; !cuFuncGetParamInfo(function, *count, &offset, NULL);)
		++*count;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetParamCount(CUkernel kernel, size_t *count)
{
	return cuFuncGetParamCount((CUfunction)kernel, count);
}

/* A kernel's duration is looked up once for every change of the machine's table. */
uint64_t function_duration(CUfunction function)
{
	uint64_t generation = atomic_load_explicit(&driver.state->timing.generation, memory_order_acquire);

	if (function->generation != generation) {
		function->duration = timing_duration(driver.state, function->name);
		function->generation = generation;
	}
	return function->duration;
}

CUresult launch_check(const CUDA_KERNEL_NODE_PARAMS_v2 *launch)
{
	CUfunction function = launch->func ? launch->func : (CUfunction)launch->kern;
	CUresult failure = function_check(function);

	if (failure)
		return failure;
	return launch->gridDimX && launch->gridDimY && launch->gridDimZ && launch->blockDimX && launch->blockDimY && launch->blockDimZ
	           ? CUDA_SUCCESS
	           : CUDA_ERROR_INVALID_VALUE;
}

static CUresult launch_work(const CUDA_KERNEL_NODE_PARAMS_v2 *kernel, CUstream stream, int kind)
{
	struct work work = {.type = WORK_KERNEL, .kernel = *kernel};

	return work_submit(stream, (enum stream_kind)kind, &work);
}

/* Nothing to do where no kernel takes time and nothing is captured. */
static CUresult launch(const CUDA_KERNEL_NODE_PARAMS_v2 *kernel, CUstream stream, int kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, (enum stream_kind)kind, &context);

	if (!failure)
		failure = launch_check(kernel);
	if (failure)
		return failure;
	if (!captures_running() && !function_duration(kernel->func))
		return CUDA_SUCCESS;
	return launch_work(kernel, stream, kind);
}

#define GRID \
	CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x, unsigned int block_y, \
	        unsigned int block_z, unsigned int shared, CUstream stream, void **parameters
#define KERNEL(extra) \
	&(CUDA_KERNEL_NODE_PARAMS_v2) { function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, parameters, extra, NULL, NULL }
#define CONFIGURED \
	&(CUDA_KERNEL_NODE_PARAMS_v2) { function, config->gridDimX, config->gridDimY, config->gridDimZ, config->blockDimX, config->blockDimY, \
	                                config->blockDimZ, config->sharedMemBytes, parameters, extra, NULL, NULL }

CUresult cuLaunchKernel(GRID, void **extra)
{
	return launch(KERNEL(extra), stream, LEGACY_STREAM);
}

CUresult cuLaunchKernel_ptsz(GRID, void **extra)
{
	return launch(KERNEL(extra), stream, THREAD_STREAM);
}

CUresult cuLaunchCooperativeKernel(GRID)
{
	return launch(KERNEL(NULL), stream, LEGACY_STREAM);
}

CUresult cuLaunchCooperativeKernel_ptsz(GRID)
{
	return launch(KERNEL(NULL), stream, THREAD_STREAM);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra)
{
	if (!config)
		return driver.ready ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
	return launch(CONFIGURED, config->hStream, LEGACY_STREAM);
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra)
{
	if (!config)
		return driver.ready ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
	return launch(CONFIGURED, config->hStream, THREAD_STREAM);
}

/* By threads alone: registers and shared memory of a function that nobody compiled are unknown. */
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size, size_t shared)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	(void)shared;
	if (!failure)
		failure = function_check(function);
	if (failure)
		return failure;
	if (!blocks || block_size <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	*blocks = chip_of(context->device)->attributes[DEVICE_THREADS] / block_size;
	return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function, int block_size, size_t shared,
                                                              unsigned int flags)
{
	(void)flags;
	return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, shared);
}

CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function, CUoccupancyB2DSize dynamic, size_t shared, int limit)
{
	CUcontext context;
	int size = limit > 0 && limit < BLOCK_SIZE ? limit : BLOCK_SIZE;
	int blocks;
	CUresult failure = cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, size, shared);

	(void)dynamic;
	if (failure)
		return failure;
	if (!grid || !block)
		return CUDA_ERROR_INVALID_VALUE;
	current_context(&context);
	*block = size;
	*grid = blocks * chip_of(context->device)->attributes[DEVICE_SMS];
	return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function, CUoccupancyB2DSize dynamic, size_t shared,
                                                   int limit, unsigned int flags)
{
	(void)flags;
	return cuOccupancyMaxPotentialBlockSize(grid, block, function, dynamic, shared, limit);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks, int block_size)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	int all;

	if (!failure)
		failure = function_check(function);
	if (failure)
		return failure;
	if (!bytes || blocks <= 0 || block_size <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	all = chip_of(context->device)->attributes[DEVICE_SHARED];
	*bytes = (size_t)(all / blocks < DEFAULT_SHARED ? all / blocks : DEFAULT_SHARED);
	return CUDA_SUCCESS;
}

/* Clusters came with compute capability 9.0. */
static CUresult cluster_answer(int *value, CUfunction function, const CUlaunchConfig *config, int (*answer)(CUdevice))
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (!failure)
		failure = function_check(function);
	if (failure)
		return failure;
	if (!value || !config)
		return CUDA_ERROR_INVALID_VALUE;
	*value = chip_of(context->device)->attributes[DEVICE_MAJOR] < 9 ? 0 : answer(context->device);
	return CUDA_SUCCESS;
}

static int portable_size(CUdevice device)
{
	(void)device;
	return CLUSTER;
}

static int active(CUdevice device)
{
	return chip_of(device)->attributes[DEVICE_SMS] / CLUSTER;
}

CUresult cuOccupancyMaxPotentialClusterSize(int *size, CUfunction function, const CUlaunchConfig *config)
{
	return cluster_answer(size, function, config, portable_size);
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config)
{
	return cluster_answer(clusters, function, config, active);
}
