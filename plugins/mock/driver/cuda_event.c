/* libcuda: events. An event is the moment at which the work before its record is done. Their handles for other processes are in cuda_ipc.c. */
#include "cuda_event.h"

#include <stdlib.h>

#include "cuda_capture.h"
#include "cuda_pool.h"
#include "cuda_work.h"

enum { EVENT_MAGIC = 0x45767431, NO_TIMING = 2, INTERPROCESS = 4, FLAGS = 7 };

static struct CUevent_st *free_events;

CUevent event_new(CUcontext context, unsigned int flags)
{
	CUevent fresh;

	driver_lock();
	fresh = free_events;
	if (fresh)
		free_events = fresh->next_free;
	else
		fresh = calloc(1, sizeof *fresh);
	if (fresh)
		*fresh = (struct CUevent_st){.magic = EVENT_MAGIC, .flags = flags, .context = context};
	driver_unlock();
	return fresh;
}

/* Events of several processes cannot be timed. */
CUresult cuEventCreate(CUevent *event, unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!event || flags > FLAGS || (flags & (INTERPROCESS | NO_TIMING)) == INTERPROCESS)
		return CUDA_ERROR_INVALID_VALUE;
	*event = event_new(context, flags);
	return *event ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult event_check(CUevent event)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return event && event->magic == EVENT_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventDestroy_v2(CUevent event)
{
	CUresult failure = event_check(event);

	if (failure)
		return failure;
	driver_lock();
	if (event->shared && !event->imported)
		sharing_event_end(driver.state, event->shared);
	capture_forget_event(event);
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

void event_record(CUevent event, struct moment moment)
{
	struct state_event *shared = sharing_event(driver.state, event->shared);

	capture_forget_event(event);
	event->moment = moment;
	event->recorded = true;
	if (shared)
		atomic_store(&shared->done, moment.time);
}

/* What other processes record is in the machine's state; an event whose owner is gone has happened. */
struct moment event_moment(CUevent event)
{
	struct state_event *shared = sharing_event(driver.state, event->shared);

	if (event->imported)
		return (struct moment){shared ? atomic_load(&shared->done) : 0, 0};
	if (shared)
		return (struct moment){atomic_load(&shared->done), event->moment.host};
	return event->moment;
}

static CUresult record(CUevent event, CUstream stream, enum stream_kind kind)
{
	struct work work = {.type = WORK_EVENT_RECORD, .event = event};
	CUresult failure = event_check(event);

	return failure ? failure : work_submit(stream, kind, &work);
}

CUresult cuEventRecord(CUevent event, CUstream stream)
{
	return record(event, stream, LEGACY_STREAM);
}

CUresult cuEventRecord_ptsz(CUevent event, CUstream stream)
{
	return record(event, stream, THREAD_STREAM);
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned int flags)
{
	return flags > 1 ? CUDA_ERROR_INVALID_VALUE : record(event, stream, LEGACY_STREAM);
}

CUresult cuEventRecordWithFlags_ptsz(CUevent event, CUstream stream, unsigned int flags)
{
	return flags > 1 ? CUDA_ERROR_INVALID_VALUE : record(event, stream, THREAD_STREAM);
}

static CUresult wait_in(CUstream stream, enum stream_kind kind, CUevent event, unsigned int flags)
{
	struct work work = {.type = WORK_EVENT_WAIT, .event = event};
	CUresult failure = event_check(event);

	if (failure)
		return failure;
	return flags > 1 ? CUDA_ERROR_INVALID_VALUE : work_submit(stream, kind, &work);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags)
{
	return wait_in(stream, LEGACY_STREAM, event, flags);
}

CUresult cuStreamWaitEvent_ptsz(CUstream stream, CUevent event, unsigned int flags)
{
	return wait_in(stream, THREAD_STREAM, event, flags);
}

/* All work of a context so far; and all work of it from now on. */
CUresult cuCtxRecordEvent(CUcontext context, CUevent event)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);

	if (!failure)
		failure = event_check(event);
	if (failure)
		return failure;
	driver_lock();
	event_record(event, (struct moment){found->any.time ? found->any.time : timing_now(), found->any.host});
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuCtxWaitEvent(CUcontext context, CUevent event)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);

	if (!failure)
		failure = event_check(event);
	if (failure)
		return failure;
	driver_lock();
	found->legacy = moment_later(found->legacy, event_moment(event));
	found->blocking = moment_later(found->blocking, event_moment(event));
	found->any = moment_later(found->any, event_moment(event));
	driver_unlock();
	return CUDA_SUCCESS;
}

static CUresult moment_of(CUevent event, struct moment *moment)
{
	CUresult failure = event_check(event);

	if (failure)
		return failure;
	if (event->capture)
		return CUDA_ERROR_CAPTURED_EVENT;
	driver_lock();
	*moment = event_moment(event);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event)
{
	struct moment moment;
	CUresult failure = moment_of(event, &moment);

	if (failure)
		return failure;
	return moment_is_reached(moment) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event)
{
	struct moment moment;
	CUresult failure = moment_of(event, &moment);

	if (failure)
		return failure;
	moment_wait(moment);
	pools_release();
	return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
	struct moment from, to;
	CUresult failure = moment_of(start, &from);
	uint64_t length;

	if (!failure)
		failure = moment_of(end, &to);
	if (failure)
		return failure;
	if (!milliseconds)
		return CUDA_ERROR_INVALID_VALUE;
	if (!start->recorded || !end->recorded || (start->flags | end->flags) & NO_TIMING)
		return CUDA_ERROR_INVALID_HANDLE;
	if (!moment_is_reached(from) || !moment_is_reached(to))
		return CUDA_ERROR_NOT_READY;
	length = timing_to_simulated(driver.state, to.time < from.time ? from.time - to.time : to.time - from.time);
	*milliseconds = (to.time < from.time ? -1.0f : 1.0f) * (float)((double)length / 1e6);
	return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end)
{
	return cuEventElapsedTime(milliseconds, start, end);
}
