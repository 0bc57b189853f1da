/*
 * libcuda: copies and fills. Device memory has bytes once they are written; until then it reads as zero. Bytes move when the call is made, whatever
 * still goes on in the stream: kernels compute nothing, so nobody can tell.
 */
#include "cuda_memory.h"

#include <string.h>

#include "cuda_array.h"
#include "cuda_capture.h"
#include "cuda_virtual.h"
#include "cuda_work.h"

enum { MEMORY_HOST = 1, MEMORY_DEVICE = 2, MEMORY_ARRAY = 3, MEMORY_UNIFIED = 4 };

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Locked. One piece that lies together on both sides; its length in *DONE. Nothing is written where zeros go to memory that has none yet. */
static CUresult copy_piece(CUdeviceptr to, CUdeviceptr from, uint64_t bytes, uint64_t *done)
{
	uint64_t there, here;
	char *target, *source;

	if (!memory_place(from, false, &source, &here) || !memory_place(to, false, &target, &there))
		return CUDA_ERROR_INVALID_VALUE;
	*done = least(bytes, least(here, there));
	if (!source && !target)
		return CUDA_SUCCESS;
	if (!memory_place(to, true, &target, &there))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (source)
		memmove(target, source, *done);
	else
		memset(target, 0, *done);
	return CUDA_SUCCESS;
}

/* Whether BYTES from ADDRESS are memory, and can be written. A block ends with it; mappings may go on in another one. */
static bool reaches(CUdeviceptr address, uint64_t bytes, bool write)
{
	while (bytes) {
		uint64_t length;
		char *place;

		if (!memory_place(address, false, &place, &length) || (write && !virtual_is_writable(address)))
			return false;
		length = least(length, bytes);
		address += length;
		bytes -= length;
	}
	return true;
}

static CUresult copy_row(CUdeviceptr to, CUdeviceptr from, uint64_t bytes)
{
	CUresult failure = CUDA_SUCCESS;
	uint64_t done;

	driver_lock();
	if (!reaches(from, bytes, false) || !reaches(to, bytes, true))
		failure = CUDA_ERROR_INVALID_VALUE;
	while (bytes && !failure) {
		failure = copy_piece(to, from, bytes, &done);
		to += done;
		from += done;
		bytes -= done;
	}
	driver_unlock();
	return failure;
}

static CUdeviceptr host(const void *address)
{
	return (CUdeviceptr)(uintptr_t)address;
}

/* One side of a copy: rows at a distance of `pitch`, slices of `height` rows. */
struct side {
	CUdeviceptr start;
	uint64_t pitch, height;
};

static bool side_of(int type, const void *at_host, CUdeviceptr at_device, CUarray array, uint64_t pitch, uint64_t height, struct side *side)
{
	if (type == MEMORY_ARRAY) {
		struct array_bytes bytes;

		if (!array_bytes(array, &bytes))
			return false;
		*side = (struct side){host(bytes.start), bytes.pitch, bytes.height};
		return true;
	}
	*side = (struct side){type == MEMORY_HOST ? host(at_host) : at_device, pitch, height};
	return type >= MEMORY_HOST && type <= MEMORY_UNIFIED && side->start;
}

static CUdeviceptr row_of(const struct side *side, uint64_t x, uint64_t y, uint64_t z)
{
	return side->start + (z * side->height + y) * side->pitch + x;
}

CUresult copy_run(const CUDA_MEMCPY3D *c)
{
	struct side to, from;
	CUresult failure = CUDA_SUCCESS;

	if (!side_of((int)c->srcMemoryType, c->srcHost, c->srcDevice, c->srcArray, c->srcPitch, c->srcHeight, &from)
	    || !side_of((int)c->dstMemoryType, c->dstHost, c->dstDevice, c->dstArray, c->dstPitch, c->dstHeight, &to))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t z = 0; z < c->Depth && !failure; z++)
		for (size_t y = 0; y < c->Height && !failure; y++)
			failure = copy_row(row_of(&to, c->dstXInBytes, c->dstY + y, c->dstZ + z),
			                   row_of(&from, c->srcXInBytes, c->srcY + y, c->srcZ + z), c->WidthInBytes);
	return failure;
}

