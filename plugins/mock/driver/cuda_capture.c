/*
 * libcuda: capture of streams into graphs.
 *
 * Each captured stream has heads: the nodes that the next one waits for. An event recorded in it takes the heads with it, and a stream that waits for
 * that event joins the capture. It ends in the stream it began in, and all others must have been joined to it by then.
 */
#include "cuda_capture.h"

#include <pthread.h>
#include <stdlib.h>

#include "cuda_graph.h"

enum { MODE_RELAXED = 2, ACTIVE = 1, INVALIDATED = 2, SET_DEPENDENCIES = 1 };

struct member {
	CUstream stream;
	struct nodes heads;
	struct member *next;
};

struct capture {
	CUgraph graph;
	CUstream origin;
	pthread_t thread;
	int mode;
	bool to_graph;                          /* the program's own: it stays if the capture fails */
	bool invalid;
	uint64_t id;
	struct member *members;
	struct capture *next;
};

static struct capture *captures;                /* changed under the driver's lock */

static _Atomic unsigned int running;
static _Atomic uint64_t last_id;
static _Atomic unsigned int blocking[STATE_DEVICES];    /* captures of streams that wait for the legacy one, by device */

bool captures_running(void)
{
	return running;
}

bool capture_blocks_legacy(CUcontext context)
{
	return blocking[context->device];
}

static bool waits_for_legacy(CUstream stream)
{
	return !(stream->flags & 1);
}

static struct member *member_of(CUstream stream)
{
	struct member *member = stream->capture->members;

	while (member->stream != stream)
		member = member->next;
	return member;
}

static struct member *join(struct capture *capture, CUstream stream)
{
	struct member *member = calloc(1, sizeof *member);

	if (!member)
		return NULL;
	member->stream = stream;
	member->next = capture->members;
	capture->members = member;
	stream->capture = capture;
	if (waits_for_legacy(stream))
		blocking[stream->context->device]++;
	return member;
}

static void leave_all(struct capture *capture)
{
	while (capture->members) {
		struct member *member = capture->members;

		capture->members = member->next;
		member->stream->capture = NULL;
		if (waits_for_legacy(member->stream))
			blocking[member->stream->context->device]--;
		free(member->heads.at);
		free(member);
	}
}

void capture_forget_event(CUevent event)
{
	free(event->heads);
	event->heads = NULL;
	event->head_count = 0;
	event->capture = 0;
}

CUresult capture_invalidate(CUstream stream)
{
	stream->capture->invalid = true;
	return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

static bool set_heads(struct nodes *heads, const CUgraphNode *nodes, size_t count)
{
	heads->count = 0;
	for (size_t i = 0; i < count; i++)
		if (!nodes_add(heads, nodes[i]))
			return false;
	return true;
}

/* The event becomes a point in the graph; nothing is recorded in it. */
static CUresult record(CUstream stream, CUevent event)
{
	struct nodes *heads = &member_of(stream)->heads;
	struct nodes copy = {0};

	if (!set_heads(&copy, heads->at, heads->count))
		return CUDA_ERROR_OUT_OF_MEMORY;
	driver_lock();
	capture_forget_event(event);
	event->heads = copy.at;
	event->head_count = copy.count;
	event->capture = stream->capture->id;
	driver_unlock();
	return CUDA_SUCCESS;
}

/* The capture that an event is part of, if it still goes on. */
static struct capture *capture_of(CUevent event)
{
	struct capture *capture;

	driver_lock();
	for (capture = captures; capture && capture->id != event->capture; capture = capture->next)
		;
	driver_unlock();
	return capture;
}

bool capture_follows(CUstream stream, const struct work *work)
{
	return !stream->capture && work->type == WORK_EVENT_WAIT && capture_of(work->event);
}

static CUresult wait_for(CUstream stream, CUevent event)
{
	struct capture *capture = capture_of(event);
	struct member *member;

	if (!capture) {
		capture_invalidate(stream);
		return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
	}
	if (stream->capture && stream->capture != capture)
		return CUDA_ERROR_STREAM_CAPTURE_MERGE;
	member = stream->capture ? member_of(stream) : join(capture, stream);
	if (!member)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (size_t i = 0; i < event->head_count; i++)
		if (!nodes_hold(&member->heads, event->heads[i]) && !nodes_add(&member->heads, event->heads[i]))
			return CUDA_ERROR_OUT_OF_MEMORY;
	return CUDA_SUCCESS;
}

CUresult capture_add(CUstream stream, const struct work *work)
{
	struct nodes *heads;
	CUgraphNode node;
	CUresult failure;

	if (stream->capture && stream->capture->invalid)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	if (work->type == WORK_EVENT_WAIT)
		return wait_for(stream, work->event);
	if (work->type == WORK_EVENT_RECORD)
		return record(stream, work->event);
	heads = &member_of(stream)->heads;
	failure = graph_add(stream->capture->graph, work, heads->at, heads->count, &node);
	if (!failure && !set_heads(heads, &node, 1))
		failure = CUDA_ERROR_OUT_OF_MEMORY;
	return failure;
}

static CUresult begin(CUstream handle, enum stream_kind kind, int mode, CUgraph graph, const CUgraphNode *before, size_t count)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);
	struct capture *capture;
	struct member *member;

	if (failure)
		return failure;
	if (mode < 0 || mode > MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	if (stream->legacy)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	if (stream->capture)
		return CUDA_ERROR_ILLEGAL_STATE;
	capture = calloc(1, sizeof *capture);
	if (!capture)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*capture = (struct capture){graph ? graph : graph_new(), stream, pthread_self(), mode, graph, false, ++last_id, NULL, NULL};
	member = join(capture, stream);
	if (!member || !capture->graph || !set_heads(&member->heads, before, count))
		return CUDA_ERROR_OUT_OF_MEMORY;
	driver_lock();
	capture->next = captures;
	captures = capture;
	driver_unlock();
	running++;
	return CUDA_SUCCESS;
}

