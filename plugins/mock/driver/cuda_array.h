/* Arrays, as the other files of libcuda see them. */
#ifndef HAMI_MOCK_CUDA_ARRAY_H
#define HAMI_MOCK_CUDA_ARRAY_H

#include "cuda_driver.h"

/* Where an array's elements lie on the host: rows of `pitch` bytes, slices of `height` rows. */
struct array_bytes {
	char *start;
	uint64_t pitch, height, size;
};

/* Returns false for what is no array. */
bool array_bytes(CUarray array, struct array_bytes *bytes);

/* A mipmapped array in memory that is not its own. */
CUresult mipmapped_array_in(CUmipmappedArray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels);

/* Arrays go with their context. Locked. */
struct change arrays_end_all(CUcontext context);

#endif
