/* libcuda: streams: their life, order and facts. Events are in cuda_event.c, capture in cuda_capture.c, host functions in cuda_host_function.c. */
#define _GNU_SOURCE
#include "cuda_stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "cuda_capture.h"
#include "cuda_pool.h"

enum { STREAM_MAGIC = 0x53747231, NON_BLOCKING = 1, QUEUE = 1024, LEAST = 0, GREATEST = -5 };

/* When the last 1,024 kernels of a context are done: a launch waits for the one so many before it. */
struct launch_queue {
	uint64_t next;
	uint64_t done[QUEUE];
};

static struct CUstream_st *free_streams;
static uint64_t last_id = 2;                    /* 1 and 2 are the default streams' */

/* This thread's default streams, one per context that it used one in. */
static _Thread_local struct CUstream_st *thread_streams __attribute__((tls_model("initial-exec")));
static pthread_key_t thread_key;

/* Locked. */
static CUstream new_stream(CUcontext context, unsigned int flags, int priority)
{
	CUstream fresh = free_streams;

	if (fresh)
		free_streams = fresh->next_free;
	else
		fresh = calloc(1, sizeof *fresh);
	if (fresh)
		*fresh = (struct CUstream_st){.magic = STREAM_MAGIC, .flags = flags, .priority = priority, .id = ++last_id, .context = context};
	return fresh;
}

/* Locked. */
static void end_stream(CUstream stream)
{
	stream->magic = 0;
	stream->next_free = free_streams;
	free_streams = stream;
}

static void end_thread(void *value)
{
	(void)value;
	driver_lock();
	while (thread_streams) {
		CUstream stream = thread_streams;

		thread_streams = stream->next_free;
		end_stream(stream);
	}
	driver_unlock();
}

static void make_key(void)
{
	pthread_key_create(&thread_key, end_thread);
}

/* Locked. */
static CUstream legacy_stream(CUcontext context)
{
	if (!context->legacy_stream) {
		context->legacy_stream = new_stream(context, 0, 0);
		if (context->legacy_stream) {
			context->legacy_stream->legacy = true;
			context->legacy_stream->id = 1;
		}
	}
	return context->legacy_stream;
}

/* Locked. A context that was reset is another one. */
static CUstream thread_stream(CUcontext context)
{
	CUstream stream = thread_streams;

	while (stream && stream->context != context)
		stream = stream->next_free;
	if (stream)
		return stream;
	stream = new_stream(context, 0, 0);
	if (stream) {
		stream->id = 2;
		stream->next_free = thread_streams;
		thread_streams = stream;
		pthread_setspecific(thread_key, stream);
	}
	return stream;
}

/* NULL is a default stream by the kind of the call, 1 the legacy one, 2 the thread's. */
static bool is_default(CUstream handle)
{
	return (uintptr_t)handle <= 2;
}

