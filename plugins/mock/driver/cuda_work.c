/* See cuda_work.h. */
#include "cuda_work.h"

#include "cuda_capture.h"
#include "cuda_event.h"
#include "cuda_graph.h"
#include "cuda_graph_memory.h"

enum { UNIFIED = 4 };                           /* CUmemorytype: the address says which */

struct work work_copy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
	return (struct work){.type = WORK_COPY,
	                     .copy = {.srcMemoryType = UNIFIED,
	                              .srcDevice = from,
	                              .dstMemoryType = UNIFIED,
	                              .dstDevice = to,
	                              .WidthInBytes = bytes,
	                              .Height = 1,
	                              .Depth = 1}};
}

static CUresult run_kernel(CUstream stream, const CUDA_KERNEL_NODE_PARAMS_v2 *launch)
{
	CUresult failure = launch_check(launch);
	uint64_t duration = failure ? 0 : function_duration(launch->func ? launch->func : (CUfunction)launch->kern);

	if (duration)
		stream_run(stream, duration);
	return failure;
}

static CUresult run_host_function(CUstream stream, const CUDA_HOST_NODE_PARAMS_v1 *host)
{
	struct moment end;

	driver_lock();
	end = host_function_add(stream_moment(stream), host->fn, host->userData);
	if (end.host)
		stream_advance(stream, end);
	driver_unlock();
	return end.host ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static void run_record(CUstream stream, CUevent event)
{
	uint64_t now = timing_now();
	struct moment moment;

	driver_lock();
	moment = stream_moment(stream);
	event_record(event, (struct moment){moment.time > now ? moment.time : now, moment.host});
	driver_unlock();
}

static void run_wait(CUstream stream, CUevent event)
{
	driver_lock();
	stream_advance(stream, moment_later(stream_moment(stream), event_moment(event)));
	driver_unlock();
}

CUresult work_run(CUstream stream, const struct work *work)
{
	switch (work->type) {
	case WORK_KERNEL: return run_kernel(stream, &work->kernel);
	case WORK_COPY: return copy_run(&work->copy);
	case WORK_FILL: return fill_run(&work->fill);
	case WORK_HOST: return run_host_function(stream, &work->host);
	case WORK_GRAPH: return graph_run(stream, work->graph);
	case WORK_EVENT_WAIT: run_wait(stream, work->event); return CUDA_SUCCESS;
	case WORK_EVENT_RECORD: run_record(stream, work->event); return CUDA_SUCCESS;
	case WORK_ALLOCATION: return graph_memory_begin(work->allocation.dptr);
	case WORK_FREE: return graph_memory_end(work->address);
	default: return CUDA_SUCCESS;
	}
}

CUresult work_submit(CUstream handle, enum stream_kind kind, const struct work *work)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);

	if (failure)
		return failure;
	if (captures_running()) {
		if (stream->capture || capture_follows(stream, work))
			return capture_add(stream, work);
		if (stream->legacy && capture_blocks_legacy(stream->context))
			return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	}
	return work_run(stream, work);
}
