/*
 * libcuda: copies and fills. Device memory has bytes once they are written; until then it reads as zero. Everything is done when the call
 * returns, whatever the stream.
 */
#include "cuda_memory.h"

#include <string.h>

enum { MEMORY_HOST = 1, MEMORY_ARRAY = 3 };

static const char zeros[sizeof(int)];          /* as wide as the widest fill */

/* Where BYTES from ADDRESS lie on the host. NULL: in a block that was never written. False: beyond the end of a block. Locked. */
static bool locate(CUdeviceptr address, size_t bytes, bool write, char **place)
{
	struct block *block = block_around(address);
	uint64_t offset;

	if (!block) {
		*place = (char *)(uintptr_t)address;
		return address < 1ULL << 47;            /* host memory: the program vouches for it, as for any pointer */
	}
	offset = address - block_address(block);
	if (bytes > block->requested - offset)
		return false;
	*place = write ? block_bytes(block) : block->bytes;
	if (*place)
		*place += offset;
	return *place || !write;
}

static void copy_bytes(char *to, const char *from, size_t bytes)
{
	if (from)
		memmove(to, from, bytes);
	else
		memset(to, 0, bytes);
}

/* Locked. Copying nothing but zeros into a block without bytes leaves it so. */
static CUresult copy_locked(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
	char *source, *target;

	if (!locate(from, bytes, false, &source) || !locate(to, bytes, false, &target))
		return CUDA_ERROR_INVALID_VALUE;
	if (!source && !target)
		return CUDA_SUCCESS;
	if (!locate(to, bytes, true, &target))
		return CUDA_ERROR_OUT_OF_MEMORY;
	copy_bytes(target, source, bytes);
	return CUDA_SUCCESS;
}

static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure || !bytes)
		return failure;
	if (!to || !from)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = copy_locked(to, from, bytes);
	driver_unlock();
	return failure;
}

static CUdeviceptr host(const void *address)
{
	return (CUdeviceptr)(uintptr_t)address;
}

#define COPY(name, to_type, from_type, to_address, from_address) \
	CUresult name(to_type to, from_type from, size_t bytes) \
	{ \
		return copy(to_address, from_address, bytes); \
	}
#define COPY_ASYNC(name, to_type, from_type, to_address, from_address) \
	CUresult name(to_type to, from_type from, size_t bytes, CUstream stream) \
	{ \
		(void)stream; \
		return copy(to_address, from_address, bytes); \
	}
COPY(cuMemcpy, CUdeviceptr, CUdeviceptr, to, from)
COPY(cuMemcpy_ptds, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyAsync, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyAsync_ptsz, CUdeviceptr, CUdeviceptr, to, from)
COPY(cuMemcpyHtoD_v2, CUdeviceptr, const void *, to, host(from))
COPY(cuMemcpyHtoD_v2_ptds, CUdeviceptr, const void *, to, host(from))
COPY_ASYNC(cuMemcpyHtoDAsync_v2, CUdeviceptr, const void *, to, host(from))
COPY_ASYNC(cuMemcpyHtoDAsync_v2_ptsz, CUdeviceptr, const void *, to, host(from))
COPY(cuMemcpyDtoH_v2, void *, CUdeviceptr, host(to), from)
COPY(cuMemcpyDtoH_v2_ptds, void *, CUdeviceptr, host(to), from)
COPY_ASYNC(cuMemcpyDtoHAsync_v2, void *, CUdeviceptr, host(to), from)
COPY_ASYNC(cuMemcpyDtoHAsync_v2_ptsz, void *, CUdeviceptr, host(to), from)
COPY(cuMemcpyDtoD_v2, CUdeviceptr, CUdeviceptr, to, from)
COPY(cuMemcpyDtoD_v2_ptds, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyDtoDAsync_v2, CUdeviceptr, CUdeviceptr, to, from)
COPY_ASYNC(cuMemcpyDtoDAsync_v2_ptsz, CUdeviceptr, CUdeviceptr, to, from)
#undef COPY
#undef COPY_ASYNC

