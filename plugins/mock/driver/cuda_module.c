/*
 * libcuda: modules, libraries, functions, launches. Nothing looks inside an image: a function exists as soon as somebody names it, and a
 * launch computes nothing. Memory stays as it was found.
 */
#include "cuda_driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODULE_MAGIC = 0x4d6f6431, FUNCTION_MAGIC = 0x46756e31, EAGER = 1, BLOCK_SIZE = 256 };

/* A function of a module. A kernel of a library is the same record. */
struct CUfunc_st {
	uint32_t magic;
	CUmodule module;
	struct CUfunc_st *next;
	char name[];
};

/* A module. A library is the same record. Records are never freed, so a stale handle is recognised. */
struct CUmod_st {
	uint32_t magic;                         /* 0 once unloaded */
	struct CUfunc_st *functions;
};

static CUresult check_module(CUmodule module)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return module && module->magic == MODULE_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult check_function(CUfunction function)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return function && function->magic == FUNCTION_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult load(CUmodule *module, const void *image)
{
	if (!module || !image)
		return CUDA_ERROR_INVALID_VALUE;
	*module = calloc(1, sizeof **module);
	if (!*module)
		return CUDA_ERROR_OUT_OF_MEMORY;
	(*module)->magic = MODULE_MAGIC;
	return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	return failure ? failure : load(module, image);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count, CUjit_option *options, void **values)
{
	(void)count;
	(void)options;
	(void)values;
	return cuModuleLoadData(module, image);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image)
{
	return cuModuleLoadData(module, image);
}

CUresult cuModuleLoad(CUmodule *module, const char *path)
{
	if (path && access(path, R_OK) < 0)
		return driver.ready ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_NOT_INITIALIZED;
	return cuModuleLoadData(module, path);
}

CUresult cuModuleUnload(CUmodule module)
{
	CUresult failure = check_module(module);

	if (!failure)
		module->magic = 0;
	return failure;
}

/* Locked. */
static CUfunction find_or_make(CUmodule module, const char *name)
{
	CUfunction function;

	for (function = module->functions; function; function = function->next)
		if (strcmp(function->name, name) == 0)
			return function;
	function = calloc(1, sizeof *function + strlen(name) + 1);
	if (!function)
		return NULL;
	function->magic = FUNCTION_MAGIC;
	function->module = module;
	function->next = module->functions;
	strcpy(function->name, name);
	module->functions = function;
	return function;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
	CUresult failure = check_module(module);

	if (failure)
		return failure;
	if (!function || !name)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	*function = find_or_make(module, name);
	driver_unlock();
	return *function ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!mode)
		return CUDA_ERROR_INVALID_VALUE;
	*mode = EAGER;
	return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jit_options, void **jit_values, unsigned int jit_count,
                           CUlibraryOption *options, void **values, unsigned int count)
{
	CUresult failure = driver_ready();

	(void)jit_options;
	(void)jit_values;
	(void)jit_count;
	(void)options;
	(void)values;
	(void)count;
	return failure ? failure : load((CUmodule *)library, code);
}

CUresult cuLibraryUnload(CUlibrary library)
{
	return cuModuleUnload((CUmodule)library);
}

CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
	return cuModuleGetFunction((CUfunction *)kernel, (CUmodule)library, name);
}

CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
	CUresult failure = check_module((CUmodule)library);

	if (failure)
		return failure;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	*module = (CUmodule)library;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
	CUresult failure = check_function((CUfunction)kernel);

	if (failure)
		return failure;
	if (!function)
		return CUDA_ERROR_INVALID_VALUE;
	*function = (CUfunction)kernel;
	return CUDA_SUCCESS;
}

/* CUfunction_attribute: 0 threads per block, 4 registers, 5 and 6 PTX and binary version, 8 dynamic shared memory; the rest 0. */
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function)
{
	static const int values[] = {1024, 0, 0, 0, 32, 75, 75, 0, 49152};
	CUresult failure = check_function(function);

	if (failure)
		return failure;
	if (!value || (int)attribute < 0)
		return CUDA_ERROR_INVALID_VALUE;
	*value = (size_t)attribute < sizeof values / sizeof values[0] ? values[attribute] : 0;
	return CUDA_SUCCESS;
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel kernel, CUdevice device)
{
	CUresult failure = driver_device(device);

	return failure ? failure : cuFuncGetAttribute(value, attribute, (CUfunction)kernel);
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value)
{
	(void)attribute;
	(void)value;
	return check_function(function);
}

CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config)
{
	(void)config;
	return check_function(function);
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function)
{
	CUresult failure = check_function(function);

	if (failure)
		return failure;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	*module = function->module;
	return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction function)
{
	CUresult failure = check_function(function);

	if (failure)
		return failure;
	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = function->name;
	return CUDA_SUCCESS;
}

static CUresult launch(CUfunction function, bool sizes)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!function || function->magic != FUNCTION_MAGIC)
		return CUDA_ERROR_INVALID_HANDLE;
	return sizes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                        unsigned int block_y, unsigned int block_z, unsigned int shared, CUstream stream, void **parameters, void **extra)
{
	(void)shared;
	(void)stream;
	(void)parameters;
	(void)extra;
	return launch(function, grid_x && grid_y && grid_z && block_x && block_y && block_z);
}

CUresult cuLaunchKernel_ptsz(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                             unsigned int block_y, unsigned int block_z, unsigned int shared, CUstream stream, void **parameters,
                             void **extra)
{
	return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                                   unsigned int block_y, unsigned int block_z, unsigned int shared, CUstream stream, void **parameters)
{
	return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, NULL);
}

CUresult cuLaunchCooperativeKernel_ptsz(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                                        unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                                        CUstream stream, void **parameters)
{
	return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, NULL);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra)
{
	(void)parameters;
	(void)extra;
	if (!config)
		return driver.ready ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
	return launch(function, config->gridDimX && config->gridDimY && config->gridDimZ && config->blockDimX && config->blockDimY
	                            && config->blockDimZ);
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra)
{
	return cuLaunchKernelEx(config, function, parameters, extra);
}

/* By threads alone: registers and shared memory of a function that nobody compiled are unknown. */
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size, size_t shared)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	(void)shared;
	if (!failure)
		failure = check_function(function);
	if (failure)
		return failure;
	if (!blocks || block_size <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	*blocks = chip_of(context->device)->attributes[39] / block_size;
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
	*grid = blocks * chip_of(context->device)->attributes[16];
	return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction function, CUoccupancyB2DSize dynamic, size_t shared,
                                                   int limit, unsigned int flags)
{
	(void)flags;
	return cuOccupancyMaxPotentialBlockSize(grid, block, function, dynamic, shared, limit);
}
