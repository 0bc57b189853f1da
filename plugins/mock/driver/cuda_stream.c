/* libcuda: streams and events. Work is done when its call returns, so every stream is always empty; an event is the time of its record. */
#define _GNU_SOURCE
#include "cuda_driver.h"

#include <stdlib.h>
#include <time.h>

enum { STREAM_MAGIC = 0x53747231, EVENT_MAGIC = 0x45767431, NO_TIMING = 2 };

/* Records are reused and never freed, so a stale handle is recognised. */
struct CUstream_st {
	uint32_t magic;                         /* 0 once destroyed */
	unsigned int flags;
	int priority;
	uint64_t id;
	CUcontext context;
	struct CUstream_st *next_free;
};

struct CUevent_st {
	uint32_t magic;
	unsigned int flags;
	int64_t recorded_ns;                    /* 0: never */
	struct CUevent_st *next_free;
};

static struct CUstream_st *free_streams;
static struct CUevent_st *free_events;
static uint64_t last_id = 2;                    /* 1 and 2 are the default streams' */

/* NULL, 1 and 2 are the default streams: the context's, the legacy one, the thread's. */
static bool is_default(CUstream stream)
{
	return (uintptr_t)stream <= 2;
}

static CUresult check(CUstream stream, CUcontext *context)
{
	CUresult failure = current_context(context);

	if (failure)
		return failure;
	if (is_default(stream))
		return CUDA_SUCCESS;
	if (stream->magic != STREAM_MAGIC)
		return CUDA_ERROR_INVALID_HANDLE;
	*context = stream->context;
	return CUDA_SUCCESS;
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	CUstream fresh;

	if (failure)
		return failure;
	if (!stream || flags > 1)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	fresh = free_streams;
	if (fresh)
		free_streams = fresh->next_free;
	else
		fresh = calloc(1, sizeof *fresh);
	if (fresh)
		*fresh = (struct CUstream_st){STREAM_MAGIC, flags, priority, ++last_id, context, NULL};
	driver_unlock();
	*stream = fresh;
	return fresh ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags)
{
	return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
	CUcontext context;
	CUresult failure = is_default(stream) ? CUDA_ERROR_INVALID_HANDLE : check(stream, &context);

	if (failure)
		return failure;
	driver_lock();
	stream->magic = 0;
	stream->next_free = free_streams;
	free_streams = stream;
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream stream)
{
	return cuStreamDestroy_v2(stream);
}

CUresult cuStreamSynchronize(CUstream stream)
{
	CUcontext context;

	return check(stream, &context);
}

