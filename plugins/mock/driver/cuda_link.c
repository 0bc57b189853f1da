/* libcuda: the linker. What it is given comes out one after another: there is nothing to link, and names in PTX stay readable. */
#include "cuda_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINK_MAGIC = 0x4c6e6b31 };

/* Never freed, so a stale handle is recognised; what was linked is. */
struct CUlinkState_st {
	uint32_t magic;
	char *image;
	size_t size;
};

static CUresult check(CUlinkState state)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return state && state->magic == LINK_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	(void)count;
	(void)options;
	(void)values;
	if (failure)
		return failure;
	if (!state)
		return CUDA_ERROR_INVALID_VALUE;
	*state = calloc(1, sizeof **state);
	if (!*state)
		return CUDA_ERROR_OUT_OF_MEMORY;
	(*state)->magic = LINK_MAGIC;
	return CUDA_SUCCESS;
}

/* A zero that ends a text does not stay in the midst of one. */
CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name, unsigned int count,
                          CUjit_option *options, void **values)
{
	CUresult failure = check(state);
	char *more;

	(void)type;
	(void)name;
	(void)count;
	(void)options;
	(void)values;
	if (failure)
		return failure;
	if (!data || !size)
		return CUDA_ERROR_INVALID_VALUE;
	if (((const char *)data)[size - 1] == '\0')
		size--;
	more = realloc(state->image, state->size + size + 1);
	if (!more)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(more + state->size, data, size);
	state->image = more;
	state->size += size;
	more[state->size] = '\0';
	return CUDA_SUCCESS;
}

CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned int count, CUjit_option *options, void **values)
{
	CUresult failure = check(state);
	char piece[4096];
	FILE *file;
	size_t size;

	if (failure)
		return failure;
	file = path ? fopen(path, "r") : NULL;
	if (!file)
		return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
	while (!failure && (size = fread(piece, 1, sizeof piece, file)) > 0)
		failure = cuLinkAddData_v2(state, type, piece, size, path, count, options, values);
	fclose(file);
	return failure;
}

CUresult cuLinkComplete(CUlinkState state, void **image, size_t *size)
{
	CUresult failure = check(state);

	if (failure)
		return failure;
	if (!image || !state->image)
		return CUDA_ERROR_INVALID_VALUE;
	*image = state->image;
	if (size)
		*size = state->size + 1;
	return CUDA_SUCCESS;
}

CUresult cuLinkDestroy(CUlinkState state)
{
	CUresult failure = check(state);

	if (failure)
		return failure;
	state->magic = 0;
	free(state->image);
	return CUDA_SUCCESS;
}

/* The first forms differ in the width of what options point to, which nobody reads here. */
CUresult cuLinkCreate(unsigned int count, CUjit_option *options, void **values, CUlinkState *state)
{
	return cuLinkCreate_v2(count, options, values, state);
}

CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name, unsigned int count,
                       CUjit_option *options, void **values)
{
	return cuLinkAddData_v2(state, type, data, size, name, count, options, values);
}

CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned int count, CUjit_option *options, void **values)
{
	return cuLinkAddFile_v2(state, type, path, count, options, values);
}
