/* Host memory that the driver knows of, as the other files of libcuda see it. */
#ifndef HAMI_MOCK_CUDA_HOST_H
#define HAMI_MOCK_CUDA_HOST_H

#include "cuda_memory.h"

/* Locked. The page-locked range that holds ADDRESS. Returns false if there is none. */
bool host_range(CUdeviceptr address, struct range *range);

#endif
