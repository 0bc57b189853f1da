/* libcuda: the life of contexts, and primary contexts: one per device, counted references; Reset ends it and keeps the references. */
#include "cuda_context.h"

#include <stdlib.h>

/* CUlimit: stack, printf FIFO, heap, device runtime sync depth and launches, L2 granularity, persisting L2, ... as documented defaults. */
static const size_t default_limits[LIMITS] = {1024, 1 << 20, 8 << 20, 2, 2048, 64, 0};

static struct CUctx_st primaries[STATE_DEVICES];
static struct CUctx_st *free_contexts;
static uint64_t last_id;

static void set_limits(CUcontext context)
{
	for (int limit = 0; limit < LIMITS; limit++)
		context->limits[limit] = default_limits[limit];
}

CUresult context_begin(CUcontext context, CUdevice device)
{
	int64_t overhead = (int64_t)chip_of(device)->context_bytes;
	struct change cost = {.physical = overhead, .context = overhead};

	if (!driver_charge(device, &cost))
		return CUDA_ERROR_OUT_OF_MEMORY;
	context->magic = CONTEXT_MAGIC;
	context->device = device;
	context->alive = true;
	context->peers = 0;
	context->legacy = context->blocking = context->any = (struct moment){0};
	context->id = ++last_id;
	set_limits(context);
	return CUDA_SUCCESS;
}

void context_end(CUcontext context)
{
	struct change back = memory_end_all(context);
	int64_t overhead = (int64_t)chip_of(context->device)->context_bytes;

	back.requested = -back.requested;
	back.physical = -back.physical - overhead;
	back.context = -overhead;
	driver_charge(context->device, &back);
	context->alive = false;
}

static CUcontext new_record(void)
{
	CUcontext context = free_contexts;

	if (!context)
		return calloc(1, sizeof *context);
	free_contexts = context->next_free;
	return context;
}

static void free_record(CUcontext context)
{
	context->next_free = free_contexts;
	free_contexts = context;
}

static CUresult create(CUcontext *context, unsigned int flags, CUdevice device)
{
	CUcontext fresh = new_record();
	CUresult failure;

	if (!fresh)
		return CUDA_ERROR_OUT_OF_MEMORY;
	failure = context_begin(fresh, device);
	if (failure) {
		free_record(fresh);
		return failure;
	}
	fresh->flags = flags;
	fresh->references = 1;
	*context = fresh;
	return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!context)
		return CUDA_ERROR_INVALID_VALUE;
	machine_delay(driver.state);
	driver_lock();
	failure = create(context, flags, device);
	driver_unlock();
	return failure ? failure : context_push(*context);
}

CUresult cuCtxCreate(CUcontext *context, unsigned int flags, CUdevice device)
{
	return cuCtxCreate_v2(context, flags, device);
}

CUresult cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *parameters, int count, unsigned int flags, CUdevice device)
{
	(void)parameters;
	(void)count;
	return cuCtxCreate_v2(context, flags, device);
}

CUresult cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *parameters, unsigned int flags, CUdevice device)
{
	(void)parameters;
	return cuCtxCreate_v2(context, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
	CUcontext found;
	CUresult failure = context ? living_context(context, &found) : CUDA_ERROR_INVALID_VALUE;

	if (failure)
		return driver.ready ? failure : CUDA_ERROR_NOT_INITIALIZED;
	if (context->primary)
		return CUDA_ERROR_INVALID_CONTEXT;
	machine_delay(driver.state);
	driver_lock();
	context_end(context);
	free_record(context);
	driver_unlock();
	if (context_top() == context)
		context_pop();
	return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext context)
{
	return cuCtxDestroy_v2(context);
}

CUresult cuCtxAttach(CUcontext *context, unsigned int flags)
{
	CUcontext mine;
	CUresult failure = current_context(&mine);

	if (failure)
		return failure;
	if (!context || flags)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	mine->references++;
	driver_unlock();
	*context = mine;
	return CUDA_SUCCESS;
}

CUresult cuCtxDetach(CUcontext context)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);
	unsigned int left;

	if (failure)
		return failure;
	driver_lock();
	left = --found->references;
	driver_unlock();
	return left ? CUDA_SUCCESS : cuCtxDestroy_v2(found);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
	CUresult failure = driver_device(device);
	CUcontext primary = &primaries[failure ? 0 : device];

	if (failure)
		return failure;
	if (!context)
		return CUDA_ERROR_INVALID_VALUE;
	machine_delay(driver.state);
	driver_lock();
	primary->primary = true;
	if (!primary->alive)
		failure = context_begin(primary, device);
	if (!failure)
		primary->references++;
	driver_unlock();
	if (!failure)
		*context = primary;
	return failure;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	if (!primaries[device].references)
		failure = CUDA_ERROR_INVALID_CONTEXT;
	else if (--primaries[device].references == 0 && primaries[device].alive)
		context_end(&primaries[device]);
	driver_unlock();
	return failure;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
	return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	if (primaries[device].alive)
		context_end(&primaries[device]);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice device)
{
	return cuDevicePrimaryCtxReset_v2(device);
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags)
{
	CUresult failure = driver_device(device);

	if (!failure)
		primaries[device].flags = flags;
	return failure;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned int flags)
{
	CUresult failure = driver_device(device);

	if (!failure && primaries[device].alive)
		return CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE;
	return failure ? failure : cuDevicePrimaryCtxSetFlags_v2(device, flags);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!flags || !active)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = primaries[device].flags;
	*active = primaries[device].alive;
	return CUDA_SUCCESS;
}
