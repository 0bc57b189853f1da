/*
 * Streams, as the other files of libcuda see them. A stream is no queue: work takes effect when it is submitted, and what a stream keeps is the
 * moment at which all of it will be done. Whoever waits or asks compares that with the clock.
 */
#ifndef HAMI_MOCK_CUDA_STREAM_H
#define HAMI_MOCK_CUDA_STREAM_H

#include "cuda_driver.h"

/* Which default stream NULL stands for: functions come in both kinds. */
enum stream_kind { LEGACY_STREAM, THREAD_STREAM };

struct capture;

/* Records are reused and never freed, so a stale handle is recognised. */
struct CUstream_st {
	uint32_t magic;                         /* 0 once destroyed */
	unsigned int flags;
	int priority;
	bool legacy;
	uint64_t id;
	CUcontext context;
	struct moment done;
	struct capture *capture;                /* NULL unless it is recorded into a graph (cuda_capture.c) */
	struct CUstream_st *next_free;
};

/* The record that a handle stands for, in a living context. */
CUresult stream_find(CUstream handle, enum stream_kind kind, CUstream *stream);

/* The context of a stream. */
CUresult stream_context(CUstream handle, enum stream_kind kind, CUcontext *context);

/* Whether it is being captured; false for what is no stream. */
bool stream_is_capturing(CUstream handle, enum stream_kind kind);

/* Locked. When the work submitted so far is done, with what other streams the interface makes it wait for. */
struct moment stream_moment(CUstream stream);

/* Locked. What follows in the stream is not done before that. */
void stream_advance(CUstream stream, struct moment moment);

/* A kernel of so long a duration, in simulated time. Not locked: waits while the launch queue is full. */
void stream_run(CUstream stream, uint64_t duration);

/* Wait, with nothing locked; or see whether there is nothing to wait for. */
void moment_wait(struct moment moment);
bool moment_is_reached(struct moment moment);
struct moment moment_later(struct moment a, struct moment b);

/* A synchronous call on the default stream: waits for what goes before it. */
CUresult stream_wait_default(enum stream_kind kind);

/* Queue a host function behind MOMENT; its own end is what is returned. Locked. (cuda_host_function.c) */
struct moment host_function_add(struct moment after, CUhostFn function, void *data);
bool host_functions_reached(uint64_t number);
void host_functions_wait(uint64_t number);

#endif