/* Synchronous copies wait for what goes before them in the default stream. */
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, enum stream_kind kind)
{
	CUresult failure = stream_wait_default(kind);

	if (failure || !bytes)
		return failure;
	return to && from ? copy_row(to, from, bytes) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult copy_async(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, enum stream_kind kind)
{
	CUcontext context;
	CUresult failure = stream_context(stream, kind, &context);
	struct work work;

	if (failure || !bytes)
		return failure;
	if (!to || !from)
		return CUDA_ERROR_INVALID_VALUE;
	if (!captures_running())
		return copy_row(to, from, bytes);
	work = work_copy(to, from, bytes);
	return work_submit(stream, kind, &work);
}

#define COPY_OF(name, kind, to_type, from_type, to_address, from_address) \
	CUresult name(to_type to, from_type from, size_t bytes) \
	{ \
		return copy(to_address, from_address, bytes, kind); \
	}
#define COPY(name, to_type, from_type, to_address, from_address) \
	COPY_OF(name, LEGACY_STREAM, to_type, from_type, to_address, from_address) \
	COPY_OF(name##_ptds, THREAD_STREAM, to_type, from_type, to_address, from_address)
#define COPY_ASYNC_OF(name, kind, to_type, from_type, to_address, from_address) \
	CUresult name(to_type to, from_type from, size_t bytes, CUstream stream) \
	{ \
		return copy_async(to_address, from_address, bytes, stream, kind); \
	}
#define COPY_ASYNC(name, to_type, from_type, to_address, from_address) \
	COPY_ASYNC_OF(name, LEGACY_STREAM, to_type, from_type, to_address, from_address) \
	COPY_ASYNC_OF(name##_ptsz, THREAD_STREAM, to_type, from_type, to_address, from_address)
COPY(cuMemcpy, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyAsync, CUdeviceptr, CUdeviceptr, to, from)
COPY(cuMemcpyHtoD_v2, CUdeviceptr, const void *, to, host(from))
COPY_ASYNC(cuMemcpyHtoDAsync_v2, CUdeviceptr, const void *, to, host(from))
COPY(cuMemcpyDtoH_v2, void *, CUdeviceptr, host(to), from)
COPY_ASYNC(cuMemcpyDtoHAsync_v2, void *, CUdeviceptr, host(to), from)
COPY(cuMemcpyDtoD_v2, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyDtoDAsync_v2, CUdeviceptr, CUdeviceptr, to, from)
#undef COPY
#undef COPY_OF
#undef COPY_ASYNC
#undef COPY_ASYNC_OF

/* Between devices: addresses say where they are. */
#define PEER(name, kind) \
	CUresult name(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes) \
	{ \
		(void)to_context; \
		(void)from_context; \
		return copy(to, from, bytes, kind); \
	}
#define PEER_ASYNC(name, kind) \
	CUresult name(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes, CUstream stream) \
	{ \
		(void)to_context; \
		(void)from_context; \
		return copy_async(to, from, bytes, stream, kind); \
	}
PEER(cuMemcpyPeer, LEGACY_STREAM)
PEER(cuMemcpyPeer_ptds, THREAD_STREAM)
PEER_ASYNC(cuMemcpyPeerAsync, LEGACY_STREAM)
PEER_ASYNC(cuMemcpyPeerAsync_ptsz, THREAD_STREAM)
#undef PEER
#undef PEER_ASYNC

/* To and from arrays: offsets count bytes, row by row. */
static CUresult array_place(CUarray array, size_t offset, size_t bytes, CUdeviceptr *place)
{
	struct array_bytes found;

	if (!array_bytes(array, &found) || offset > found.size || bytes > found.size - offset)
		return CUDA_ERROR_INVALID_VALUE;
	*place = host(found.start) + offset;
	return CUDA_SUCCESS;
}

static CUresult to_array(CUarray array, size_t offset, CUdeviceptr from, size_t bytes, CUstream stream, int kind, bool async)
{
	CUdeviceptr to;
	CUresult failure = driver_ready() ? driver_ready() : array_place(array, offset, bytes, &to);

	if (failure)
		return failure;
	return async ? copy_async(to, from, bytes, stream, (enum stream_kind)kind) : copy(to, from, bytes, (enum stream_kind)kind);
}

static CUresult from_array(CUdeviceptr to, CUarray array, size_t offset, size_t bytes, CUstream stream, int kind, bool async)
{
	CUdeviceptr from;
	CUresult failure = driver_ready() ? driver_ready() : array_place(array, offset, bytes, &from);

	if (failure)
		return failure;
	return async ? copy_async(to, from, bytes, stream, (enum stream_kind)kind) : copy(to, from, bytes, (enum stream_kind)kind);
}

#define BOTH_SYNC(name, parameters, call) \
	CUresult name parameters { const int kind = LEGACY_STREAM; return call; } \
	CUresult name##_ptds parameters { const int kind = THREAD_STREAM; return call; }
#define BOTH_ASYNC(name, parameters, call) \
	CUresult name parameters { const int kind = LEGACY_STREAM; return call; } \
	CUresult name##_ptsz parameters { const int kind = THREAD_STREAM; return call; }
BOTH_SYNC(cuMemcpyHtoA_v2, (CUarray to, size_t offset, const void *from, size_t bytes), to_array(to, offset, host(from), bytes, NULL, kind, false))
BOTH_SYNC(cuMemcpyDtoA_v2, (CUarray to, size_t offset, CUdeviceptr from, size_t bytes), to_array(to, offset, from, bytes, NULL, kind, false))
BOTH_SYNC(cuMemcpyAtoH_v2, (void *to, CUarray from, size_t offset, size_t bytes), from_array(host(to), from, offset, bytes, NULL, kind, false))
BOTH_SYNC(cuMemcpyAtoD_v2, (CUdeviceptr to, CUarray from, size_t offset, size_t bytes), from_array(to, from, offset, bytes, NULL, kind, false))
BOTH_ASYNC(cuMemcpyHtoAAsync_v2, (CUarray to, size_t offset, const void *from, size_t bytes, CUstream stream),
           to_array(to, offset, host(from), bytes, stream, kind, true))
BOTH_ASYNC(cuMemcpyAtoHAsync_v2, (void *to, CUarray from, size_t offset, size_t bytes, CUstream stream),
           from_array(host(to), from, offset, bytes, stream, kind, true))

static CUresult array_to_array(CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t bytes, int kind)
{
	CUdeviceptr place;
	CUresult failure = driver_ready() ? driver_ready() : array_place(to, to_offset, bytes, &place);

	return failure ? failure : from_array(place, from, from_offset, bytes, NULL, kind, false);
}

BOTH_SYNC(cuMemcpyAtoA_v2, (CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t bytes),
          array_to_array(to, to_offset, from, from_offset, bytes, kind))

static CUDA_MEMCPY3D flat(const CUDA_MEMCPY2D *c)
{
	return (CUDA_MEMCPY3D){.srcXInBytes = c->srcXInBytes,
	                       .srcY = c->srcY,
	                       .srcMemoryType = c->srcMemoryType,
	                       .srcHost = c->srcHost,
	                       .srcDevice = c->srcDevice,
	                       .srcArray = c->srcArray,
	                       .srcPitch = c->srcPitch ? c->srcPitch : c->WidthInBytes,
	                       .dstXInBytes = c->dstXInBytes,
	                       .dstY = c->dstY,
	                       .dstMemoryType = c->dstMemoryType,
	                       .dstHost = c->dstHost,
	                       .dstDevice = c->dstDevice,
	                       .dstArray = c->dstArray,
	                       .dstPitch = c->dstPitch ? c->dstPitch : c->WidthInBytes,
	                       .WidthInBytes = c->WidthInBytes,
	                       .Height = c->Height,
	                       .Depth = 1};
}

/* What is left 0 is as wide, and as high, as what is copied. */
static CUDA_MEMCPY3D full(CUDA_MEMCPY3D c)
{
	c.srcPitch = c.srcPitch ? c.srcPitch : c.WidthInBytes;
	c.dstPitch = c.dstPitch ? c.dstPitch : c.WidthInBytes;
	c.srcHeight = c.srcHeight ? c.srcHeight : c.Height;
	c.dstHeight = c.dstHeight ? c.dstHeight : c.Height;
	return c;
}

static CUresult copy_shape(const CUDA_MEMCPY3D *c, int kind)
{
	CUresult failure = stream_wait_default((enum stream_kind)kind);

	return failure ? failure : copy_run(c);
}

static CUresult copy_shape_async(const CUDA_MEMCPY3D *c, CUstream stream, int kind)
{
	struct work work = {.type = WORK_COPY, .copy = *c};

	return work_submit(stream, (enum stream_kind)kind, &work);
}

static CUresult copy_2d(const CUDA_MEMCPY2D *c, int kind)
{
	CUDA_MEMCPY3D whole;

	if (!c)
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
	whole = flat(c);
	return copy_shape(&whole, kind);
}

static CUresult copy_2d_async(const CUDA_MEMCPY2D *c, CUstream stream, int kind)
{
	CUDA_MEMCPY3D whole;

	if (!c)
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
	whole = flat(c);
	return copy_shape_async(&whole, stream, kind);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *c, int kind)
{
	CUDA_MEMCPY3D whole;

	if (!c)
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
	whole = full(*c);
	return copy_shape(&whole, kind);
}

static CUresult copy_3d_async(const CUDA_MEMCPY3D *c, CUstream stream, int kind)
{
	CUDA_MEMCPY3D whole;

	if (!c)
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
	whole = full(*c);
	return copy_shape_async(&whole, stream, kind);
}

_Static_assert(sizeof(CUDA_MEMCPY3D_PEER) == sizeof(CUDA_MEMCPY3D), "the contexts lie where the other has reserved words");

BOTH_SYNC(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *c), copy_2d(c, kind))
BOTH_SYNC(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *c), copy_2d(c, kind))
BOTH_ASYNC(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *c, CUstream stream), copy_2d_async(c, stream, kind))
BOTH_SYNC(cuMemcpy3D_v2, (const CUDA_MEMCPY3D *c), copy_3d(c, kind))
BOTH_ASYNC(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *c, CUstream stream), copy_3d_async(c, stream, kind))
BOTH_SYNC(cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *c), copy_3d((const CUDA_MEMCPY3D *)c, kind))
BOTH_ASYNC(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *c, CUstream stream), copy_3d_async((const CUDA_MEMCPY3D *)c, stream, kind))

