/* libcuda: memory of another interface (a graphics one, say), imported by its file descriptor and mapped. Its owner pays for it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cuda_array.h"
#include "cuda_memory.h"

enum { EXTERNAL_MAGIC = 0x45787431, OPAQUE_DESCRIPTOR = 1, DEDICATED = 1 };

/* Never freed, so a stale handle is recognised. */
struct CUextMemory_st {
	uint32_t magic;
	int file;
	uint64_t size;
};

static CUresult check(CUexternalMemory memory)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return memory && memory->magic == EXTERNAL_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* The descriptor is the driver's from here on, as the interface says. It has to be one of something as large as is claimed. */
CUresult cuImportExternalMemory(CUexternalMemory *memory, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *given)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct stat about;

	if (failure)
		return failure;
	if (!memory || !given || !given->size || given->flags & ~(unsigned)DEDICATED)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)given->type != OPAQUE_DESCRIPTOR)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (fstat(given->handle.fd, &about) < 0 || (uint64_t)about.st_size < given->size)
		return CUDA_ERROR_INVALID_VALUE;
	*memory = malloc(sizeof **memory);
	if (!*memory)
		return CUDA_ERROR_OUT_OF_MEMORY;
	**memory = (struct CUextMemory_st){EXTERNAL_MAGIC, given->handle.fd, given->size};
	fcntl(given->handle.fd, F_SETFD, FD_CLOEXEC);
	return CUDA_SUCCESS;
}

/* What is mapped stays. */
CUresult cuDestroyExternalMemory(CUexternalMemory memory)
{
	CUresult failure = check(memory);

	if (failure)
		return failure;
	memory->magic = 0;
	close(memory->file);
	return CUDA_SUCCESS;
}

/* Locked. The block's own bytes are the file's. */
static bool map_file(CUexternalMemory memory, uint64_t offset, struct block *block)
{
	char *bytes = block_bytes(block);
	uint64_t size = (block->requested + 4095) & ~4095ULL;

	return bytes && mmap(bytes, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory->file, (off_t)offset) == bytes;
}

/* Freed by cuMemFree, as documented. */
CUresult cuExternalMemoryGetMappedBuffer(CUdeviceptr *address, CUexternalMemory memory, const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *given)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct block *block;

	if (!failure)
		failure = check(memory);
	if (failure)
		return failure;
	if (!address || !given || !given->size || given->flags || given->offset > memory->size || given->size > memory->size - given->offset
	    || given->offset % 4096)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	block = block_begin(given->size, false);
	if (block) {
		block->flags = BLOCK_IMPORTED;
		block->physical = 0;
		block->pool = NULL;
		memory_link(block, context);
		*address = block_address(block);
		if (!map_file(memory, given->offset, block)) {
			memory_end(block);
			block = NULL;
		}
	}
	driver_unlock();
	return block ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Its elements are not those of the file: how a device lays out an array is its own matter. */
CUresult cuExternalMemoryGetMappedMipmappedArray(CUmipmappedArray *array, CUexternalMemory memory,
                                                 const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC *given)
{
	CUresult failure = check(memory);

	if (failure)
		return failure;
	if (!given || given->offset > memory->size)
		return CUDA_ERROR_INVALID_VALUE;
	return mipmapped_array_in(array, &given->arrayDesc, given->numLevels);
}
