/* libcuda: host memory that the driver knows of, and what it knows of a pointer. Host memory costs a device nothing. */
#define _GNU_SOURCE
#include "cuda_host.h"

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
	POINTER_SYNC_MEMOPS = 6,
	POINTER_BUFFER_ID = 7,
	POINTER_IS_MANAGED = 8,
	POINTER_ORDINAL = 9,
	POINTER_IS_IPC_CAPABLE = 10,
	POINTER_RANGE_START = 11,
	POINTER_RANGE_SIZE = 12,
	POINTER_MAPPED = 13,
	POINTER_HANDLE_TYPES = 14,
	POINTER_IS_RDMA_CAPABLE = 15,
	POINTER_ACCESS = 16,
	POINTER_MEMPOOL = 17,
	POINTER_MAPPING_SIZE = 18,
	POINTER_MAPPING_BASE = 19,
	POINTER_BLOCK_ID = 20,
	MEMORY_HOST = 1,
	MEMORY_DEVICE = 2,
};

bool host_range(CUdeviceptr address, struct range *range)
{
	struct pinned **at = find((void *)(uintptr_t)address);

	if (!at)
		return false;
	*range = (struct range){.start = (CUdeviceptr)(uintptr_t)(*at)->start, .size = (*at)->bytes, .host = true};
	return true;
}

/* Of a pointer that the driver knows. */
static CUresult give(CUdeviceptr address, const struct range *range, int attribute, void *value)
{
	bool on_host = range->host && !range->managed;

	switch (attribute) {
	case POINTER_CONTEXT:
		*(CUcontext *)value = range->context;
		return range->context || on_host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	case POINTER_MEMORY_TYPE:
		*(unsigned int *)value = on_host ? MEMORY_HOST : MEMORY_DEVICE;
		return CUDA_SUCCESS;
	case POINTER_DEVICE:
		*(CUdeviceptr *)value = address;
		return CUDA_SUCCESS;
	case POINTER_HOST:
		if (!range->host && !range->managed)
			return CUDA_ERROR_INVALID_VALUE;
		*(void **)value = (void *)(uintptr_t)address;
		return CUDA_SUCCESS;
	case POINTER_BUFFER_ID:
	case POINTER_BLOCK_ID:
		*(unsigned long long *)value = range->start;
		return CUDA_SUCCESS;
	case POINTER_IS_MANAGED:
	case POINTER_MAPPED:
		*(unsigned int *)value = attribute == POINTER_MAPPED || range->managed;
		return CUDA_SUCCESS;
	case POINTER_SYNC_MEMOPS:
	case POINTER_IS_RDMA_CAPABLE:
	case POINTER_IS_IPC_CAPABLE:
		*(unsigned int *)value = attribute == POINTER_IS_IPC_CAPABLE && range->plain && !range->managed && !range->pool;
		return CUDA_SUCCESS;
	case POINTER_ORDINAL:
		*(int *)value = range->device;
		return CUDA_SUCCESS;
	case POINTER_RANGE_START:
	case POINTER_MAPPING_BASE:
		*(CUdeviceptr *)value = range->start;
		return CUDA_SUCCESS;
	case POINTER_RANGE_SIZE:
	case POINTER_MAPPING_SIZE:
		*(size_t *)value = range->size;
		return CUDA_SUCCESS;
	case POINTER_HANDLE_TYPES:
		*(unsigned long long *)value = 0;
		return CUDA_SUCCESS;
	case POINTER_ACCESS:
		*(unsigned int *)value = ACCESS_READ_WRITE;
		return CUDA_SUCCESS;
	case POINTER_MEMPOOL:
		*(CUmemoryPool *)value = range->pool;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_NOT_SUPPORTED;
	}
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct range range;

	if (failure)
		return failure;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = memory_range(address, &range) ? give(address, &range, (int)attribute, value) : CUDA_ERROR_INVALID_VALUE;
	driver_unlock();
	return failure;
}

/* The one that can be set changes nothing here: copies are synchronous enough. */
CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr address)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct range range;
	bool known;

	if (failure)
		return failure;
	driver_lock();
	known = memory_range(address, &range);
	driver_unlock();
	return value && known && (int)attribute == POINTER_SYNC_MEMOPS ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* How many bytes an attribute has, for the plural, which sets what it cannot say to zero and succeeds. */
static size_t width(int attribute)
{
	switch (attribute) {
	case POINTER_MEMORY_TYPE:
	case POINTER_ORDINAL:
	case POINTER_ACCESS:
		return sizeof(int);
	case POINTER_IS_IPC_CAPABLE:
	case POINTER_IS_RDMA_CAPABLE:
	case POINTER_SYNC_MEMOPS:
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