static CUdeviceptr corner(int type, const void *at_host, CUdeviceptr at_device, size_t x, size_t y, size_t pitch)
{
	return (type == MEMORY_HOST ? host(at_host) : at_device) + y * pitch + x;
}

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *c)
{
	CUresult failure = driver_ready();
	CUdeviceptr to, from;

	if (failure)
		return failure;
	if (!c)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)c->srcMemoryType == MEMORY_ARRAY || (int)c->dstMemoryType == MEMORY_ARRAY)
		return CUDA_ERROR_NOT_SUPPORTED;
	from = corner((int)c->srcMemoryType, c->srcHost, c->srcDevice, c->srcXInBytes, c->srcY, c->srcPitch);
	to = corner((int)c->dstMemoryType, c->dstHost, c->dstDevice, c->dstXInBytes, c->dstY, c->dstPitch);
	for (size_t row = 0; row < c->Height && !failure; row++)
		failure = copy(to + row * c->dstPitch, from + row * c->srcPitch, c->WidthInBytes);
	return failure;
}

CUresult cuMemcpy2D_v2_ptds(const CUDA_MEMCPY2D *c)
{
	return cuMemcpy2D_v2(c);
}

CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *c)
{
	return cuMemcpy2D_v2(c);
}

CUresult cuMemcpy2DUnaligned_v2_ptds(const CUDA_MEMCPY2D *c)
{
	return cuMemcpy2D_v2(c);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *c, CUstream stream)
{
	(void)stream;
	return cuMemcpy2D_v2(c);
}

CUresult cuMemcpy2DAsync_v2_ptsz(const CUDA_MEMCPY2D *c, CUstream stream)
{
	(void)stream;
	return cuMemcpy2D_v2(c);
}

static void repeat(char *at, const void *value, size_t width, size_t count)
{
	for (size_t i = 0; i < count; i++)
		memcpy(at + i * width, value, width);
}

/* Locked. Zeros need no bytes where there are none. */
static CUresult fill_locked(CUdeviceptr at, const void *value, size_t width, size_t count)
{
	char *target;

	if (!locate(at, width * count, false, &target))
		return CUDA_ERROR_INVALID_VALUE;
	if (!target && memcmp(value, zeros, width) == 0)
		return CUDA_SUCCESS;
	if (!locate(at, width * count, true, &target))
		return CUDA_ERROR_OUT_OF_MEMORY;
	repeat(target, value, width, count);
	return CUDA_SUCCESS;
}

static CUresult fill(CUdeviceptr at, const void *value, size_t width, size_t count)
{
	CUcontext context;
	CUresult failure = current_context(&context);

	if (failure || !count)
		return failure;
	if (at % width || count > BLOCK_LARGEST)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = fill_locked(at, value, width, count);
	driver_unlock();
	return failure;
}

#define FILL(name, type) \
	CUresult name(CUdeviceptr at, type value, size_t count) \
	{ \
		return fill(at, &value, sizeof value, count); \
	}
#define FILL_ASYNC(name, type) \
	CUresult name(CUdeviceptr at, type value, size_t count, CUstream stream) \
	{ \
		(void)stream; \
		return fill(at, &value, sizeof value, count); \
	}
FILL(cuMemsetD8_v2, unsigned char)
FILL(cuMemsetD8_v2_ptds, unsigned char)
FILL_ASYNC(cuMemsetD8Async, unsigned char)
FILL_ASYNC(cuMemsetD8Async_ptsz, unsigned char)
FILL(cuMemsetD16_v2, unsigned short)
FILL(cuMemsetD16_v2_ptds, unsigned short)
FILL_ASYNC(cuMemsetD16Async, unsigned short)
FILL_ASYNC(cuMemsetD16Async_ptsz, unsigned short)
FILL(cuMemsetD32_v2, unsigned int)
FILL(cuMemsetD32_v2_ptds, unsigned int)
FILL_ASYNC(cuMemsetD32Async, unsigned int)
FILL_ASYNC(cuMemsetD32Async_ptsz, unsigned int)
#undef FILL
#undef FILL_ASYNC
