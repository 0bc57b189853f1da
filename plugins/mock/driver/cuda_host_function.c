/*
 * libcuda: functions of the program that run in stream order, on a thread of the driver's own, one after another as they were queued. They have
 * numbers; a moment (cuda_driver.h) names the last one that has to have run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "cuda_stream.h"
#include "cuda_work.h"

struct host_function {
	struct moment after;
	CUhostFn function;
	void *data;
	struct host_function *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t added = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static struct host_function *first, **last = &first;
static uint64_t queued, done;
static bool running;

static struct host_function *take(void)
{
	struct host_function *one;

	pthread_mutex_lock(&mutex);
	while (!first)
		pthread_cond_wait(&added, &mutex);
	one = first;
	first = one->next;
	if (!first)
		last = &first;
	pthread_mutex_unlock(&mutex);
	return one;
}

static void *work(void *unused)
{
	for (;;) {
		struct host_function *one = take();

		moment_wait((struct moment){one->after.time, 0});       /* those before it have run */
		one->function(one->data);
		free(one);
		pthread_mutex_lock(&mutex);
		done++;
		pthread_cond_broadcast(&finished);
		pthread_mutex_unlock(&mutex);
	}
	return unused;
}

/* The thread leaves signals to the program's own. */
static bool start(void)
{
	pthread_t thread;
	sigset_t all, before;
	int failure;

	if (running)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failure = pthread_create(&thread, NULL, work, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!failure)
		pthread_detach(thread);
	running = !failure;
	return running;
}

struct moment host_function_add(struct moment after, CUhostFn function, void *data)
{
	struct host_function *one = malloc(sizeof *one);
	struct moment end = {0, 0};

	pthread_mutex_lock(&mutex);
	if (one && start()) {
		*one = (struct host_function){after, function, data, NULL};
		*last = one;
		last = &one->next;
		end = (struct moment){after.time, ++queued};
		pthread_cond_signal(&added);
	} else {
		free(one);
	}
	pthread_mutex_unlock(&mutex);
	return end;
}

bool host_functions_reached(uint64_t number)
{
	bool reached;

	pthread_mutex_lock(&mutex);
	reached = done >= number;
	pthread_mutex_unlock(&mutex);
	return reached;
}

void host_functions_wait(uint64_t number)
{
	pthread_mutex_lock(&mutex);
	while (done < number)
		pthread_cond_wait(&finished, &mutex);
	pthread_mutex_unlock(&mutex);
}

static CUresult launch(CUstream stream, enum stream_kind kind, CUhostFn function, void *data)
{
	struct work work = {.type = WORK_HOST, .host = {function, data}};

	return function ? work_submit(stream, kind, &work) : driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data)
{
	return launch(stream, LEGACY_STREAM, function, data);
}

CUresult cuLaunchHostFunc_ptsz(CUstream stream, CUhostFn function, void *data)
{
	return launch(stream, THREAD_STREAM, function, data);
}

CUresult cuLaunchHostFunc_v2(CUstream stream, CUhostFn function, void *data, unsigned int mode)
{
	return mode > 1 ? CUDA_ERROR_INVALID_VALUE : launch(stream, LEGACY_STREAM, function, data);
}

CUresult cuLaunchHostFunc_v2_ptsz(CUstream stream, CUhostFn function, void *data, unsigned int mode)
{
	return mode > 1 ? CUDA_ERROR_INVALID_VALUE : launch(stream, THREAD_STREAM, function, data);
}

/* A callback is a host function that is told its stream and how the work before it went. */
struct callback {
	CUstreamCallback function;
	CUstream stream;
	void *data;
};

static void call_back(void *data)
{
	struct callback callback = *(struct callback *)data;

	free(data);
	callback.function(callback.stream, CUDA_SUCCESS, callback.data);
}

static CUresult add_callback(CUstream stream, enum stream_kind kind, CUstreamCallback function, void *data, unsigned int flags)
{
	struct callback *callback;
	CUcontext context;
	CUresult failure = stream_context(stream, kind, &context);

	if (failure)
		return failure;
	if (!function || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (stream_is_capturing(stream, kind))
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	callback = malloc(sizeof *callback);
	if (!callback)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*callback = (struct callback){function, stream, data};
	failure = launch(stream, kind, call_back, callback);
	if (failure)
		free(callback);
	return failure;
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void *data, unsigned int flags)
{
	return add_callback(stream, LEGACY_STREAM, callback, data, flags);
}

CUresult cuStreamAddCallback_ptsz(CUstream stream, CUstreamCallback callback, void *data, unsigned int flags)
{
	return add_callback(stream, THREAD_STREAM, callback, data, flags);
}
