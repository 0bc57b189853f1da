/*
 * libcuda: words of memory written and waited for in stream order. A wait that is not over yet is a host function (cuda_host_function.c) that looks
 * until it is: what comes after it in the stream is not done before.
 */
#define _GNU_SOURCE
#include "cuda_memory.h"
#include "cuda_work.h"

#include <stdlib.h>
#include <string.h>

#include "cuda_capture.h"

/* CUstreamBatchMemOpType; the flags of a wait say how it compares. */
enum { WAIT_32 = 1, WRITE_32 = 2, FLUSH = 3, WAIT_64 = 4, WRITE_64 = 5, BARRIER = 6 };
enum { REACHED = 0, EQUAL = 1, AND = 2, COMPARISON = 3, LOOK_NS = 50000 };         /* 3: neither */

struct wait {
	CUdeviceptr address;
	uint64_t value;
	unsigned int width, flags;
};

static bool read_word(const struct wait *wait, uint64_t *word)
{
	uint64_t length;
	char *place;
	bool there;

	*word = 0;
	driver_lock();
	there = memory_place(wait->address, false, &place, &length) && length >= wait->width;
	if (there && place)
		memcpy(word, place, wait->width);       /* little-endian */
	driver_unlock();
	return there;
}

static bool is_over(const struct wait *wait, uint64_t word)
{
	int shift = wait->width == 4 ? 32 : 0;

	switch (wait->flags & COMPARISON) {
	case REACHED: return (int64_t)((word - wait->value) << shift) >= 0;
	case EQUAL: return (word - wait->value) << shift == 0;
	case AND: return (word & wait->value) << shift != 0;
	default: return ~(word | wait->value) << shift != 0;
	}
}

/* Memory that goes away meanwhile ends the wait. */
static void look(void *data)
{
	struct wait wait = *(struct wait *)data;
	uint64_t word;

	free(data);
	while (read_word(&wait, &word) && !is_over(&wait, word))
		machine_sleep(LOOK_NS);
}

static CUresult wait_value(CUstream stream, int kind, CUdeviceptr address, uint64_t value, unsigned int width, unsigned int flags)
{
	struct wait wait = {address, value, width, flags}, *kept;
	struct work work = {.type = WORK_HOST, .host = {look, NULL}};
	CUcontext context;
	CUresult failure = stream_context(stream, (enum stream_kind)kind, &context);
	uint64_t word;

	if (failure)
		return failure;
	if (address % width || !read_word(&wait, &word))
		return CUDA_ERROR_INVALID_VALUE;
	if (stream_is_capturing(stream, (enum stream_kind)kind))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (is_over(&wait, word))
		return CUDA_SUCCESS;
	kept = malloc(sizeof *kept);
	if (!kept)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*kept = wait;
	work.host.userData = kept;
	return work_submit(stream, (enum stream_kind)kind, &work);
}

static CUresult write_word(CUstream stream, int kind, CUdeviceptr address, uint32_t value)
{
	struct work work = {.type = WORK_FILL, .fill = {.dst = address, .value = value, .elementSize = 4, .width = 1, .height = 1}};

	return work_submit(stream, (enum stream_kind)kind, &work);
}

static CUresult write_value(CUstream stream, int kind, CUdeviceptr address, uint64_t value, unsigned int width)
{
	CUresult failure = address % width ? CUDA_ERROR_INVALID_VALUE : write_word(stream, kind, address, (uint32_t)value);

	return failure || width == 4 ? failure : write_word(stream, kind, address + 4, (uint32_t)(value >> 32));
}

static CUresult carry_out(CUstream stream, int kind, const CUstreamBatchMemOpParams *one)
{
	switch ((int)one->operation) {
	case WAIT_32: return wait_value(stream, kind, one->waitValue.address, one->waitValue.value, 4, one->waitValue.flags);
	case WAIT_64: return wait_value(stream, kind, one->waitValue.address, one->waitValue.value64, 8, one->waitValue.flags);
	case WRITE_32: return write_value(stream, kind, one->writeValue.address, one->writeValue.value, 4);
	case WRITE_64: return write_value(stream, kind, one->writeValue.address, one->writeValue.value64, 8);
	case FLUSH:
	case BARRIER: return CUDA_SUCCESS;
	default: return CUDA_ERROR_NOT_SUPPORTED;
	}
}

static CUresult batch(CUstream stream, int kind, unsigned int count, const CUstreamBatchMemOpParams *operations, unsigned int flags)
{
	CUcontext context;
	CUresult failure = stream_context(stream, (enum stream_kind)kind, &context);

	if (failure)
		return failure;
	if (!operations || count > 256 || flags)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; i < count && !failure; i++)
		failure = carry_out(stream, kind, &operations[i]);
	return failure;
}

/* Each function in both versions, which differ in what devices had to offer, and for both kinds of default stream. */
#define ONE(name, parameters, kind_, call) \
	CUresult name parameters { const int kind = kind_; return call; }
#define FOUR(name, parameters, call) \
	ONE(name, parameters, LEGACY_STREAM, call) ONE(name##_ptsz, parameters, THREAD_STREAM, call) \
	ONE(name##_v2, parameters, LEGACY_STREAM, call) ONE(name##_v2_ptsz, parameters, THREAD_STREAM, call)
FOUR(cuStreamWaitValue32, (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags),
     wait_value(stream, kind, address, value, 4, flags))
FOUR(cuStreamWaitValue64, (CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags),
     wait_value(stream, kind, address, value, 8, flags))
FOUR(cuStreamWriteValue32, (CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags),
     ((void)flags, write_value(stream, kind, address, value, 4)))
FOUR(cuStreamWriteValue64, (CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned int flags),
     ((void)flags, write_value(stream, kind, address, value, 8)))
FOUR(cuStreamBatchMemOp, (CUstream stream, unsigned int count, CUstreamBatchMemOpParams *operations, unsigned int flags),
     batch(stream, kind, count, operations, flags))
