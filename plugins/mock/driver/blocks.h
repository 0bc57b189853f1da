/*
 * The addresses of device memory, and what is known of each allocation.
 *
 * Every block lies at the start of a slot whose size is a power of two, and all slots of one size lie in one window of addresses: so the
 * record of any address, also of one inside a block, is found by arithmetic, at any number of blocks. Device addresses start at 2^47, where no
 * program has memory of its own: nothing is reserved for them. Managed blocks are host memory and lie in windows below that.
 * The bytes of a block exist on the host only once they are written (block_bytes).
 *
 * Callers hold the driver's lock. No system call, unless a table grows or a block has bytes.
 */
#ifndef HAMI_MOCK_BLOCKS_H
#define HAMI_MOCK_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "cuda_abi.h"

struct shared;

struct block {
	struct block *next, *previous;          /* in the context's list while in use, else `next` in the list of free slots */
	CUcontext context;
	CUmemoryPool pool;                      /* NULL unless allocated from a pool */
	char *bytes;                            /* on the host; NULL: never written, or of another process and not touched here */
	struct shared *shared;                  /* NULL unless other processes may hold it (cuda_shared.h) */
	uint64_t requested;
	uint64_t physical;
	uint32_t index;
	uint32_t references;                    /* of nodes to a graph's memory; of openings of an IPC handle */
	uint8_t shift;                          /* the slot's size is 1 << shift */
	uint8_t flags;                          /* enum block_flags; 0: what cuMemAlloc gives */
	uint8_t graph_device;
	bool managed;
	bool used;
};

enum block_flags {
	BLOCK_IMPORTED = 1,                     /* held, but not charged here: another process's, or a module's variable */
	BLOCK_KEPT = 2,                         /* not the program's to free as memory */
	BLOCK_GRAPH = 4,                        /* a node's of a graph: there only between allocation and free (cuda_graph_memory.c) */
};

#define BLOCK_LARGEST (1ULL << 40)

/* A slot for BYTES (1 to BLOCK_LARGEST); the caller fills in the rest. NULL if there is no host memory for records, or for managed bytes. */
struct block *block_begin(uint64_t bytes, bool managed);
void block_end(struct block *block);

CUdeviceptr block_address(const struct block *block);

/* The block that starts at ADDRESS, or the one that holds ADDRESS; NULL if there is none. */
struct block *block_at(CUdeviceptr address);
struct block *block_around(CUdeviceptr address);

/* The block's bytes on the host, zero at first. NULL if the host has no room. */
char *block_bytes(struct block *block);

/* How long their mapping is. */
uint64_t block_size(const struct block *block);

#endif