/* Events of a capture that has ended were never recorded. */
static void end(struct capture *capture)
{
	struct capture **at = &captures;

	driver_lock();
	while (*at != capture)
		at = &(*at)->next;
	*at = capture->next;
	driver_unlock();
	leave_all(capture);
	running--;
	free(capture);
}

/* Whether something in the origin's line comes after all that other streams did. */
static bool is_joined(const struct capture *capture)
{
	const struct nodes *line = &member_of(capture->origin)->heads;

	for (const struct member *member = capture->members; member; member = member->next)
		for (size_t i = 0; i < member->heads.count; i++)
			if (!member->heads.at[i]->after.count && !nodes_hold(line, member->heads.at[i]))
				return false;
	return true;
}

static CUresult end_capture(CUstream handle, enum stream_kind kind, CUgraph *graph)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);
	struct capture *capture;

	if (failure)
		return failure;
	if (!graph || !stream->capture)
		return graph ? CUDA_ERROR_ILLEGAL_STATE : CUDA_ERROR_INVALID_VALUE;
	capture = stream->capture;
	if (capture->origin != stream)
		return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
	if (capture->mode != MODE_RELAXED && !pthread_equal(capture->thread, pthread_self()))
		return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
	if (capture->invalid)
		failure = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	else if (!is_joined(capture))
		failure = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
	*graph = failure ? NULL : capture->graph;
	if (failure && !capture->to_graph)
		graph_end(capture->graph);
	end(capture);
	return failure;
}

void capture_abandon(CUstream stream)
{
	struct capture *capture = stream->capture;

	if (capture->origin != stream) {
		capture->invalid = true;
		return;
	}
	if (!capture->to_graph)
		graph_end(capture->graph);
	end(capture);
}

struct info {
	int status;
	uint64_t id;
	CUgraph graph;
	const struct nodes *heads;
};

static CUresult inform(CUstream handle, enum stream_kind kind, struct info *info)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);

	*info = (struct info){0};
	if (failure)
		return failure;
	if (stream->legacy && capture_blocks_legacy(stream->context))
		return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
	if (stream->capture)
		*info = (struct info){stream->capture->invalid ? INVALIDATED : ACTIVE, stream->capture->id, stream->capture->graph,
		                      &member_of(stream)->heads};
	return CUDA_SUCCESS;
}

static CUresult is_capturing(CUstream stream, enum stream_kind kind, CUstreamCaptureStatus *status)
{
	struct info info;
	CUresult failure = inform(stream, kind, &info);

	if (failure)
		return failure;
	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	*status = info.status;
	return CUDA_SUCCESS;
}

