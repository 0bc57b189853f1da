/* libcuda: what a context is asked about itself, limits and hints, and access between devices. */
#include "cuda_context.h"

enum { KNOWN_LIMITS = 7 };

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

/* No other device writes into memory behind the driver's back. */
CUresult cuFlushGPUDirectRDMAWrites(CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope)
{
	(void)target;
	(void)scope;
	return take_hint();
}
