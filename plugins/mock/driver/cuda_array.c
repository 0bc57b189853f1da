/*
 * libcuda: arrays and mipmapped arrays. They take of their device what cuArrayGetMemoryRequirements says: rows of 512 bytes, and 64 KiB at a time, as
 * textures want it. Textures and surfaces on them are in cuda_texture.c.
 */
#define _GNU_SOURCE
#include "cuda_array.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { ARRAY_MAGIC = 0x41727231, MIPMAP_MAGIC = 0x4d697031, ROW = 512, LEVELS = 32 };
enum { LAYERED = 1, CUBEMAP = 4, SPARSE = 0x40, DEFERRED = 0x80 };

#define GRANULE (64ULL << 10)
#define LARGEST_SIDE (1u << 20)

/* Records are reused and never freed, so a stale handle is recognised. */
struct CUarray_st {
	uint32_t magic;
	bool level;                             /* of a mipmapped array, which owns it */
	CUDA_ARRAY3D_DESCRIPTOR descriptor;
	CUcontext context;
	char *bytes;
	uint64_t pitch, size;
	uint64_t physical;                      /* 0: in memory that is not its own */
	struct CUarray_st *next;
};

struct CUmipmappedArray_st {
	uint32_t magic;
	unsigned int levels;
	CUDA_ARRAY3D_DESCRIPTOR descriptor;
	CUcontext context;
	uint64_t size, physical;
	CUarray level[LEVELS];
	struct CUmipmappedArray_st *next;
};

static CUarray arrays, free_arrays;
static CUmipmappedArray mipmaps, free_mipmaps;

/* Bytes of one element of one channel; 0 for formats of several planes or of compressed blocks. */
static unsigned int format_size(int format)
{
	switch (format) {
	case 0x01: case 0x08: return 1;
	case 0x02: case 0x09: case 0x10: return 2;
	case 0x03: case 0x0a: case 0x20: return 4;
	case 0xc0: case 0xc6: return 1;
	case 0xc1: case 0xc3: case 0xc7: case 0xc9: return 2;
	case 0xc2: case 0xc4: case 0xc8: case 0xca: return 4;
	case 0xc5: case 0xcb: return 8;
	default: return 0;
	}
}

/* Formats from 0xc0 on name all their channels. */
static unsigned int element_size(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	unsigned int size = format_size((int)descriptor->Format);

	return (int)descriptor->Format >= 0xc0 ? size : size * descriptor->NumChannels;
}

static CUresult check(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	unsigned int channels;

	if (!descriptor)
		return CUDA_ERROR_INVALID_VALUE;
	channels = descriptor->NumChannels;
	if (!descriptor->Width || (channels != 1 && channels != 2 && channels != 4))
		return CUDA_ERROR_INVALID_VALUE;
	if (descriptor->Depth && !descriptor->Height && !(descriptor->Flags & LAYERED))
		return CUDA_ERROR_INVALID_VALUE;
	if (descriptor->Width > LARGEST_SIDE * 128ULL || descriptor->Height > LARGEST_SIDE || descriptor->Depth > LARGEST_SIDE)
		return CUDA_ERROR_INVALID_VALUE;
	return element_size(descriptor) ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

static uint64_t up(uint64_t bytes, uint64_t step)
{
	return (bytes + step - 1) / step * step;
}

static uint64_t pitch_of(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	uint64_t row = (uint64_t)descriptor->Width * element_size(descriptor);

	return descriptor->Height || descriptor->Depth ? up(row, ROW) : row;
}

static uint64_t rows_of(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	return (descriptor->Height ? descriptor->Height : 1) * (descriptor->Depth ? descriptor->Depth : 1);
}

static uint64_t size_of(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	return pitch_of(descriptor) * rows_of(descriptor);
}

/* Sparse arrays, and those whose memory is mapped later, own none. */
static bool owns_nothing(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	return descriptor->Flags & (SPARSE | DEFERRED);
}

static bool charge(CUdevice device, uint64_t requested, uint64_t physical, int sign)
{
	struct change change = {.requested = sign * (int64_t)requested, .physical = sign * (int64_t)physical};

	return !physical || driver_charge(device, &change);
}

/* Locked. With its bytes, and without a charge. */
static CUarray new_array(CUcontext context, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	uint64_t size = size_of(descriptor);
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CUarray array = free_arrays;

	if (bytes == MAP_FAILED)
		return NULL;
	if (array)
		free_arrays = array->next;
	else
		array = calloc(1, sizeof *array);
	if (!array) {
		munmap(bytes, size);
		return NULL;
	}
	*array = (struct CUarray_st){ARRAY_MAGIC, false, *descriptor, context, bytes, pitch_of(descriptor), size, 0, arrays};
	arrays = array;
	return array;
}

/* Locked. */
static void end_array(CUarray array)
{
	CUarray *at = &arrays;

	while (*at != array)
		at = &(*at)->next;
	*at = array->next;
	munmap(array->bytes, array->size);
	array->magic = 0;
	array->next = free_arrays;
	free_arrays = array;
}

/* Locked. */
static CUresult create(CUarray *array, CUcontext context, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	uint64_t size = size_of(descriptor), physical = owns_nothing(descriptor) ? 0 : account_physical(up(size, GRANULE));

	if (!charge(context->device, size, physical, 1))
		return CUDA_ERROR_OUT_OF_MEMORY;
	*array = new_array(context, descriptor);
	if (!*array) {
		charge(context->device, size, physical, -1);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	(*array)->physical = physical;
	return CUDA_SUCCESS;
}

CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (!failure)
		failure = array ? check(descriptor) : CUDA_ERROR_INVALID_VALUE;
	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	failure = create(array, context, descriptor);
	driver_unlock();
	return failure;
}

CUresult cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *given)
{
	CUDA_ARRAY3D_DESCRIPTOR descriptor = {0};

	if (given)
		descriptor = (CUDA_ARRAY3D_DESCRIPTOR){.Width = given->Width, .Height = given->Height, .Format = given->Format, .NumChannels = given->NumChannels};
	return cuArray3DCreate_v2(array, given ? &descriptor : NULL);
}