static void repeat(char *at, unsigned int value, size_t width, size_t bytes)
{
	if (width == 1 || !value) {
		memset(at, (int)(value & 0xff), bytes);
		return;
	}
	for (size_t done = 0; done < bytes; done += width)
		memcpy(at + done, &value, width);       /* little-endian: the low bytes are the value */
}

/* Locked. Zeros need no bytes where there are none. */
static CUresult fill_row(CUdeviceptr at, unsigned int value, size_t width, uint64_t bytes)
{
	if (!reaches(at, bytes, true))
		return CUDA_ERROR_INVALID_VALUE;
	while (bytes) {
		uint64_t length;
		char *target;

		memory_place(at, false, &target, &length);
		length = least(length, bytes);
		if (target || value) {
			if (!memory_place(at, true, &target, &(uint64_t){0}))
				return CUDA_ERROR_OUT_OF_MEMORY;
			repeat(target, value, width, length);
		}
		at += length;
		bytes -= length;
	}
	return CUDA_SUCCESS;
}

static unsigned int cut(unsigned int value, size_t width)
{
	return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

CUresult fill_run(const CUDA_MEMSET_NODE_PARAMS_v2 *fill)
{
	size_t width = fill->elementSize;
	CUresult failure = CUDA_SUCCESS;

	if (fill->dst % width || fill->width > BLOCK_LARGEST || (fill->height > 1 && fill->pitch % width))
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	for (size_t row = 0; row < fill->height && !failure; row++)
		failure = fill_row(fill->dst + row * fill->pitch, cut(fill->value, width), width, fill->width * width);
	driver_unlock();
	return failure;
}

static CUresult fill_now(const CUDA_MEMSET_NODE_PARAMS_v2 *fill, int kind)
{
	CUresult failure = stream_wait_default((enum stream_kind)kind);

	if (failure || !fill->width || !fill->height)
		return failure;
	return fill_run(fill);
}

static CUresult fill_async(const CUDA_MEMSET_NODE_PARAMS_v2 *fill, CUstream stream, int kind)
{
	struct work work = {.type = WORK_FILL, .fill = *fill};
	CUcontext context;

	if (!fill->width || !fill->height)
		return stream_context(stream, (enum stream_kind)kind, &context);
	return work_submit(stream, (enum stream_kind)kind, &work);
}

#define LINE(value_, width_, count_) \
	&(CUDA_MEMSET_NODE_PARAMS_v2){.dst = at, .value = value_, .elementSize = width_, .width = count_, .height = 1}
#define AREA(value_, width_, columns, rows, pitch_) \
	&(CUDA_MEMSET_NODE_PARAMS_v2){.dst = at, .pitch = pitch_, .value = value_, .elementSize = width_, .width = columns, .height = rows}
#define FILL(bits, type) \
	BOTH_SYNC(cuMemsetD##bits##_v2, (CUdeviceptr at, type value, size_t count), fill_now(LINE(value, sizeof value, count), kind)) \
	BOTH_ASYNC(cuMemsetD##bits##Async, (CUdeviceptr at, type value, size_t count, CUstream stream), \
	           fill_async(LINE(value, sizeof value, count), stream, kind)) \
	BOTH_SYNC(cuMemsetD2D##bits##_v2, (CUdeviceptr at, size_t pitch, type value, size_t width, size_t height), \
	          fill_now(AREA(value, sizeof value, width, height, pitch), kind)) \
	BOTH_ASYNC(cuMemsetD2D##bits##Async, (CUdeviceptr at, size_t pitch, type value, size_t width, size_t height, CUstream stream), \
	           fill_async(AREA(value, sizeof value, width, height, pitch), stream, kind))
FILL(8, unsigned char)
FILL(16, unsigned short)
FILL(32, unsigned int)
