/* libcuda: many copies, prefetches or discards in one call, and what is known of a managed range. Where managed memory lies changes nothing here. */
#include "cuda_memory.h"
#include "cuda_work.h"

#include <string.h>

enum { UNSET_DEVICE = -2, DEVICES_FIRST = 2, DEVICES_LAST = 4 };        /* CU_DEVICE_INVALID; the attributes that name devices */

static CUresult copy_all(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, size_t *failed, CUstream stream, int kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, (enum stream_kind)kind, &context);

	if (failure)
		return failure;
	if (!to || !from || !sizes || !count)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count && !failure; i++) {
		struct work work = work_copy(to[i], from[i], sizes[i]);

		failure = sizes[i] ? work_submit(stream, (enum stream_kind)kind, &work) : CUDA_ERROR_INVALID_VALUE;
		if (failure && failed)
			*failed = i;
	}
	return failure;
}

/* The whole range must be memory of the driver's. */
static CUresult check_ranges(CUdeviceptr *addresses, size_t *sizes, size_t count, CUstream stream, int kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, (enum stream_kind)kind, &context);
	struct range range;

	if (failure)
		return failure;
	if (!addresses || !sizes || !count)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	for (size_t i = 0; i < count && !failure; i++)
		if (!memory_range(addresses[i], &range) || sizes[i] > range.size - (addresses[i] - range.start))
			failure = CUDA_ERROR_INVALID_VALUE;
	driver_unlock();
	return failure;
}

/* Each function for both kinds of default stream. */
#define BOTH(name, parameters, call_with_kind) \
	CUresult name parameters { const int kind = LEGACY_STREAM; return call_with_kind; } \
	CUresult name##_ptsz parameters { const int kind = THREAD_STREAM; return call_with_kind; }
BOTH(cuMemcpyBatchAsync, (CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUmemcpyAttributes *attributes, size_t *which,
                          size_t attribute_count, size_t *failed, CUstream stream),
     ((void)attributes, (void)which, (void)attribute_count, copy_all(to, from, sizes, count, failed, stream, kind)))
BOTH(cuMemcpyBatchAsync_v2, (CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count, CUmemcpyAttributes *attributes, size_t *which,
                             size_t attribute_count, CUstream stream),
     ((void)attributes, (void)which, (void)attribute_count, copy_all(to, from, sizes, count, NULL, stream, kind)))
BOTH(cuMemPrefetchBatchAsync, (CUdeviceptr *addresses, size_t *sizes, size_t count, CUmemLocation *locations, size_t *which,
                               size_t location_count, unsigned long long flags, CUstream stream),
     ((void)locations, (void)which, (void)location_count, flags ? CUDA_ERROR_INVALID_VALUE : check_ranges(addresses, sizes, count, stream, kind)))
BOTH(cuMemDiscardBatchAsync, (CUdeviceptr *addresses, size_t *sizes, size_t count, unsigned long long flags, CUstream stream),
     flags ? CUDA_ERROR_INVALID_VALUE : check_ranges(addresses, sizes, count, stream, kind))
BOTH(cuMemDiscardAndPrefetchBatchAsync, (CUdeviceptr *addresses, size_t *sizes, size_t count, CUmemLocation *locations, size_t *which,
                                         size_t location_count, unsigned long long flags, CUstream stream),
     ((void)locations, (void)which, (void)location_count, flags ? CUDA_ERROR_INVALID_VALUE : check_ranges(addresses, sizes, count, stream, kind)))
#undef BOTH

/* Advice is taken and not kept: the answers are those of a range that nobody advised about. */
CUresult cuMemRangeGetAttribute(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr address, size_t bytes)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct range range;
	int value = (int)attribute >= DEVICES_FIRST && (int)attribute <= DEVICES_LAST ? UNSET_DEVICE : 0;
	bool managed;

	if (failure)
		return failure;
	driver_lock();
	managed = memory_range(address, &range) && range.managed;
	driver_unlock();
	if (!data || size < sizeof value || size % sizeof value || !managed || bytes > range.size - (address - range.start))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t at = 0; at < size; at += sizeof value)
		memcpy((char *)data + at, &value, sizeof value);
	return CUDA_SUCCESS;
}

CUresult cuMemRangeGetAttributes(void **data, size_t *sizes, CUmem_range_attribute *attributes, size_t count, CUdeviceptr address, size_t bytes)
{
	CUresult failure = data && sizes && attributes && count ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;

	for (size_t i = 0; i < count && !failure; i++)
		failure = cuMemRangeGetAttribute(data[i], sizes[i], attributes[i], address, bytes);
	return failure;
}