static CUresult check_array(CUarray array)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return array && array->magic == ARRAY_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

bool array_bytes(CUarray array, struct array_bytes *bytes)
{
	if (check_array(array))
		return false;
	*bytes = (struct array_bytes){array->bytes, array->pitch, array->descriptor.Height ? array->descriptor.Height : 1, array->size};
	return true;
}

CUresult cuArrayDestroy(CUarray array)
{
	CUresult failure = check_array(array);

	if (failure)
		return failure;
	if (array->level)
		return CUDA_ERROR_INVALID_HANDLE;
	machine_delay(driver.state);
	driver_lock();
	charge(array->context->device, array->size, array->physical, -1);
	end_array(array);
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *descriptor, CUarray array)
{
	CUresult failure = check_array(array);

	if (failure)
		return failure;
	if (!descriptor)
		return CUDA_ERROR_INVALID_VALUE;
	*descriptor = array->descriptor;
	return CUDA_SUCCESS;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *descriptor, CUarray array)
{
	CUresult failure = check_array(array);

	if (failure)
		return failure;
	if (!descriptor)
		return CUDA_ERROR_INVALID_VALUE;
	*descriptor = (CUDA_ARRAY_DESCRIPTOR){array->descriptor.Width, array->descriptor.Height, array->descriptor.Format,
	                                      array->descriptor.NumChannels};
	return CUDA_SUCCESS;
}

/* Of any array, also of one that owns its memory. */
CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUarray array, CUdevice device)
{
	CUresult failure = check_array(array);

	if (!failure)
		failure = driver_device(device);
	if (failure)
		return failure;
	if (!requirements)
		return CUDA_ERROR_INVALID_VALUE;
	*requirements = (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = up(array->size, GRANULE), .alignment = GRANULE};
	return CUDA_SUCCESS;
}

/* Formats of several planes cannot be had here. */
CUresult cuArrayGetPlane(CUarray *plane, CUarray array, unsigned int index)
{
	CUresult failure = check_array(array);

	(void)plane;
	(void)index;
	return failure ? failure : CUDA_ERROR_INVALID_VALUE;
}

static size_t half(size_t side, unsigned int level)
{
	return side ? side >> level ? side >> level : 1 : 0;
}

static CUDA_ARRAY3D_DESCRIPTOR level_of(const CUDA_ARRAY3D_DESCRIPTOR *whole, unsigned int level)
{
	CUDA_ARRAY3D_DESCRIPTOR one = *whole;

	one.Width = half(one.Width, level);
	one.Height = half(one.Height, level);
	if (!(one.Flags & (LAYERED | CUBEMAP)))
		one.Depth = half(one.Depth, level);
	return one;
}

static unsigned int most_levels(const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	size_t side = descriptor->Width > descriptor->Height ? descriptor->Width : descriptor->Height;
	unsigned int levels = 1;

	if (!(descriptor->Flags & (LAYERED | CUBEMAP)) && descriptor->Depth > side)
		side = descriptor->Depth;
	while (side >>= 1)
		levels++;
	return levels;
}

