/* libcuda: texture and surface objects: handles that remember what they were made of. Nothing samples here. */
#include "cuda_driver.h"

#include <stdlib.h>
#include <string.h>

/* Resource, sampling and view, as CUDA_RESOURCE_DESC, CUDA_TEXTURE_DESC and CUDA_RESOURCE_VIEW_DESC are laid out. */
struct object {
	uint64_t handle;
	bool surface, viewed;
	CUDA_RESOURCE_DESC resource;
	CUDA_TEXTURE_DESC texture;
	CUDA_RESOURCE_VIEW_DESC view;
	struct object *next;
};

enum { RESOURCE_ARRAY = 0, RESOURCE_LAST = 3 };

static struct object *objects;
static uint64_t last_handle;

/* Locked. */
static struct object **find(uint64_t handle, bool surface)
{
	struct object **at = &objects;

	while (*at && ((*at)->handle != handle || (*at)->surface != surface))
		at = &(*at)->next;
	return at;
}

static CUresult make(const struct object *given, unsigned long long *handle)
{
	struct object *object = malloc(sizeof *object);

	if (!object)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*object = *given;
	driver_lock();
	object->handle = *handle = ++last_handle;
	object->next = objects;
	objects = object;
	driver_unlock();
	return CUDA_SUCCESS;
}

static CUresult end(uint64_t handle, bool surface)
{
	CUresult failure = driver_ready();
	struct object *object;

	if (failure)
		return failure;
	driver_lock();
	object = *find(handle, surface);
	if (object)
		*find(handle, surface) = object->next;
	driver_unlock();
	free(object);
	return object ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult give(uint64_t handle, bool surface, size_t offset, void *out, size_t size)
{
	CUresult failure = driver_ready();
	struct object *object;

	if (failure)
		return failure;
	driver_lock();
	object = *find(handle, surface);
	if (object && out)
		memcpy(out, (const char *)object + offset, size);
	driver_unlock();
	return object && out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectCreate(CUtexObject *handle, const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *texture,
                           const CUDA_RESOURCE_VIEW_DESC *view)
{
	struct object object = {.viewed = view};
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!handle || !resource || !texture || (int)resource->resType < RESOURCE_ARRAY || (int)resource->resType > RESOURCE_LAST)
		return CUDA_ERROR_INVALID_VALUE;
	object.resource = *resource;
	object.texture = *texture;
	if (view)
		object.view = *view;
	return make(&object, handle);
}

CUresult cuTexObjectDestroy(CUtexObject handle)
{
	return end(handle, false);
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUtexObject handle)
{
	return give(handle, false, offsetof(struct object, resource), resource, sizeof *resource);
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *texture, CUtexObject handle)
{
	return give(handle, false, offsetof(struct object, texture), texture, sizeof *texture);
}

CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject handle)
{
	bool viewed = false;
	CUresult failure = give(handle, false, offsetof(struct object, viewed), &viewed, sizeof viewed);

	if (!failure && !viewed)
		return CUDA_ERROR_INVALID_VALUE;
	return failure ? failure : give(handle, false, offsetof(struct object, view), view, sizeof *view);
}

/* Surfaces are arrays. */
CUresult cuSurfObjectCreate(CUsurfObject *handle, const CUDA_RESOURCE_DESC *resource)
{
	struct object object = {.surface = true};
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure)
		return failure;
	if (!handle || !resource || (int)resource->resType != RESOURCE_ARRAY)
		return CUDA_ERROR_INVALID_VALUE;
	object.resource = *resource;
	return make(&object, handle);
}

CUresult cuSurfObjectDestroy(CUsurfObject handle)
{
	return end(handle, true);
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUsurfObject handle)
{
	return give(handle, true, offsetof(struct object, resource), resource, sizeof *resource);
}
