/* libcuda: contexts, the calling thread's stack of them, and primary contexts. */
#include "cuda_driver.h"

#include <stdlib.h>

enum { CONTEXT_MAGIC = 0x43747831 };

/* CUlimit: stack, printf FIFO, heap, device runtime sync depth and launches, L2 granularity, persisting L2, ... as documented defaults. */
static const size_t default_limits[LIMITS] = {1024, 1 << 20, 8 << 20, 2, 2048, 64, 0};
enum { KNOWN_LIMITS = 7 };

/* A thread's stack of contexts; the top is its current one. The pointer is all that lies in thread-local storage: space there is short. */
struct frame {
	CUcontext context;
	struct frame *below;
};

static _Thread_local struct frame *top __attribute__((tls_model("initial-exec")));
static pthread_key_t stack_key;

static struct CUctx_st primaries[STATE_DEVICES];
static struct CUctx_st *free_contexts;
static uint64_t last_id;

/* --- the thread's stack --- */

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

static CUresult push(CUcontext context)
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

static void pop(void)
{
	struct frame *frame = top;

	top = frame->below;
	free(frame);
}

static CUcontext current(void)
{
	return top ? top->context : NULL;
}

CUresult current_context(CUcontext *context)
{
	if (!driver.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	*context = current();
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

/* --- life --- */

static void set_limits(CUcontext context)
{
	for (int limit = 0; limit < LIMITS; limit++)
		context->limits[limit] = default_limits[limit];
}

/* Locked. Takes the context's overhead on its device. */
static CUresult begin(CUcontext context, CUdevice device)
{
	int64_t overhead = (int64_t)chip_of(device)->context_bytes;
	struct change cost = {.physical = overhead, .context = overhead};

	if (!driver_charge(device, &cost))
		return CUDA_ERROR_OUT_OF_MEMORY;
	context->magic = CONTEXT_MAGIC;
	context->device = device;
	context->alive = true;
	context->peers = 0;
	context->id = ++last_id;
	set_limits(context);
	return CUDA_SUCCESS;
}

/* Locked. Gives back the overhead and whatever was allocated in it. */
static void end(CUcontext context)
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
	failure = begin(fresh, device);
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
	return failure ? failure : push(*context);
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
	end(context);
	free_record(context);
	driver_unlock();
	if (current() == context)
		pop();
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

/* --- current --- */

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
	CUcontext found;
	CUresult failure = context ? living_context(context, &found) : CUDA_ERROR_INVALID_CONTEXT;

	if (failure)
		return driver.ready ? failure : CUDA_ERROR_NOT_INITIALIZED;
	return push(context);
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
		*context = current();
	pop();
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
			pop();
		return CUDA_SUCCESS;
	}
	failure = living_context(context, &found);
	if (failure)
		return failure;
	if (!top)
		return push(context);
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
	*context = current();
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

/* Work is done when its call returns: there is nothing to wait for. */
CUresult cuCtxSynchronize_v2(CUcontext context)
{
	CUcontext found;

	return living_context(context, &found);
}

CUresult cuCtxSynchronize(void)
{
	return cuCtxSynchronize_v2(NULL);
}

/* --- properties --- */

CUresult cuCtxGetFlags(unsigned int *flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = context->flags;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned int flags)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (!failure)
		context->flags = flags;
	return failure;
}

CUresult cuCtxGetId(CUcontext context, unsigned long long *id)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);

	if (failure)
		return failure;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = found->id;
	return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned int *version)
{
	CUcontext found;
	CUresult failure = living_context(context, &found);

	if (failure)
		return failure;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = 3020;                        /* the API version whose contexts these are: what drivers answer for _v2 and later */
	return CUDA_SUCCESS;
}

static CUresult limit_of(CUlimit limit, size_t **value)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if ((int)limit < 0 || (int)limit >= KNOWN_LIMITS)
		return CUDA_ERROR_UNSUPPORTED_LIMIT;
	*value = &context->limits[limit];
	return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t *value, CUlimit limit)
{
	size_t *found;
	CUresult failure = limit_of(limit, &found);

	if (failure)
		return failure;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	*value = *found;
	return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
	size_t *found;
	CUresult failure = limit_of(limit, &found);

	if (!failure)
		*found = value;
	return failure;
}

/* Hints that change nothing here: the answer is what a fresh context says. */
static CUresult give_default(int *value, int fallback)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	*value = fallback;
	return CUDA_SUCCESS;
}

static CUresult take_hint(void)
{
	CUcontext context;

	return current_context(&context);
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config)
{
	return give_default((int *)config, 0);
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
	(void)config;
	return take_hint();
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config)
{
	return give_default((int *)config, 1);          /* four-byte banks */
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
	(void)config;
	return take_hint();
}

CUresult cuCtxResetPersistingL2Cache(void)
{
	return take_hint();
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (least)
		*least = 0;
	if (greatest)
		*greatest = -5;
	return CUDA_SUCCESS;
}

static CUresult peer_bit(CUcontext peer, CUcontext *mine, unsigned int *bit)
{
	CUcontext found;
	CUresult failure = current_context(mine);

	if (!failure)
		failure = peer ? living_context(peer, &found) : CUDA_ERROR_INVALID_CONTEXT;
	if (failure)
		return failure;
	*bit = 1u << peer->device;
	return peer->device == (*mine)->device ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned int flags)
{
	CUcontext mine;
	unsigned int bit;
	CUresult failure = peer_bit(peer, &mine, &bit);

	if (failure)
		return failure;
	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (mine->peers & bit)
		return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
	mine->peers |= bit;
	return CUDA_SUCCESS;
}

CUresult cuCtxDisablePeerAccess(CUcontext peer)
{
	CUcontext mine;
	unsigned int bit;
	CUresult failure = peer_bit(peer, &mine, &bit);

	if (failure)
		return failure;
	if (!(mine->peers & bit))
		return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
	mine->peers &= ~bit;
	return CUDA_SUCCESS;
}

/* --- primary contexts: one per device, counted references; Reset ends it and keeps the references --- */

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
		failure = begin(primary, device);
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
		end(&primaries[device]);
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
		end(&primaries[device]);
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