static CUresult give_info(CUstream stream, enum stream_kind kind, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                          const CUgraphNode **heads, const CUgraphEdgeData **edges, size_t *count)
{
	struct info info;
	CUresult failure = inform(stream, kind, &info);

	if (failure)
		return failure;
	if (!status)
		return CUDA_ERROR_INVALID_VALUE;
	*status = info.status;
	if (info.status != ACTIVE)
		return CUDA_SUCCESS;
	if (id)
		*id = info.id;
	if (graph)
		*graph = info.graph;
	if (heads)
		*heads = info.heads->at;
	if (edges)
		*edges = NULL;                  /* all edges are plain */
	if (count)
		*count = info.heads->count;
	return CUDA_SUCCESS;
}

static CUresult update(CUstream handle, enum stream_kind kind, CUgraphNode *nodes, size_t count, unsigned int flags)
{
	CUstream stream;
	CUresult failure = stream_find(handle, kind, &stream);
	struct nodes *heads;

	if (failure)
		return failure;
	if (!stream->capture)
		return CUDA_ERROR_ILLEGAL_STATE;
	if (flags > SET_DEPENDENCIES || (count && !nodes))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++)
		if (node_check(nodes[i]) || nodes[i]->graph != stream->capture->graph)
			return CUDA_ERROR_INVALID_VALUE;
	heads = &member_of(stream)->heads;
	if (flags == SET_DEPENDENCIES)
		heads->count = 0;
	for (size_t i = 0; i < count; i++)
		if (!nodes_hold(heads, nodes[i]) && !nodes_add(heads, nodes[i]))
			return CUDA_ERROR_OUT_OF_MEMORY;
	return CUDA_SUCCESS;
}

/* Each function for both kinds of default stream. */
#define BOTH(name, parameters, call_with_kind) \
	CUresult name parameters { const enum stream_kind kind = LEGACY_STREAM; return call_with_kind; } \
	CUresult name##_ptsz parameters { const enum stream_kind kind = THREAD_STREAM; return call_with_kind; }
BOTH(cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode), begin(stream, kind, (int)mode, NULL, NULL, 0))
BOTH(cuStreamBeginCapture, (CUstream stream), begin(stream, kind, 0, NULL, NULL, 0))
BOTH(cuStreamBeginCaptureToGraph, (CUstream stream, CUgraph graph, const CUgraphNode *before, const CUgraphEdgeData *data, size_t count,
                                   CUstreamCaptureMode mode),
     ((void)data, graph_check(graph) ? graph_check(graph) : begin(stream, kind, (int)mode, graph, before, count)))
BOTH(cuStreamEndCapture, (CUstream stream, CUgraph *graph), end_capture(stream, kind, graph))
BOTH(cuStreamIsCapturing, (CUstream stream, CUstreamCaptureStatus *status), is_capturing(stream, kind, status))
BOTH(cuStreamGetCaptureInfo, (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id),
     give_info(stream, kind, status, id, NULL, NULL, NULL, NULL))
BOTH(cuStreamGetCaptureInfo_v2, (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **heads,
                                 size_t *count),
     give_info(stream, kind, status, id, graph, heads, NULL, count))
BOTH(cuStreamGetCaptureInfo_v3, (CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph, const CUgraphNode **heads,
                                 const CUgraphEdgeData **edges, size_t *count),
     give_info(stream, kind, status, id, graph, heads, edges, count))
BOTH(cuStreamUpdateCaptureDependencies, (CUstream stream, CUgraphNode *nodes, size_t count, unsigned int flags),
     update(stream, kind, nodes, count, flags))
BOTH(cuStreamUpdateCaptureDependencies_v2, (CUstream stream, CUgraphNode *nodes, const CUgraphEdgeData *data, size_t count, unsigned int flags),
     ((void)data, update(stream, kind, nodes, count, flags)))
#undef BOTH

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
	static _Thread_local CUstreamCaptureMode thread_mode __attribute__((tls_model("initial-exec")));
	CUstreamCaptureMode before = thread_mode;
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!mode || (int)*mode < 0 || (int)*mode > MODE_RELAXED)
		return CUDA_ERROR_INVALID_VALUE;
	thread_mode = *mode;
	*mode = before;
	return CUDA_SUCCESS;
}
