/* libcuda: host memory that the driver knows of, and what it knows of a pointer. Host memory costs a device nothing. */
#define _GNU_SOURCE
#include "cuda_memory.h"

#include <stdlib.h>
#include <sys/mman.h>

/* One range of page-locked host memory: the driver's own, or registered by the program. Newest first; there are few. */
struct pinned {
	char *start;
	size_t bytes;
	unsigned int flags;
	bool registered;
	struct pinned *next;
};

static struct pinned *pinned;

/* Locked. */
static struct pinned **find(const void *address)
{
	for (struct pinned **at = &pinned; *at; at = &(*at)->next)
		if ((const char *)address >= (*at)->start && (const char *)address < (*at)->start + (*at)->bytes)
			return at;
	return NULL;
}

static CUresult add(void *start, size_t bytes, unsigned int flags, bool registered)
{
	struct pinned *fresh = malloc(sizeof *fresh);

	if (!fresh)
		return CUDA_ERROR_OUT_OF_MEMORY;
	driver_lock();
	*fresh = (struct pinned){start, bytes, flags, registered, pinned};
	pinned = fresh;
	driver_unlock();
	return CUDA_SUCCESS;
}

/* Takes the record that starts at ADDRESS out of the list. The caller frees it. */
static struct pinned *take(const void *address, bool registered)
{
	struct pinned **at, *found = NULL;

	driver_lock();
	at = find(address);
	if (at && (*at)->start == address && (*at)->registered == registered) {
		found = *at;
		*at = found->next;
	}
	driver_unlock();
	return found;
}

CUresult cuMemHostAlloc(void **address, size_t bytes, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	void *start;

	if (failure)
		return failure;
	if (!address || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return CUDA_ERROR_OUT_OF_MEMORY;
	failure = add(start, bytes, flags, false);
	if (failure)
		munmap(start, bytes);
	else
		*address = start;
	return failure;
}

CUresult cuMemAllocHost_v2(void **address, size_t bytes)
{
	return cuMemHostAlloc(address, bytes, 0);
}

CUresult cuMemFreeHost(void *address)
{
	CUresult failure = driver_ready();
	struct pinned *found = failure ? NULL : take(address, false);

	if (failure)
		return failure;
	if (!found)
		return CUDA_ERROR_INVALID_VALUE;
	munmap(found->start, found->bytes);
	free(found);
	return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void *host, size_t bytes, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	bool known;

	if (failure)
		return failure;
	if (!host || !bytes)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	known = find(host) != NULL;
	driver_unlock();
	return known ? CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED : add(host, bytes, flags, true);
}

CUresult cuMemHostUnregister(void *host)
{
	CUresult failure = driver_ready();
	struct pinned *found = failure ? NULL : take(host, true);

	if (failure)
		return failure;
	if (!found)
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	free(found);
	return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *host, unsigned int flags)
{
	unsigned int unused;
	CUresult failure = cuMemHostGetFlags(&unused, host);

	if (failure)
		return failure;
	if (!address || flags)
		return CUDA_ERROR_INVALID_VALUE;
	*address = (CUdeviceptr)(uintptr_t)host;        /* one address space for host and devices */
	return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *host)
{
	CUresult failure = driver_ready();
	struct pinned **at;

	if (failure)
		return failure;
	driver_lock();
	at = find(host);
	if (at && flags)
		*flags = (*at)->flags;
	driver_unlock();
	return at && flags ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* CUpointer_attribute and CUmemorytype, as documented. */
enum {
	POINTER_CONTEXT = 1,
	POINTER_MEMORY_TYPE = 2,
	POINTER_DEVICE = 3,
	POINTER_HOST = 4,
	POINTER_BUFFER_ID = 7,
	POINTER_IS_MANAGED = 8,
	POINTER_ORDINAL = 9,
	POINTER_RANGE_START = 11,
	POINTER_RANGE_SIZE = 12,
	POINTER_MAPPED = 13,
	POINTER_MEMPOOL = 17,
	MEMORY_HOST = 1,
	MEMORY_DEVICE = 2,
};

/* What a pointer is: in a block, in page-locked host memory, or neither. */
struct pointer {
	CUdeviceptr address;
	const struct block *block;
	const struct pinned *host;
};

static CUresult give_range(const struct pointer *pointer, int attribute, void *value)
{
	bool start = attribute == POINTER_RANGE_START;

	if (pointer->block && start)
		*(CUdeviceptr *)value = block_address(pointer->block);
	else if (pointer->block)
		*(size_t *)value = pointer->block->requested;
	else if (start)
		*(CUdeviceptr *)value = (CUdeviceptr)(uintptr_t)pointer->host->start;
	else
		*(size_t *)value = pointer->host->bytes;
	return CUDA_SUCCESS;
}

/* Of a pointer that the driver knows. */
static CUresult give(const struct pointer *pointer, int attribute, void *value)
{
	const struct block *block = pointer->block;
	bool managed = block && block->managed;

	switch (attribute) {
	case POINTER_CONTEXT:
		*(CUcontext *)value = block ? block->context : NULL;
		return CUDA_SUCCESS;
	case POINTER_MEMORY_TYPE:
		*(unsigned int *)value = block ? MEMORY_DEVICE : MEMORY_HOST;
		return CUDA_SUCCESS;
	case POINTER_DEVICE:
		*(CUdeviceptr *)value = pointer->address;
		return CUDA_SUCCESS;
	case POINTER_HOST:
		if (block && !managed)
			return CUDA_ERROR_INVALID_VALUE;
		*(void **)value = (void *)(uintptr_t)pointer->address;
		return CUDA_SUCCESS;
	case POINTER_BUFFER_ID:
		*(unsigned long long *)value = block ? block_address(block) : (uintptr_t)pointer->host->start;
		return CUDA_SUCCESS;
	case POINTER_IS_MANAGED:
	case POINTER_MAPPED:
		*(unsigned int *)value = attribute == POINTER_MAPPED || managed;
		return CUDA_SUCCESS;
	case POINTER_ORDINAL:
		*(int *)value = block ? block->context->device : 0;
		return CUDA_SUCCESS;
	case POINTER_RANGE_START:
	case POINTER_RANGE_SIZE:
		return give_range(pointer, attribute, value);
	case POINTER_MEMPOOL:
		*(CUmemoryPool *)value = block ? block->pool : NULL;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_NOT_SUPPORTED;
	}
}

/* Locked. */
static bool identify(CUdeviceptr address, struct pointer *pointer)
{
	struct pinned **host = find((void *)(uintptr_t)address);

	*pointer = (struct pointer){address, block_around(address), host ? *host : NULL};
	return pointer->block || pointer->host;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct pointer pointer;

	if (failure)
		return failure;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = identify(address, &pointer) ? give(&pointer, (int)attribute, value) : CUDA_ERROR_INVALID_VALUE;
	driver_unlock();
	return failure;
}

/* How many bytes an attribute has, for the plural, which sets what it cannot say to zero and succeeds. */
static size_t width(int attribute)
{
	switch (attribute) {
	case POINTER_MEMORY_TYPE:
	case POINTER_ORDINAL:
		return sizeof(int);
	case POINTER_IS_MANAGED:
	case POINTER_MAPPED:
		return 1;                       /* the size of a C++ bool: programs give no more room */
	default:
		return sizeof(void *);
	}
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **values, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!attributes || !values)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count; i++) {
		unsigned long long answer = 0;

		if (cuPointerGetAttribute(&answer, attributes[i], address))
			answer = 0;
		__builtin_memcpy(values[i], &answer, width((int)attributes[i]));
	}
	return CUDA_SUCCESS;
}
