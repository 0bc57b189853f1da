/* libcuda: tensor maps: checked and filled in. Nothing here reads one, so what is in it is this library's own matter. */
#include "cuda_driver.h"

#include <string.h>

enum { MAJOR = 75, FIRST_MAJOR = 9, RANKS = 5, TYPES = 16, ADDRESS_ALIGNMENT = 16, LARGEST_BOX = 256 };

static CUresult check(CUtensorMap *map, int type, cuuint32_t rank, void *address, const cuuint64_t *sizes)
{
	if (!driver.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (chip_of(0)->attributes[MAJOR] < FIRST_MAJOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!map || (uintptr_t)map % 64 || type < 0 || type >= TYPES || !rank || rank > RANKS)
		return CUDA_ERROR_INVALID_VALUE;
	if (!address || (uintptr_t)address % ADDRESS_ALIGNMENT || !sizes)
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult encode(CUtensorMap *map, int type, cuuint32_t rank, void *address, const cuuint64_t *sizes)
{
	CUresult failure = check(map, type, rank, address, sizes);

	if (failure)
		return failure;
	memset(map, 0, sizeof *map);
	map->opaque[0] = (uintptr_t)address;
	map->opaque[1] = (cuuint64_t)type << 32 | rank;
	memcpy(&map->opaque[2], sizes, rank * sizeof *sizes);
	return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *sizes,
                                const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *element_strides,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill)
{
	(void)interleave;
	(void)swizzle;
	(void)promotion;
	(void)fill;
	if (!box || !element_strides || (rank > 1 && !strides))
		return driver.ready ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
	for (cuuint32_t i = 0; i < rank && i < RANKS; i++)
		if (!box[i] || box[i] > LARGEST_BOX)
			return CUDA_ERROR_INVALID_VALUE;
	return encode(map, (int)type, rank, address, sizes);
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *sizes,
                                 const cuuint64_t *strides, const int *lower, const int *upper, cuuint32_t channels, cuuint32_t pixels,
                                 const cuuint32_t *element_strides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
	(void)channels;
	(void)pixels;
	(void)interleave;
	(void)swizzle;
	(void)promotion;
	(void)fill;
	if (!strides || !lower || !upper || !element_strides)
		return driver.ready ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_INITIALIZED;
	return encode(map, (int)type, rank, address, sizes);
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *map, void *address)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!map || !address || (uintptr_t)address % ADDRESS_ALIGNMENT)
		return CUDA_ERROR_INVALID_VALUE;
	map->opaque[0] = (uintptr_t)address;
	return CUDA_SUCCESS;
}
