/*
 * Arrays and mipmaps: reserve, ask the driver, record or roll back, as for linear memory. How much one takes is the driver's
 * affair, as its rows are padded and its tiles arranged. A twin with deferred mapping, which owns nothing, tells it beforehand;
 * where the driver makes none, an array is charged its elements. Arrays that own nothing themselves, sparse ones and those with
 * deferred mapping, are charged nothing: what is mapped into them is.
 */
#include "charge.h"
#include "cuda_device.h"
#include "driver.h"
#include "wrappers.h"

#define OWNS_NOTHING (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)
#define LAYERS (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)	/* Depth counts layers, which no level has fewer of */
#define WIDEST_ELEMENT 8u	/* bytes, of all formats that are not counted by channel */

static uint64_t element_bytes(CUarray_format format, unsigned channels)
{
	switch (format) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8:
		return channels;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF:
		return UINT64_C(2) * channels;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT:
		return UINT64_C(4) * channels;
	default:
		return WIDEST_ELEMENT;
	}
}

/* A dimension of a level; one that an array does not have is 0 in its descriptor. */
static uint64_t at_level(uint64_t size, unsigned level)
{
	uint64_t halved = level < 64 ? size >> level : 0;

	return halved ? halved : 1;
}

/* The elements of all levels, by what they measure; UINT64_MAX, which never fits, where that overflows. */
static uint64_t estimate(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels)
{
	uint64_t sum = 0;

	for (unsigned level = 0; level < levels && level < 64; level++) {
		uint64_t bytes = element_bytes(shape->Format, shape->NumChannels);

		if (__builtin_mul_overflow(bytes, at_level(shape->Width, level), &bytes) ||
		    __builtin_mul_overflow(bytes, at_level(shape->Height, level), &bytes) ||
		    __builtin_mul_overflow(bytes, at_level(shape->Depth, shape->Flags & LAYERS ? 0 : level), &bytes) ||
		    __builtin_add_overflow(sum, bytes, &sum))
			return UINT64_MAX;
	}
	return sum;
}

/* What the driver says that such an array takes on a device; 0: it does not say. */
static uint64_t required(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned index)
{
	CUDA_ARRAY3D_DESCRIPTOR deferred = *shape;
	CUDA_ARRAY_MEMORY_REQUIREMENTS answer = { 0 };
	CUarray twin;

	deferred.Flags |= CUDA_ARRAY3D_DEFERRED_MAPPING;
	if (!vgpu_cuda.cuArrayGetMemoryRequirements || !vgpu_cuda.cuArrayDestroy || !vgpu_cuda.cuArray3DCreate_v2 ||
	    vgpu_cuda.cuArray3DCreate_v2(&twin, &deferred) != CUDA_SUCCESS)
		return 0;
	if (vgpu_cuda.cuArrayGetMemoryRequirements(&answer, twin, vgpu_cuda_handle(index)) != CUDA_SUCCESS)
		answer.size = 0;
	vgpu_cuda.cuArrayDestroy(twin);
	return answer.size;
}

static uint64_t required_mipmapped(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels, unsigned index)
{
	CUDA_ARRAY3D_DESCRIPTOR deferred = *shape;
	CUDA_ARRAY_MEMORY_REQUIREMENTS answer = { 0 };
	CUmipmappedArray twin;

	deferred.Flags |= CUDA_ARRAY3D_DEFERRED_MAPPING;
	if (!vgpu_cuda.cuMipmappedArrayGetMemoryRequirements || !vgpu_cuda.cuMipmappedArrayDestroy ||
	    !vgpu_cuda.cuMipmappedArrayCreate || vgpu_cuda.cuMipmappedArrayCreate(&twin, &deferred, levels) != CUDA_SUCCESS)
		return 0;
	if (vgpu_cuda.cuMipmappedArrayGetMemoryRequirements(&answer, twin, vgpu_cuda_handle(index)) != CUDA_SUCCESS)
		answer.size = 0;
	vgpu_cuda.cuMipmappedArrayDestroy(twin);
	return answer.size;
}

/* What is charged for an array that is about to be made on device INDEX. */
struct price {
	unsigned index;
	uint64_t bytes;		/* 0: it owns nothing, or the driver will refuse the descriptor */
};

static CUresult reserve(const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels, struct price *price)
{
	uint64_t told;
	CUresult result = vgpu_cuda_devices();

	price->bytes = 0;
	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_current(&price->index);
	if (result != CUDA_SUCCESS || shape->Flags & OWNS_NOTHING)
		return result;
	price->bytes = estimate(shape, levels ? levels : 1);
	if (price->bytes < UINT64_MAX) {	/* else too large for any device */
		told = levels ? required_mipmapped(shape, levels, price->index) : required(shape, price->index);
		price->bytes = told ? told : price->bytes;
	}
	return vgpu_charge(price->index, price->bytes);
}

