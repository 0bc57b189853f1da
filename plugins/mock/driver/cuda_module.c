/*
 * libcuda: modules and libraries. An image is not executed, and costs no device memory. What PTX declares exists; of other images a function or
 * variable exists as soon as somebody names it. Functions are in cuda_function.c, the linker in cuda_link.c.
 */
#define _GNU_SOURCE
#include "cuda_module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_memory.h"

enum { MODULE_MAGIC = 0x4d6f6431, FUNCTION_MAGIC = 0x46756e31, EAGER = 1, UNKNOWN_SIZE = 4096, FILE_LIMIT = 1 << 28 };

CUresult module_check(CUmodule module)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return module && module->magic == MODULE_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult function_check(CUfunction function)
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
	(*module)->ptx = ptx_is(image) ? strdup(image) : NULL;
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

/* The whole of a file, with a zero behind it. The caller frees. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	long size;

	if (!file)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && size < FILE_LIMIT) {
		rewind(file);
		text = calloc(1, (size_t)size + 1);
		if (text && fread(text, 1, (size_t)size, file) != (size_t)size) {
			free(text);
			text = NULL;
		}
	}
	fclose(file);
	return text;
}

static CUresult load_file(CUmodule *module, const char *path)
{
	char *image = path ? read_file(path) : NULL;
	CUresult failure;

	if (!image)
		return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
	failure = load(module, image);
	free(image);
	return failure;
}

CUresult cuModuleLoad(CUmodule *module, const char *path)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	return failure ? failure : load_file(module, path);
}

/* Locked. */
static void end_variables(CUmodule module)
{
	while (module->variables) {
		struct variable *variable = module->variables;
		struct block *block = block_at(variable->address);

		module->variables = variable->next;
		if (block)
			memory_end(block);
		free(variable);
	}
}

CUresult cuModuleUnload(CUmodule module)
{
	CUresult failure = module_check(module);

	if (failure)
		return failure;
	driver_lock();
	module->magic = 0;
	end_variables(module);
	free(module->ptx);
	module->ptx = NULL;
	driver_unlock();
	return CUDA_SUCCESS;
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

CUresult module_function(CUfunction *function, CUmodule module, const char *name)
{
	if (!function || !name)
		return CUDA_ERROR_INVALID_VALUE;
	if (module->ptx && !ptx_has_entry(module->ptx, name))
		return CUDA_ERROR_NOT_FOUND;
	driver_lock();
	*function = find_or_make(module, name);
	driver_unlock();
	return *function ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
	CUresult failure = module_check(module);

	return failure ? failure : module_function(function, module, name);
}

static unsigned int entries(CUmodule module)
{
	unsigned int count = 0;
	char name[1024];

	if (module->ptx) {
		while (ptx_entry(module->ptx, count, name, sizeof name))
			count++;
		return count;
	}
	for (CUfunction function = module->functions; function; function = function->next)
		count++;
	return count;
}

static CUresult count_entries(unsigned int *count, CUmodule module)
{
	CUresult failure = module_check(module);

	if (failure)
		return failure;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = entries(module);
	return CUDA_SUCCESS;
}

static CUresult list_entries(CUfunction *functions, unsigned int room, CUmodule module)
{
	CUresult failure = module_check(module);
	CUfunction function = failure ? NULL : module->functions;
	char name[1024];

	if (failure)
		return failure;
	if (!functions || room > entries(module))
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < room && !failure; i++) {
		if (module->ptx && ptx_entry(module->ptx, i, name, sizeof name)) {
			failure = module_function(&functions[i], module, name);
		} else {
			functions[i] = function;
			function = function->next;
		}
	}
	return failure;
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule module)
{
	return count_entries(count, module);
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int room, CUmodule module)
{
	return list_entries(functions, room, module);
}

/* Locked. */
static struct variable *make_variable(CUmodule module, CUcontext context, const char *name, uint64_t size)
{
	struct variable *variable = malloc(sizeof *variable + strlen(name) + 1);
	struct block *block = variable ? block_begin(size, false) : NULL;

	if (!block) {
		free(variable);
		return NULL;
	}
	block->flags = BLOCK_IMPORTED | BLOCK_KEPT;           /* part of the image: not charged */
	block->physical = 0;
	block->pool = NULL;
	memory_link(block, context);
	*variable = (struct variable){block_address(block), size, module->variables};
	strcpy(variable->name, name);
	module->variables = variable;
	return variable;
}

/* Locked. */
static CUresult find_variable(CUmodule module, CUcontext context, const char *name, struct variable **found)
{
	uint64_t size = module->ptx ? ptx_variable(module->ptx, name) : UNKNOWN_SIZE;

	for (*found = module->variables; *found; *found = (*found)->next)
		if (strcmp((*found)->name, name) == 0)
			return CUDA_SUCCESS;
	if (!size)
		return CUDA_ERROR_NOT_FOUND;
	*found = make_variable(module, context, name, size);
	return *found ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult give_variable(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name)
{
	struct variable *variable;
	CUcontext context;
	CUresult failure = current_context(&context);

	if (!failure)
		failure = module_check(module);
	if (failure)
		return failure;
	if (!name || (!address && !bytes))
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = find_variable(module, context, name, &variable);
	if (!failure && address)
		*address = variable->address;
	if (!failure && bytes)
		*bytes = variable->size;
	driver_unlock();
	return failure;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name)
{
	return give_variable(address, bytes, module, name);
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

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *path, CUjit_option *jit_options, void **jit_values, unsigned int jit_count,
                               CUlibraryOption *options, void **values, unsigned int count)
{
	CUresult failure = driver_ready();

	(void)jit_options;
	(void)jit_values;
	(void)jit_count;
	(void)options;
	(void)values;
	(void)count;
	return failure ? failure : load_file((CUmodule *)library, path);
}

CUresult cuLibraryUnload(CUlibrary library)
{
	return cuModuleUnload((CUmodule)library);
}

CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
	return cuModuleGetFunction((CUfunction *)kernel, (CUmodule)library, name);
}

CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary library)
{
	return count_entries(count, (CUmodule)library);
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int room, CUlibrary library)
{
	return list_entries((CUfunction *)kernels, room, (CUmodule)library);
}

CUresult cuLibraryGetGlobal(CUdeviceptr *address, size_t *bytes, CUlibrary library, const char *name)
{
	return give_variable(address, bytes, (CUmodule)library, name);
}

CUresult cuLibraryGetManaged(CUdeviceptr *address, size_t *bytes, CUlibrary library, const char *name)
{
	return give_variable(address, bytes, (CUmodule)library, name);
}

CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
	CUresult failure = module_check((CUmodule)library);

	if (failure)
		return failure;
	if (!module)
		return CUDA_ERROR_INVALID_VALUE;
	*module = (CUmodule)library;
	return CUDA_SUCCESS;
}