CUresult cuStreamQuery(CUstream stream)
{
	return cuStreamSynchronize(stream);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags)
{
	CUresult failure = cuStreamSynchronize(stream);

	if (failure)
		return failure;
	if (!event || event->magic != EVENT_MAGIC)
		return CUDA_ERROR_INVALID_HANDLE;
	return flags > 1 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

/* Answers one fact of a stream, of the type that VALUE points to. */
#define FACT(name, type, default_value, stream_value) \
	CUresult name(CUstream stream, type *value) \
	{ \
		CUcontext context; \
		CUresult failure = check(stream, &context); \
\
		if (failure) \
			return failure; \
		if (!value) \
			return CUDA_ERROR_INVALID_VALUE; \
		*value = is_default(stream) ? (default_value) : (stream_value); \
		return CUDA_SUCCESS; \
	} \
	CUresult name##_ptsz(CUstream stream, type *value) \
	{ \
		return name(stream, value); \
	}
FACT(cuStreamGetFlags, unsigned int, 0, stream->flags)
FACT(cuStreamGetPriority, int, 0, stream->priority)
FACT(cuStreamGetId, unsigned long long, (uintptr_t)stream == 2 ? 2 : 1, stream->id)
FACT(cuStreamGetCtx, CUcontext, context, context)
FACT(cuStreamGetDevice, CUdevice, context->device, context->device)
FACT(cuStreamIsCapturing, CUstreamCaptureStatus, 0, 0)
#undef FACT

CUresult cuStreamGetGreenCtx(CUstream stream, CUgreenCtx *green)
{
	CUresult failure = cuStreamSynchronize(stream);

	if (failure)
		return failure;
	if (!green)
		return CUDA_ERROR_INVALID_VALUE;
	*green = NULL;
	return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx_v2(CUstream stream, CUcontext *context, CUgreenCtx *green)
{
	CUresult failure = cuStreamGetCtx(stream, context);

	if (!failure && green)
		*green = NULL;
	return failure;
}

/* There is nothing before it in the stream: a host function runs at once, on the caller's thread. */
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data)
{
	CUresult failure = cuStreamSynchronize(stream);

	if (failure)
		return failure;
	if (!function)
		return CUDA_ERROR_INVALID_VALUE;
	function(data);
	return CUDA_SUCCESS;
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data, unsigned int flags)
{
	CUresult failure = cuStreamSynchronize(stream);

	if (failure)
		return failure;
	if (!callback || flags)
		return CUDA_ERROR_INVALID_VALUE;
	callback(stream, CUDA_SUCCESS, data);
	return CUDA_SUCCESS;
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	static _Thread_local CUstreamCaptureMode thread_mode __attribute__((tls_model("initial-exec")));
	CUstreamCaptureMode before = thread_mode;
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!mode || (int)*mode < 0 || (int)*mode > 2)
		return CUDA_ERROR_INVALID_VALUE;
	thread_mode = *mode;
	*mode = before;
	return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);
	CUevent fresh;

	if (failure)
		return failure;
	if (!event || flags > 7)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	fresh = free_events;
	if (fresh)
		free_events = fresh->next_free;
	else
		fresh = calloc(1, sizeof *fresh);
	if (fresh)
		*fresh = (struct CUevent_st){EVENT_MAGIC, flags, 0, NULL};
	driver_unlock();
	*event = fresh;
	return fresh ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult check_event(CUevent event)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return event && event->magic == EVENT_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventDestroy_v2(CUevent event)
{
	CUresult failure = check_event(event);

	if (failure)
		return failure;
	driver_lock();
	event->magic = 0;
	event->next_free = free_events;
	free_events = event;
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent event)
{
	return cuEventDestroy_v2(event);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
	CUresult failure = cuStreamSynchronize(stream);

	if (!failure)
		failure = check_event(event);
	if (!failure)
		event->recorded_ns = now_ns();
	return failure;
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags)
{
	return flags > 1 ? CUDA_ERROR_INVALID_VALUE : cuEventRecord(event, stream);
}

CUresult cuEventQuery(CUevent event)
{
	return check_event(event);
}

CUresult cuEventSynchronize(CUevent event)
{
	return check_event(event);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
	CUresult failure = check_event(start);

	if (!failure)
		failure = check_event(end);
	if (failure)
		return failure;
	if (!milliseconds)
		return CUDA_ERROR_INVALID_VALUE;
	if (!start->recorded_ns || !end->recorded_ns || (start->flags | end->flags) & NO_TIMING)
		return CUDA_ERROR_INVALID_HANDLE;
	*milliseconds = (float)(end->recorded_ns - start->recorded_ns) / 1e6f;
	return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end)
{
	return cuEventElapsedTime(milliseconds, start, end);
}

/* The same functions for programs whose default stream is the thread's own. */
CUresult cuStreamSynchronize_ptsz(CUstream stream) { return cuStreamSynchronize(stream); }
CUresult cuStreamQuery_ptsz(CUstream stream) { return cuStreamQuery(stream); }
CUresult cuStreamWaitEvent_ptsz(CUstream s, CUevent e, unsigned int flags) { return cuStreamWaitEvent(s, e, flags); }
CUresult cuStreamGetCtx_v2_ptsz(CUstream s, CUcontext *c, CUgreenCtx *g) { return cuStreamGetCtx_v2(s, c, g); }
CUresult cuLaunchHostFunc_ptsz(CUstream s, CUhostFn f, void *data) { return cuLaunchHostFunc(s, f, data); }
CUresult cuStreamAddCallback_ptsz(CUstream s, CUstreamCallback c, void *d, unsigned int flags) { return cuStreamAddCallback(s, c, d, flags); }
CUresult cuEventRecord_ptsz(CUevent e, CUstream s) { return cuEventRecord(e, s); }
CUresult cuEventRecordWithFlags_ptsz(CUevent e, CUstream s, unsigned int flags) { return cuEventRecordWithFlags(e, s, flags); }