/*
 * Remember a new array, and the context it goes with, beside it: an array cannot be asked for its own. False: it could not be
 * recorded, which its maker undoes.
 */
static bool commit(uint64_t handle, struct price price)
{
	CUcontext context = NULL;
	struct vgpu_pointer record = { price.bytes, price.index, VGPU_POINTER_ARRAY };

	if (!price.bytes)
		return true;
	if (!vgpu_record(handle, record))
		return false;
	if (vgpu_cuda.cuCtxGetCurrent && vgpu_cuda.cuCtxGetCurrent(&context) == CUDA_SUCCESS && context)
		(void)vgpu_record(handle + 1, (struct vgpu_pointer){ (uintptr_t)context, price.index, VGPU_POINTER_OWNER });
	return true;
}

static CUresult finish(CUresult result, const CUarray *array, struct price price)
{
	if (result == CUDA_SUCCESS && !commit((uintptr_t)*array, price)) {
		if (vgpu_cuda.cuArrayDestroy)
			vgpu_cuda.cuArrayDestroy(*array);
		result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result != CUDA_SUCCESS && price.bytes)
		vgpu_discharge(price.index, price.bytes);
	return result;
}

CUresult vgpu_cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	struct price price = { 0 };
	CUresult result = descriptor ? reserve(descriptor, 0, &price) : CUDA_SUCCESS;

	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuArray3DCreate_v2(array, descriptor), array, price) : result;
}

CUresult vgpu_cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *descriptor)
{
	struct price price = { 0 };
	CUresult result = CUDA_SUCCESS;

	if (descriptor)
		result = reserve(&(CUDA_ARRAY3D_DESCRIPTOR){ descriptor->Width, descriptor->Height, 0, descriptor->Format,
		                                              descriptor->NumChannels, 0 }, 0, &price);
	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuArrayCreate_v2(array, descriptor), array, price) : result;
}

CUresult vgpu_cuArray3DCreate(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR_v1 *descriptor)
{
	struct price price = { 0 };
	CUresult result = CUDA_SUCCESS;

	if (descriptor)
		result = reserve(&(CUDA_ARRAY3D_DESCRIPTOR){ descriptor->Width, descriptor->Height, descriptor->Depth,
		                                              descriptor->Format, descriptor->NumChannels, descriptor->Flags },
		                 0, &price);
	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuArray3DCreate(array, descriptor), array, price) : result;
}

CUresult vgpu_cuArrayCreate(CUarray *array, const CUDA_ARRAY_DESCRIPTOR_v1 *descriptor)
{
	struct price price = { 0 };
	CUresult result = CUDA_SUCCESS;

	if (descriptor)
		result = reserve(&(CUDA_ARRAY3D_DESCRIPTOR){ descriptor->Width, descriptor->Height, 0, descriptor->Format,
		                                              descriptor->NumChannels, 0 }, 0, &price);
	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuArrayCreate(array, descriptor), array, price) : result;
}

CUresult vgpu_cuMipmappedArrayCreate(CUmipmappedArray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels)
{
	struct price price = { 0 };
	CUresult result = descriptor && levels ? reserve(descriptor, levels, &price) : CUDA_SUCCESS;

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMipmappedArrayCreate(array, descriptor, levels);
	if (result == CUDA_SUCCESS && !commit((uintptr_t)*array, price)) {
		if (vgpu_cuda.cuMipmappedArrayDestroy)
			vgpu_cuda.cuMipmappedArrayDestroy(*array);
		result = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (result != CUDA_SUCCESS && price.bytes)
		vgpu_discharge(price.index, price.bytes);
	return result;
}

/* The records are taken out before the driver is asked, as for a pointer; they go back if it refuses. */
struct taken {
	uint64_t handle;
	bool known, owned;
	struct vgpu_pointer record, owner;
};

static struct taken take(uint64_t handle)
{
	struct taken taken = { .handle = handle };

	taken.known = vgpu_forget(handle, &taken.record);
	taken.owned = taken.known && vgpu_forget(handle + 1, &taken.owner);
	return taken;
}

static CUresult settle(CUresult result, const struct taken *taken)
{
	if (!taken->known)
		return result;
	if (result == CUDA_SUCCESS) {
		vgpu_discharge(taken->record.device, taken->record.bytes);
		return result;
	}
	(void)vgpu_record(taken->handle, taken->record);
	if (taken->owned)
		(void)vgpu_record(taken->handle + 1, taken->owner);
	return result;
}

CUresult vgpu_cuArrayDestroy(CUarray array)
{
	struct taken taken = take((uintptr_t)array);

	return settle(vgpu_cuda.cuArrayDestroy(array), &taken);
}

CUresult vgpu_cuMipmappedArrayDestroy(CUmipmappedArray array)
{
	struct taken taken = take((uintptr_t)array);

	return settle(vgpu_cuda.cuMipmappedArrayDestroy(array), &taken);
}