static CUresult find_default(CUcontext context, bool legacy, CUstream *stream)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!legacy)
		pthread_once(&once, make_key);
	driver_lock();
	*stream = legacy ? legacy_stream(context) : thread_stream(context);
	driver_unlock();
	return *stream ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult stream_find(CUstream handle, enum stream_kind kind, CUstream *stream)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (is_default(handle))
		return find_default(context, (uintptr_t)handle == 1 || (!handle && kind == LEGACY_STREAM), stream);
	*stream = handle;
	return handle->magic == STREAM_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult stream_context(CUstream handle, enum stream_kind kind, CUcontext *context)
{
	CUresult failure = current_context(context);

	(void)kind;
	if (failure || is_default(handle))
		return failure;
	*context = handle->context;
	return handle->magic == STREAM_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

bool stream_is_capturing(CUstream handle, enum stream_kind kind)
{
	CUstream stream;

	if (!captures_running())
		return false;
	return !stream_find(handle, kind, &stream) && stream->capture;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

struct moment moment_later(struct moment a, struct moment b)
{
	return (struct moment){most(a.time, b.time), most(a.host, b.host)};
}

/* The legacy default stream waits for all that do not opt out, and they for it. */
struct moment stream_moment(CUstream stream)
{
	if (stream->legacy)
		return moment_later(stream->done, stream->context->blocking);
	if (stream->flags & NON_BLOCKING)
		return stream->done;
	return moment_later(stream->done, stream->context->legacy);
}

void stream_advance(CUstream stream, struct moment moment)
{
	CUcontext context = stream->context;

	stream->done = moment_later(stream->done, moment);
	context->any = moment_later(context->any, stream->done);
	if (stream->legacy)
		context->legacy = moment_later(context->legacy, stream->done);
	else if (!(stream->flags & NON_BLOCKING))
		context->blocking = moment_later(context->blocking, stream->done);
}

bool moment_is_reached(struct moment moment)
{
	if (moment.time && timing_now() < moment.time)
		return false;
	return !moment.host || host_functions_reached(moment.host);
}

void moment_wait(struct moment moment)
{
	struct timespec until = {.tv_sec = (time_t)(moment.time / 1000000000), .tv_nsec = (long)(moment.time % 1000000000)};
	int saved = errno;

	if (moment.time && timing_now() < moment.time)
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
	if (moment.host)
		host_functions_wait(moment.host);
	errno = saved;
}

/* Locked. When a launch may enter the queue. */
static uint64_t room_at(CUcontext context)
{
	if (!context->queue)
		context->queue = calloc(1, sizeof *context->queue);
	return context->queue ? context->queue->done[context->queue->next % QUEUE] : 0;
}

/* Locked. The device is shared in time: with N processes at work on it, each kernel takes N times as long. */
static void launch(CUstream stream, uint64_t duration, uint64_t now)
{
	CUcontext context = stream->context;
	unsigned device = index_of(context->device);
	uint64_t busy = timing_to_real(driver.state, duration);
	uint64_t shared = busy * (1 + utilisation_others(driver.state, driver.row, device, now));
	struct moment before = stream_moment(stream);
	uint64_t start = most(before.time, now);

	utilisation_add(&driver.state->lane[driver.row][device], start, start + shared, busy);
	stream_advance(stream, (struct moment){start + shared, before.host});
	if (context->queue)
		context->queue->done[context->queue->next++ % QUEUE] = start + shared;
}

void stream_run(CUstream stream, uint64_t duration)
{
	for (;;) {
		uint64_t now = timing_now(), room;

		driver_lock();
		room = room_at(stream->context);
		if (room <= now) {
			launch(stream, duration, now);
			driver_unlock();
			return;
		}
		driver_unlock();
		moment_wait((struct moment){room, 0});
	}
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!stream || flags > NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	priority = priority > LEAST ? LEAST : priority < GREATEST ? GREATEST : priority;
	driver_lock();
	*stream = new_stream(context, flags, priority);
	driver_unlock();
	return *stream ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
	return cuStreamCreateWithPriority(stream, flags, 0);
}

/* Returns at once: the context still waits for what is under way. */
CUresult cuStreamDestroy_v2(CUstream stream)
{
	CUstream found;
	CUresult failure = is_default(stream) ? CUDA_ERROR_INVALID_HANDLE : stream_find(stream, LEGACY_STREAM, &found);

	if (failure)
		return failure;
	if (stream->capture)
		capture_abandon(stream);
	driver_lock();
	end_stream(stream);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream)
{
	return cuStreamDestroy_v2(stream);
}

static CUresult synchronize(CUstream handle, enum stream_kind kind)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);
	struct moment moment;

	if (failure)
		return failure;
	if (stream->capture)
		return capture_invalidate(stream);
	driver_lock();
	moment = stream_moment(stream);
	driver_unlock();
	moment_wait(moment);
	pools_release();
	return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream)
{
	return synchronize(stream, LEGACY_STREAM);
}

CUresult cuStreamSynchronize_ptsz(CUstream stream)
{
	return synchronize(stream, THREAD_STREAM);
}

CUresult stream_wait_default(enum stream_kind kind)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	struct moment moment;
	CUstream stream;

	if (failure || (!context->any.time && !context->any.host))
		return failure;
	failure = stream_find(NULL, kind, &stream);
	if (failure)
		return failure;
	driver_lock();
	moment = stream_moment(stream);
	driver_unlock();
	moment_wait(moment);
	return CUDA_SUCCESS;
}

static CUresult query(CUstream handle, enum stream_kind kind)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);
	struct moment moment;

	if (failure)
		return failure;
	if (stream->capture)
		return capture_invalidate(stream);
	driver_lock();
	moment = stream_moment(stream);
	driver_unlock();
	return moment_is_reached(moment) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamQuery(CUstream stream)
{
	return query(stream, LEGACY_STREAM);
}