/* Locked. */
static void end_mipmap(CUmipmappedArray mipmap)
{
	CUmipmappedArray *at = &mipmaps;

	while (*at != mipmap)
		at = &(*at)->next;
	*at = mipmap->next;
	for (unsigned int level = 0; level < mipmap->levels; level++)
		end_array(mipmap->level[level]);
	mipmap->magic = 0;
	mipmap->next = free_mipmaps;
	free_mipmaps = mipmap;
}

static CUmipmappedArray new_mipmap(CUcontext context, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	CUmipmappedArray mipmap = free_mipmaps;

	if (mipmap)
		free_mipmaps = mipmap->next;
	else
		mipmap = calloc(1, sizeof *mipmap);
	if (!mipmap)
		return NULL;
	*mipmap = (struct CUmipmappedArray_st){.magic = MIPMAP_MAGIC, .descriptor = *descriptor, .context = context, .next = mipmaps};
	mipmaps = mipmap;
	return mipmap;
}

/* Locked. */
static bool add_levels(CUmipmappedArray mipmap, unsigned int levels)
{
	for (; mipmap->levels < levels; mipmap->levels++) {
		CUDA_ARRAY3D_DESCRIPTOR one = level_of(&mipmap->descriptor, mipmap->levels);
		CUarray array = new_array(mipmap->context, &one);

		if (!array)
			return false;
		array->level = true;
		mipmap->level[mipmap->levels] = array;
		mipmap->size += array->size;
	}
	return true;
}

static CUresult create_mipmap(CUmipmappedArray *mipmap, CUcontext context, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels, bool own)
{
	CUmipmappedArray fresh = new_mipmap(context, descriptor);
	uint64_t physical = 0;

	if (!fresh)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (add_levels(fresh, levels)) {
		physical = own && !owns_nothing(descriptor) ? account_physical(up(fresh->size, GRANULE)) : 0;
		if (charge(context->device, fresh->size, physical, 1)) {
			fresh->physical = physical;
			*mipmap = fresh;
			return CUDA_SUCCESS;
		}
	}
	end_mipmap(fresh);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult make_mipmap(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels, bool own)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (!failure)
		failure = mipmap && levels ? check(descriptor) : CUDA_ERROR_INVALID_VALUE;
	if (failure)
		return failure;
	if (levels > most_levels(descriptor))
		levels = most_levels(descriptor);
	machine_delay(driver.state);
	driver_lock();
	failure = create_mipmap(mipmap, context, descriptor, levels, own);
	driver_unlock();
	return failure;
}

CUresult mipmapped_array_in(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels)
{
	return make_mipmap(mipmap, descriptor, levels, false);
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels)
{
	return make_mipmap(mipmap, descriptor, levels, true);
}

static CUresult check_mipmap(CUmipmappedArray mipmap)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return mipmap && mipmap->magic == MIPMAP_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuMipmappedArrayGetLevel(CUarray *array, CUmipmappedArray mipmap, unsigned int level)
{
	CUresult failure = check_mipmap(mipmap);

	if (failure)
		return failure;
	if (!array || level >= mipmap->levels)
		return CUDA_ERROR_INVALID_VALUE;
	*array = mipmap->level[level];
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUmipmappedArray mipmap, CUdevice device)
{
	CUresult failure = check_mipmap(mipmap);

	if (!failure)
		failure = driver_device(device);
	if (failure)
		return failure;
	if (!requirements)
		return CUDA_ERROR_INVALID_VALUE;
	*requirements = (CUDA_ARRAY_MEMORY_REQUIREMENTS){.size = up(mipmap->size, GRANULE), .alignment = GRANULE};
	return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray mipmap)
{
	CUresult failure = check_mipmap(mipmap);

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	charge(mipmap->context->device, mipmap->size, mipmap->physical, -1);
	end_mipmap(mipmap);
	driver_unlock();
	return CUDA_SUCCESS;
}

static void add(struct change *sum, uint64_t requested, uint64_t physical)
{
	if (!physical)
		return;
	sum->requested += (int64_t)requested;
	sum->physical += (int64_t)physical;
}

struct change arrays_end_all(CUcontext context)
{
	struct change sum = {0};

	for (CUmipmappedArray next, mipmap = mipmaps; mipmap; mipmap = next) {
		next = mipmap->next;
		if (mipmap->context != context)
			continue;
		add(&sum, mipmap->size, mipmap->physical);
		end_mipmap(mipmap);
	}
	for (CUarray next, array = arrays; array; array = next) {
		next = array->next;
		if (array->context != context)
			continue;
		add(&sum, array->size, array->physical);
		end_array(array);
	}
	return sum;
}
