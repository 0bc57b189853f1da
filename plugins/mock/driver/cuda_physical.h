/* Physical device memory behind a generic handle: it lives until its last reference and its last mapping are gone, in any order. */
#ifndef HAMI_MOCK_CUDA_PHYSICAL_H
#define HAMI_MOCK_CUDA_PHYSICAL_H

#include "cuda_memory.h"

struct physical {
	uint64_t size;
	uint32_t references;                    /* of handles; the record ends with the last of both */
	uint32_t mappings;
	uint32_t generation;
	uint32_t number;
	CUmemAllocationProp properties;
	CUdevice device;                        /* -1: on the host */
	bool imported;
	char *bytes;                            /* on the host; NULL: never touched here */
	struct shared *shared;
	struct physical *next_free;
};

/* Locked. The record of a handle; NULL if that is none any more. */
struct physical *physical_of(CUmemGenericAllocationHandle handle);
CUmemGenericAllocationHandle physical_handle(const struct physical *physical);

/* Locked. End it if nothing refers to it. */
void physical_settle(struct physical *physical);

/* Locked. Its bytes on the host; NULL if the host has no room. */
char *physical_bytes(struct physical *physical);

#endif
