/* libcuda: which context is a thread's current one. Contexts themselves are in cuda_context.c. */
#include "cuda_context.h"

#include <stdlib.h>

/* A thread's stack of contexts; the top is its current one. The pointer is all that lies in thread-local storage: space there is short. */
struct frame {
	CUcontext context;
	struct frame *below;
};

static _Thread_local struct frame *top __attribute__((tls_model("initial-exec")));
static pthread_key_t stack_key;

static void end_stack(void *value)
{
	(void)value;
	while (top) {
		struct frame *frame = top;

		top = frame->below;
		free(frame);
	}
}

static void make_key(void)
{
	pthread_key_create(&stack_key, end_stack);
}

CUresult context_push(CUcontext context)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct frame *frame = malloc(sizeof *frame);

	if (!frame)
		return CUDA_ERROR_OUT_OF_MEMORY;
	pthread_once(&once, make_key);
	pthread_setspecific(stack_key, frame);
	*frame = (struct frame){context, top};
	top = frame;
	return CUDA_SUCCESS;
}

void context_pop(void)
{
	struct frame *frame = top;

	top = frame->below;
	free(frame);
}

CUcontext context_top(void)
{
	return top ? top->context : NULL;
}

CUresult current_context(CUcontext *context)
{
	if (!driver.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	*context = context_top();
	if (!*context)
		return CUDA_ERROR_INVALID_CONTEXT;
	return (*context)->alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult living_context(CUcontext given, CUcontext *context)
{
	if (!given)
		return current_context(context);
	if (!driver.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	*context = given;
	if (given->magic != CONTEXT_MAGIC)
		return CUDA_ERROR_INVALID_CONTEXT;
	return given->alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
	CUcontext found;
	CUresult failure = context ? living_context(context, &found) : CUDA_ERROR_INVALID_CONTEXT;

	if (failure)
		return driver.ready ? failure : CUDA_ERROR_NOT_INITIALIZED;
	return context_push(context);
}

CUresult cuCtxPushCurrent(CUcontext context)
{
	return cuCtxPushCurrent_v2(context);
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!top)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (context)
		*context = context_top();
	context_pop();
	return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext *context)
{
	return cuCtxPopCurrent_v2(context);
}

CUresult cuCtxSetCurrent(CUcontext context)
{
	CUcontext found;
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!context) {
		if (top)
			context_pop();
		return CUDA_SUCCESS;
	}
	failure = living_context(context, &found);
	if (failure)
		return failure;
	if (!top)
		return context_push(context);
	top->context = context;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!context)
		return CUDA_ERROR_INVALID_VALUE;
	*context = context_top();
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext context)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);

	if (failure)
		return failure;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = found->device;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
	return cuCtxGetDevice_v2(device, NULL);
}
