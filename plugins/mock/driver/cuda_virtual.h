/* Virtual memory management, as the other files of libcuda see it: physical memory, reserved addresses, and mappings of one to the other. */
#ifndef HAMI_MOCK_CUDA_VIRTUAL_H
#define HAMI_MOCK_CUDA_VIRTUAL_H

#include "cuda_memory.h"

#define VIRTUAL_BASE (1ULL << 50)               /* above all blocks (blocks.c) */
#define VIRTUAL_GRANULE (2ULL << 20)

/* Locked. As memory_range() and memory_place() say, of addresses from VIRTUAL_BASE on. */
bool virtual_range(CUdeviceptr address, struct range *range);
bool virtual_is_writable(CUdeviceptr address);  /* true of all others */
bool virtual_place(CUdeviceptr address, bool write, char **place, uint64_t *length);

#endif
