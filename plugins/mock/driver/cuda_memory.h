/* Linear device memory, as the other files of libcuda see it. */
#ifndef HAMI_MOCK_CUDA_MEMORY_H
#define HAMI_MOCK_CUDA_MEMORY_H

#include "blocks.h"
#include "cuda_driver.h"

/* Where memory lies. Numbers are the interface's. */
enum { LOCATION_DEVICE = 1, LOCATION_HOST = 2, LOCATION_HOST_NUMA = 3, LOCATION_HOST_NUMA_CURRENT = 4 };
enum { ACCESS_NONE = 0, ACCESS_READ = 1, ACCESS_READ_WRITE = 3 };
enum { HANDLE_NONE = 0, HANDLE_DESCRIPTOR = 1 };        /* CUmemAllocationHandleType; others exist elsewhere */

/* Allocate BYTES on the device of CONTEXT, or of POOL if there is one. */
CUresult memory_allocate(CUcontext context, CUmemoryPool pool, uint64_t bytes, bool managed, CUdeviceptr *address);

/* The end of whatever starts at ADDRESS. */
CUresult memory_free(CUdeviceptr address);

/* Locked. Put a block among a context's, and take it out; end a block and give back what it held. */
void memory_link(struct block *block, CUcontext context);
void memory_end(struct block *block);

/* What a range of device addresses is. */
struct range {
	CUdeviceptr start;
	uint64_t size;
	CUcontext context;                      /* NULL: of no context */
	CUmemoryPool pool;
	CUdevice device;
	bool managed, host;
	bool plain;                             /* one that cuMemAlloc and its kin gave */
};

/* Locked. The range that holds ADDRESS: a block, a mapping, page-locked host memory. Returns false for host memory that the driver does not know. */
bool memory_range(CUdeviceptr address, struct range *range);

/*
 * Locked. Where the bytes at ADDRESS lie on the host, and in *LENGTH how many follow there (as many as asked for, or less). NULL at *PLACE: they were
 * never written. False: no memory, no access, or no room on the host for what is to be written.
 */
bool memory_place(CUdeviceptr address, bool write, char **place, uint64_t *length);

#endif