CUresult cuStreamQuery_ptsz(CUstream stream)
{
	return query(stream, THREAD_STREAM);
}

/* Work of all streams, and a free's effect on the pools. */
CUresult cuCtxSynchronize_v2(CUcontext context)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);
	struct moment moment;

	if (failure)
		return failure;
	driver_lock();
	moment = found->any;
	driver_unlock();
	moment_wait(moment);
	pools_release();
	return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
	return cuCtxSynchronize_v2(NULL);
}

/* Answers one fact of a stream, of the type that VALUE points to. */
#define FACT_OF(name, type, kind, fact) \
	CUresult name(CUstream handle, type *value) \
	{ \
		CUstream stream; \
		CUresult failure = stream_find(handle, kind, &stream); \
\
		if (failure) \
			return failure; \
		if (!value) \
			return CUDA_ERROR_INVALID_VALUE; \
		*value = fact; \
		return CUDA_SUCCESS; \
	}
#define FACT(name, type, fact) FACT_OF(name, type, LEGACY_STREAM, fact) FACT_OF(name##_ptsz, type, THREAD_STREAM, fact)
FACT(cuStreamGetFlags, unsigned int, stream->flags)
FACT(cuStreamGetPriority, int, stream->priority)
FACT(cuStreamGetId, unsigned long long, stream->id)
FACT(cuStreamGetCtx, CUcontext, stream->context)
FACT(cuStreamGetDevice, CUdevice, stream->context->device)
FACT_OF(cuStreamGetGreenCtx, CUgreenCtx, LEGACY_STREAM, NULL)
#undef FACT
#undef FACT_OF

CUresult cuStreamGetCtx_v2(CUstream stream, CUcontext *context, CUgreenCtx *green)
{
	CUresult failure = cuStreamGetCtx(stream, context);

	if (!failure && green)
		*green = NULL;
	return failure;
}

CUresult cuStreamGetCtx_v2_ptsz(CUstream stream, CUcontext *context, CUgreenCtx *green)
{
	CUresult failure = cuStreamGetCtx_ptsz(stream, context);

	if (!failure && green)
		*green = NULL;
	return failure;
}

/* Attributes are hints here: the ones asked for are what a fresh stream has. */
CUresult cuStreamGetAttribute(CUstream handle, CUstreamAttrID attribute, CUstreamAttrValue *value)
{
	CUstream stream;
	CUresult failure = stream_find(handle, LEGACY_STREAM, &stream);

	(void)attribute;
	if (failure)
		return failure;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	__builtin_memset(value, 0, sizeof *value);
	return CUDA_SUCCESS;
}

CUresult cuStreamGetAttribute_ptsz(CUstream stream, CUstreamAttrID attribute, CUstreamAttrValue *value)
{
	return cuStreamGetAttribute(stream, attribute, value);
}

CUresult cuStreamSetAttribute(CUstream handle, CUstreamAttrID attribute, const CUstreamAttrValue *value)
{
	CUstream stream;
	CUresult failure = stream_find(handle, LEGACY_STREAM, &stream);

	(void)attribute;
	return failure ? failure : value ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuStreamSetAttribute_ptsz(CUstream stream, CUstreamAttrID attribute, const CUstreamAttrValue *value)
{
	return cuStreamSetAttribute(stream, attribute, value);
}

CUresult cuStreamCopyAttributes(CUstream to, CUstream from)
{
	CUstream found;
	CUresult failure = stream_find(to, LEGACY_STREAM, &found);

	return failure ? failure : stream_find(from, LEGACY_STREAM, &found);
}

CUresult cuStreamCopyAttributes_ptsz(CUstream to, CUstream from)
{
	return cuStreamCopyAttributes(to, from);
}

/* Where managed memory is attached to changes nothing here. */
CUresult cuStreamAttachMemAsync(CUstream handle, CUdeviceptr address, size_t length, unsigned int flags)
{
	CUstream stream;
	CUresult failure = stream_find(handle, LEGACY_STREAM, &stream);

	(void)length;
	(void)flags;
	return failure ? failure : address ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuStreamAttachMemAsync_ptsz(CUstream stream, CUdeviceptr address, size_t length, unsigned int flags)
{
	return cuStreamAttachMemAsync(stream, address, length, flags);
}
