/*
 * Linear allocations: reserve, ask the driver, record or roll back; and frees, of whatever the driver frees by pointer, in the
 * opposite order. What is allocated in the order of a stream is cuda_pool.c's.
 */
#include "charge.h"
#include "cuda_device.h"
#include "cuda_ipc.h"
#include "cuda_pool.h"
#include "driver.h"
#include "wrappers.h"

#define PITCH_GRANULE 512u	/* the driver's pitch is a multiple of this or less; corrected by what it answers */

/* Reserve on the thread's device, before the driver is asked. */
static inline CUresult begin(unsigned *index, uint64_t bytes)
{
	CUresult result = vgpu_cuda_current(index);

	return result == CUDA_SUCCESS ? vgpu_charge(*index, bytes) : result;
}

/* The driver has refused: its code is the program's. */
static CUresult roll_back(CUresult result, unsigned index, uint64_t bytes)
{
	vgpu_discharge(index, bytes);
	return result;
}

/* What cannot be charged for must not stay. */
static CUresult undo(uint64_t pointer, unsigned index, uint64_t bytes)
{
	if (vgpu_cuda.cuMemFree_v2)
		vgpu_cuda.cuMemFree_v2(pointer);
	return roll_back(CUDA_ERROR_OUT_OF_MEMORY, index, bytes);
}

/* The driver has allocated: remember it, or undo it. A record is never lost: it would be memory outside the limit. */
static inline CUresult commit(uint64_t pointer, unsigned index, uint64_t bytes)
{
	if (__builtin_expect(vgpu_record(pointer, (struct vgpu_pointer){ bytes, index, VGPU_POINTER_MEMORY }), 1))
		return CUDA_SUCCESS;
	return undo(pointer, index, bytes);
}

CUresult vgpu_cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
	unsigned index;
	CUresult result = begin(&index, bytes);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemAlloc_v2(pointer, bytes);
	return result == CUDA_SUCCESS ? commit(*pointer, index, bytes) : roll_back(result, index, bytes);
}

CUresult vgpu_cuMemAlloc(CUdeviceptr_v1 *pointer, unsigned int bytes)
{
	unsigned index;
	CUresult result = begin(&index, bytes);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemAlloc(pointer, bytes);
	return result == CUDA_SUCCESS ? commit(*pointer, index, bytes) : roll_back(result, index, bytes);
}

/* In full, wherever its pages are: they may all come to the device at any time. */
CUresult vgpu_cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned int flags)
{
	unsigned index;
	CUresult result = begin(&index, bytes);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemAllocManaged(pointer, bytes, flags);
	return result == CUDA_SUCCESS ? commit(*pointer, index, bytes) : roll_back(result, index, bytes);
}

/* Rows of WIDTH bytes at the coarsest pitch; UINT64_MAX, which never fits, where that overflows. */
static uint64_t pitched(uint64_t width, uint64_t height)
{
	uint64_t row, bytes;

	if (__builtin_add_overflow(width, PITCH_GRANULE - 1, &row) ||
	    __builtin_mul_overflow(row / PITCH_GRANULE * PITCH_GRANULE, height, &bytes))
		return UINT64_MAX;
	return bytes;
}

/* RESERVED bytes were charged before, now BYTES are known to be held: more is charged or undone, less is given back. */
static CUresult commit_pitch(uint64_t pointer, unsigned index, uint64_t reserved, uint64_t bytes)
{
	if (bytes > reserved && vgpu_charge(index, bytes - reserved) != CUDA_SUCCESS)
		return undo(pointer, index, reserved);
	if (bytes < reserved)
		vgpu_discharge(index, reserved - bytes);
	return commit(pointer, index, bytes);
}

CUresult vgpu_cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height, unsigned int element)
{
	unsigned index;
	uint64_t reserved = pitched(width, height);
	CUresult result = begin(&index, reserved);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemAllocPitch_v2(pointer, pitch, width, height, element);
	return result == CUDA_SUCCESS ? commit_pitch(*pointer, index, reserved, *pitch * height)
	                              : roll_back(result, index, reserved);
}

CUresult vgpu_cuMemAllocPitch(CUdeviceptr_v1 *pointer, unsigned int *pitch, unsigned int width, unsigned int height,
                              unsigned int element)
{
	unsigned index;
	uint64_t reserved = pitched(width, height);
	CUresult result = begin(&index, reserved);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuMemAllocPitch(pointer, pitch, width, height, element);
	return result == CUDA_SUCCESS ? commit_pitch(*pointer, index, reserved, (uint64_t)*pitch * height)
	                              : roll_back(result, index, reserved);
}

/*
 * After the driver has answered a free. The record was taken out before: another thread may have been given the same address
 * since. The bytes are given back last: earlier, a neighbour could allocate what is still held. On an error the record goes
 * back; should that fail, the bytes stay charged, which is too much and never too little.
 */
static inline CUresult settle(CUresult result, uint64_t pointer, bool known, struct vgpu_pointer charged)
{
	if (__builtin_expect(!known || charged.kind == VGPU_POINTER_POOLED, 0))
		return vgpu_pool_freed(result, pointer, known, charged);
	if (result != CUDA_SUCCESS)
		(void)vgpu_record(pointer, charged);
	else if (__builtin_expect(vgpu_ipc_has_exports(), 0))
		vgpu_ipc_discharge(pointer, charged);
	else
		vgpu_discharge(charged.device, charged.bytes);
	return result;
}

CUresult vgpu_cuMemFree_v2(CUdeviceptr pointer)
{
	struct vgpu_pointer charged = { 0 };
	bool known = vgpu_forget(pointer, &charged);

	return settle(vgpu_cuda.cuMemFree_v2(pointer), pointer, known, charged);
}

CUresult vgpu_cuMemFree(CUdeviceptr_v1 pointer)
{
	struct vgpu_pointer charged = { 0 };
	bool known = vgpu_forget(pointer, &charged);

	return settle(vgpu_cuda.cuMemFree(pointer), pointer, known, charged);
}
