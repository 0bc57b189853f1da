/*
 * Memory pools, and stream-ordered allocation from them. The pools' reserves are charged, by the rule in cuda_reserve.h; here
 * is which pool a call means, which of its allocations can make it grow, and which pools are not the program's to have.
 */
#include "cuda_pool.h"

#include <pthread.h>

#include "charge.h"
#include "cuda_capture.h"
#include "cuda_device.h"
#include "cuda_ipc.h"
#include "cuda_reserve.h"
#include "driver.h"
#include "wrappers.h"

#define GRANULE 512u			/* of what a pool allocates */
#define READ_EVERY 64u			/* allocations that cannot have made it grow, before that is checked */
#define FIRST_HANDLE 3u			/* of a stream; below are NULL and the two that follow */
#define LEGACY ((CUstream)1)		/* CU_STREAM_LEGACY */
#define PER_THREAD ((CUstream)2)	/* CU_STREAM_PER_THREAD */

enum call { ALLOCATE, ALLOCATE_PTSZ, FROM_POOL, FROM_POOL_PTSZ };

struct request {
	CUdeviceptr *pointer;
	size_t bytes;
	CUmemoryPool pool;		/* NULL: the current one of the stream's device */
	CUstream stream;
};

static inline bool is_per_thread(enum call call)
{
	return call == ALLOCATE_PTSZ || call == FROM_POOL_PTSZ;
}

static inline CUresult ask_driver(enum call call, const struct request *request)
{
	switch (call) {
	case ALLOCATE:
		return vgpu_cuda.cuMemAllocAsync(request->pointer, request->bytes, request->stream);
	case ALLOCATE_PTSZ:
		return vgpu_cuda.cuMemAllocAsync_ptsz(request->pointer, request->bytes, request->stream);
	case FROM_POOL:
		return vgpu_cuda.cuMemAllocFromPoolAsync(request->pointer, request->bytes, request->pool, request->stream);
	default:
		return vgpu_cuda.cuMemAllocFromPoolAsync_ptsz(request->pointer, request->bytes, request->pool, request->stream);
	}
}

/* For drivers before 12.8, which do not say it directly. */
static CUresult device_of_context(CUstream stream, CUdevice *device)
{
	CUcontext context, popped;
	CUresult result;

	if (!vgpu_cuda.cuStreamGetCtx || !vgpu_cuda.cuCtxPushCurrent_v2 || !vgpu_cuda.cuCtxPopCurrent_v2)
		return CUDA_ERROR_NOT_FOUND;
	result = vgpu_cuda.cuStreamGetCtx(stream, &context);
	if (result == CUDA_SUCCESS)
		result = vgpu_cuda.cuCtxPushCurrent_v2(context);
	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuCtxGetDevice(device);
	vgpu_cuda.cuCtxPopCurrent_v2(&popped);
	return result;
}

static CUresult device_of_stream(CUstream stream, unsigned *index)
{
	CUresult result = vgpu_cuda_devices();
	CUdevice device;
	int found;

	if (result != CUDA_SUCCESS)
		return result;
	if ((uintptr_t)stream < FIRST_HANDLE ||
	    atomic_load_explicit(&vgpu_process()->device_count, memory_order_relaxed) == 1)
		return vgpu_cuda_current(index);
	result = vgpu_cuda.cuStreamGetDevice ? vgpu_cuda.cuStreamGetDevice(stream, &device) : device_of_context(stream, &device);
	if (result != CUDA_SUCCESS)
		return result;
	found = vgpu_cuda_index(device);
	*index = (unsigned)found;
	return found < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

/* With the lock: a pool as it was found to be. */
static struct vgpu_reserve *learn(CUmemoryPool pool, enum vgpu_reserve_state state, unsigned device)
{
	struct vgpu_reserve *known = vgpu_reserve_of_pool(pool);

	return known ? known : vgpu_reserve_add(state, device, pool);
}

/* With the lock. A pool that nobody has told us of is some device's default one; else of the current device, and charged. */
static struct vgpu_reserve *reserve_of(CUmemoryPool pool)
{
	struct vgpu_reserve *known = vgpu_reserve_of_pool(pool);
	uint32_t count = atomic_load_explicit(&vgpu_process()->device_count, memory_order_relaxed);
	unsigned index = 0;

	if (known)
		return known;
	(void)vgpu_cuda_current(&index);
	for (unsigned i = 0; i < count; i++) {
		CUmemoryPool preset;

		if (vgpu_cuda.cuDeviceGetDefaultMemPool &&
		    vgpu_cuda.cuDeviceGetDefaultMemPool(&preset, vgpu_cuda_handle(i)) == CUDA_SUCCESS && preset == pool)
			index = i;
	}
	return vgpu_reserve_add(VGPU_RESERVE_POOL, index, pool);
}

/* With the lock: the pool that cuMemAllocAsync means on a device. */
static struct vgpu_reserve *current_reserve(unsigned index)
{
	void **current = &vgpu_process()->current_pool[index];
	CUmemoryPool pool;

	if (!*current && vgpu_cuda.cuDeviceGetMemPool &&
	    vgpu_cuda.cuDeviceGetMemPool(&pool, vgpu_cuda_handle(index)) == CUDA_SUCCESS)
		*current = pool;
	return *current ? learn(*current, VGPU_RESERVE_POOL, index) : NULL;
}

static void forget_current(void)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		vgpu_process()->current_pool[i] = NULL;
}

/* UINT64_MAX, which no hole holds, where that overflows. */
static uint64_t in_granules(uint64_t bytes)
{
	return bytes > UINT64_MAX - GRANULE ? UINT64_MAX : (bytes + GRANULE - 1) / GRANULE * GRANULE;
}

/* A stream's name in a hole: NULL means another stream in either flavour, and a thread's own is no other thread's. */
static uint64_t name_of(CUstream stream, bool per_thread)
{
	if (!stream)
		stream = per_thread ? PER_THREAD : LEGACY;
	return stream == PER_THREAD ? (uint64_t)pthread_self() | 1 : (uint64_t)(uintptr_t)stream;
}

/* Whether the driver has a place for BYTES that it can use in STREAM without a question. */
static bool has_hole(const struct vgpu_reserve *reserve, uint64_t stream, uint64_t bytes)
{
	for (unsigned i = 0; i < reserve->hole_count; i++)
		if (reserve->holes[i].stream == stream && reserve->holes[i].bytes >= bytes)
			return true;
	return false;
}

static void add_hole(struct vgpu_reserve *reserve, uint64_t begin, uint64_t bytes, uint64_t stream)
{
	unsigned place = reserve->hole_count < VGPU_HOLES ? reserve->hole_count++ : reserve->next_hole++ % VGPU_HOLES;

	reserve->holes[place] = (struct vgpu_hole){ begin, bytes, stream };
}

/* BYTES at BEGIN are in use now. Of a hole they lie in, what follows them stays one. */
static void use_hole(struct vgpu_reserve *reserve, uint64_t begin, uint64_t bytes)
{
	for (unsigned i = 0; i < reserve->hole_count; i++) {
		struct vgpu_hole *hole = &reserve->holes[i];

		if (begin + bytes <= hole->begin || hole->begin + hole->bytes <= begin)
			continue;
		if (begin == hole->begin && bytes < hole->bytes) {
			hole->begin += bytes;
			hole->bytes -= bytes;
		} else {
			*hole = reserve->holes[--reserve->hole_count];
			i--;
		}
	}
}

/* With the lock. What could not be charged, or recorded, must not stay. */
static CUresult undo(struct vgpu_reserve *reserve, CUdeviceptr pointer)
{
	if (vgpu_cuda.cuMemFree_v2)
		vgpu_cuda.cuMemFree_v2(pointer);
	vgpu_reserve_trim(reserve);
	vgpu_refused(reserve->device, 0);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult commit(struct vgpu_reserve *reserve, const struct request *request)
{
	uint64_t packed = vgpu_reserve_pack(reserve, request->bytes), bytes = in_granules(request->bytes);

	if (!vgpu_record(*request->pointer, (struct vgpu_pointer){ packed, reserve->device, VGPU_POINTER_POOLED }))
		return undo(reserve, *request->pointer);
	atomic_fetch_add_explicit(&reserve->live, bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&reserve->allocations, 1, memory_order_relaxed);
	use_hole(reserve, *request->pointer, bytes);
	return CUDA_SUCCESS;
}

/* Whether BYTES at BEGIN lie in what some stream has freed, which is reserved and charged. */
static bool is_in_hole(const struct vgpu_reserve *reserve, uint64_t begin, uint64_t bytes)
{
	for (unsigned i = 0; i < reserve->hole_count; i++)
		if (begin >= reserve->holes[i].begin && begin + bytes <= reserve->holes[i].begin + reserve->holes[i].bytes)
			return true;
	return false;
}

/*
 * With the lock. The reserve need not grow. Where the driver takes another place all the same, as the stream of that name is no
 * longer the one that freed it, that is seen by the address, and looked at.
 */
static inline CUresult allocate_in_hole(enum call call, const struct request *request, struct vgpu_reserve *reserve)
{
	CUresult result = ask_driver(call, request);

	if (result == CUDA_SUCCESS && !is_in_hole(reserve, *request->pointer, in_granules(request->bytes)) &&
	    !vgpu_reserve_after(reserve, 0))
		return undo(reserve, *request->pointer);
	if (result == CUDA_SUCCESS)
		result = commit(reserve, request);
	if (++reserve->unread >= READ_EVERY)
		vgpu_reserve_settle(reserve);
	return result;
}

/* With the lock. The reserve may have to grow. */
static CUresult allocate_growing(enum call call, const struct request *request, struct vgpu_reserve *reserve)
{
	uint64_t hand;
	CUresult result = vgpu_reserve_before(reserve, request->bytes, &hand);

	if (result != CUDA_SUCCESS)
		return result;
	result = ask_driver(call, request);
	if (!vgpu_reserve_after(reserve, hand) && result == CUDA_SUCCESS)
		return undo(reserve, *request->pointer);
	return result == CUDA_SUCCESS ? commit(reserve, request) : result;
}

/* With the lock. */
static inline CUresult allocate_from(enum call call, const struct request *request, struct vgpu_reserve *reserve)
{
	if (!reserve)
		return CUDA_ERROR_OUT_OF_MEMORY;	/* more pools than we can count */
	if (reserve->state == VGPU_RESERVE_UNCHARGED)
		return ask_driver(call, request);
	if (reserve->epoch != atomic_load_explicit(&vgpu_process()->reserves_epoch, memory_order_acquire))
		vgpu_reserve_settle(reserve);
	if (has_hole(reserve, name_of(request->stream, is_per_thread(call)), in_granules(request->bytes)))
		return allocate_in_hole(call, request, reserve);
	return allocate_growing(call, request, reserve);
}

static inline CUresult allocate(enum call call, const struct request *request)
{
	unsigned index = 0;
	CUresult result = request->pool ? vgpu_cuda_devices() : device_of_stream(request->stream, &index);

	if (result != CUDA_SUCCESS)
		return result;
	if (vgpu_captures(is_per_thread(call) ? vgpu_cuda.cuStreamIsCapturing_ptsz : vgpu_cuda.cuStreamIsCapturing, request->stream))
		return ask_driver(call, request);	/* a node of a graph, whose launches are charged */
	vgpu_reserves_enter();
	result = allocate_from(call, request, request->pool ? reserve_of(request->pool) : current_reserve(index));
	vgpu_reserves_leave();
	return result;
}

CUresult vgpu_cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream stream)
{
	return allocate(ALLOCATE, &(struct request){ pointer, bytes, NULL, stream });
}

CUresult vgpu_cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, CUstream stream)
{
	return allocate(ALLOCATE_PTSZ, &(struct request){ pointer, bytes, NULL, stream });
}

/* Without a pool the driver's answer to that is the program's. */
CUresult vgpu_cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? allocate(FROM_POOL, &(struct request){ pointer, bytes, pool, stream })
	            : vgpu_cuda.cuMemAllocFromPoolAsync(pointer, bytes, pool, stream);
}

CUresult vgpu_cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool, CUstream stream)
{
	return pool ? allocate(FROM_POOL_PTSZ, &(struct request){ pointer, bytes, pool, stream })
	            : vgpu_cuda.cuMemAllocFromPoolAsync_ptsz(pointer, bytes, pool, stream);
}

/*
 * The hole is only worth having: where another thread is at the reserves, the free does not wait for it. And it is none where
 * something was allocated since ALLOCATIONS, before the driver freed it: that may lie in it.
 */
static void note_hole(uint64_t packed, CUdeviceptr pointer, uint64_t stream, uint32_t allocations)
{
	uint64_t bytes;
	struct vgpu_reserve *reserve = vgpu_reserve_unpack(packed, &bytes);

	if (!vgpu_reserves_try())
		return;
	if (reserve->state == VGPU_RESERVE_POOL && atomic_load_explicit(&reserve->allocations, memory_order_relaxed) == allocations)
		add_hole(reserve, pointer, bytes, stream);
	vgpu_reserves_leave();
}

/* The driver has answered the free of a pool's allocation (KNOWN, and its record), or of memory that has no record. */
static CUresult freed(CUresult result, CUdeviceptr pointer, bool known, struct vgpu_pointer record)
{
	if (result != CUDA_SUCCESS && known)
		(void)vgpu_record(pointer, record);
	else if (result == CUDA_SUCCESS && known)
		vgpu_reserve_forget(record.bytes);
	else if (result == CUDA_SUCCESS)
		vgpu_reserves_note_free();
	return result;
}

CUresult vgpu_pool_freed(CUresult result, CUdeviceptr pointer, bool known, struct vgpu_pointer record)
{
	return vgpu_reserves_synchronised(freed(result, pointer, known, record));
}

static CUresult free_of_pool(CUresult (*driver)(CUdeviceptr, CUstream), CUdeviceptr pointer, CUstream stream, bool per_thread,
                             struct vgpu_pointer record)
{
	uint64_t bytes;
	struct vgpu_reserve *reserve = vgpu_reserve_unpack(record.bytes, &bytes);
	uint32_t allocations = atomic_load_explicit(&reserve->allocations, memory_order_acquire);
	CUresult result = freed(driver(pointer, stream), pointer, true, record);

	if (result == CUDA_SUCCESS)
		note_hole(record.bytes, pointer, name_of(stream, per_thread), allocations);
	return result;
}

/* Captured, a free is made a node: what it will free stays recorded. */
static inline CUresult free_in_order(CUresult (*driver)(CUdeviceptr, CUstream),
                                     CUresult (*is_capturing)(CUstream, CUstreamCaptureStatus *), CUdeviceptr pointer,
                                     CUstream stream, bool per_thread)
{
	struct vgpu_pointer record = { 0 };
	CUresult result;
	bool known;

	if (vgpu_captures(is_capturing, stream))
		return driver(pointer, stream);
	known = vgpu_forget(pointer, &record);
	if (known && record.kind == VGPU_POINTER_POOLED)
		return free_of_pool(driver, pointer, stream, per_thread, record);
	result = driver(pointer, stream);
	if (!known)
		return freed(result, pointer, false, record);
	if (result != CUDA_SUCCESS)
		(void)vgpu_record(pointer, record);
	else if (vgpu_ipc_has_exports())
		vgpu_ipc_discharge(pointer, record);
	else
		vgpu_discharge(record.device, record.bytes);
	return result;
}

CUresult vgpu_cuMemFreeAsync(CUdeviceptr pointer, CUstream stream)
{
	return free_in_order(vgpu_cuda.cuMemFreeAsync, vgpu_cuda.cuStreamIsCapturing, pointer, stream, false);
}

CUresult vgpu_cuMemFreeAsync_ptsz(CUdeviceptr pointer, CUstream stream)
{
	return free_in_order(vgpu_cuda.cuMemFreeAsync_ptsz, vgpu_cuda.cuStreamIsCapturing_ptsz, pointer, stream, true);
}

/* A pool of managed memory is a device's, wherever it prefers its pages: they may all come. */
static CUresult place_of(const CUmemLocation *location, CUmemAllocationType type, enum vgpu_reserve_state *state,
                         unsigned *device)
{
	int index = 0;
	CUresult result = vgpu_cuda_location(location, &index);

	*device = 0;
	*state = result == CUDA_SUCCESS && index < 0 && type != CU_MEM_ALLOCATION_TYPE_MANAGED ? VGPU_RESERVE_UNCHARGED
	                                                                                        : VGPU_RESERVE_POOL;
	if (result == CUDA_SUCCESS && index >= 0)
		*device = (unsigned)index;
	else if (result == CUDA_SUCCESS && *state == VGPU_RESERVE_POOL)
		result = vgpu_cuda_current(device);
	return result;
}

/* The driver has given the program a pool: know it from now on. False: there is no room for it. */
static bool know(CUmemoryPool pool, enum vgpu_reserve_state state, unsigned device)
{
	bool known;

	vgpu_reserves_enter();
	known = learn(pool, state, device) != NULL;
	vgpu_reserves_leave();
	return known;
}

CUresult vgpu_cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *properties)
{
	enum vgpu_reserve_state state = VGPU_RESERVE_POOL;
	unsigned device = 0;
	CUresult result = vgpu_cuda_devices();

	if (result == CUDA_SUCCESS && properties)
		result = place_of(&properties->location, properties->allocType, &state, &device);
	if (result == CUDA_SUCCESS)
		result = vgpu_cuda.cuMemPoolCreate(pool, properties);
	if (result != CUDA_SUCCESS || know(*pool, state, device))
		return result;
	if (vgpu_cuda.cuMemPoolDestroy)
		vgpu_cuda.cuMemPoolDestroy(*pool);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult vgpu_cuMemPoolImportFromShareableHandle(CUmemoryPool *pool, void *handle, CUmemAllocationHandleType type,
                                                 unsigned long long flags)
{
	CUresult result = vgpu_cuda.cuMemPoolImportFromShareableHandle(pool, handle, type, flags);

	if (result == CUDA_SUCCESS)
		(void)know(*pool, VGPU_RESERVE_UNCHARGED, 0);
	return result;
}

/* With the lock. Its reserve cannot be asked for any more; with allocations left it stays, until they are freed. */
static void note_destroyed(struct vgpu_reserve *reserve)
{
	if (reserve->state == VGPU_RESERVE_UNCHARGED || !reserve->charged) {
		vgpu_reserve_drop(reserve);
		return;
	}
	reserve->state = VGPU_RESERVE_DESTROYED;
	reserve->pool = NULL;
	reserve->hole_count = 0;
	vgpu_reserves_note_free();
}

CUresult vgpu_cuMemPoolDestroy(CUmemoryPool pool)
{
	struct vgpu_reserve *reserve;
	CUresult result;

	vgpu_reserves_enter();
	reserve = vgpu_reserve_of_pool(pool);
	if (reserve)
		vgpu_reserve_trim(reserve);
	result = vgpu_cuda.cuMemPoolDestroy(pool);
	if (result == CUDA_SUCCESS && reserve)
		note_destroyed(reserve);
	if (result == CUDA_SUCCESS)
		forget_current();
	vgpu_reserves_leave();
	return result;
}

/* After a call that lets a pool give memory back. */
static CUresult settle(CUresult result, CUmemoryPool pool)
{
	struct vgpu_reserve *reserve;

	vgpu_reserves_enter();
	reserve = vgpu_reserve_of_pool(pool);
	if (reserve)
		vgpu_reserve_settle(reserve);
	vgpu_reserves_leave();
	return result;
}

CUresult vgpu_cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
	return settle(vgpu_cuda.cuMemPoolTrimTo(pool, keep), pool);
}

CUresult vgpu_cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
	return settle(vgpu_cuda.cuMemPoolSetAttribute(pool, attribute, value), pool);
}

/* CUDA_ERROR_INVALID_DEVICE where the device is not granted. */
static CUresult check(CUdevice device, unsigned *index)
{
	CUmemLocation location = { CU_MEM_LOCATION_TYPE_DEVICE, { device } };
	int found = 0;
	CUresult result = vgpu_cuda_location(&location, &found);

	*index = (unsigned)found;
	return result;
}

static CUresult keep(CUresult result, const CUmemoryPool *pool, enum vgpu_reserve_state state, unsigned device)
{
	if (result == CUDA_SUCCESS && !know(*pool, state, device))
		return CUDA_ERROR_OUT_OF_MEMORY;
	return result;
}

CUresult vgpu_cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
	unsigned index;
	CUresult result = check(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	return keep(vgpu_cuda.cuDeviceGetDefaultMemPool(pool, device), pool, VGPU_RESERVE_POOL, index);
}

CUresult vgpu_cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
	unsigned index;
	CUresult result = check(device, &index);

	return result == CUDA_SUCCESS ? keep(vgpu_cuda.cuDeviceGetMemPool(pool, device), pool, VGPU_RESERVE_POOL, index) : result;
}

CUresult vgpu_cuMemGetDefaultMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	enum vgpu_reserve_state state = VGPU_RESERVE_POOL;
	unsigned device = 0;
	CUresult result = location ? place_of(location, type, &state, &device) : CUDA_SUCCESS;

	return result == CUDA_SUCCESS ? keep(vgpu_cuda.cuMemGetDefaultMemPool(pool, location, type), pool, state, device) : result;
}

CUresult vgpu_cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
	enum vgpu_reserve_state state = VGPU_RESERVE_POOL;
	unsigned device = 0;
	CUresult result = location ? place_of(location, type, &state, &device) : CUDA_SUCCESS;

	return result == CUDA_SUCCESS ? keep(vgpu_cuda.cuMemGetMemPool(pool, location, type), pool, state, device) : result;
}

/* Under the lock, so that no allocation is between the driver's old answer and its new one. */
CUresult vgpu_cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
	unsigned index;
	CUresult result = check(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	vgpu_reserves_enter();
	result = vgpu_cuda.cuDeviceSetMemPool(device, pool);
	forget_current();
	vgpu_reserves_leave();
	return result;
}

CUresult vgpu_cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool pool)
{
	enum vgpu_reserve_state state;
	unsigned device;
	CUresult result = location ? place_of(location, type, &state, &device) : CUDA_SUCCESS;

	if (result != CUDA_SUCCESS)
		return result;
	vgpu_reserves_enter();
	result = vgpu_cuda.cuMemSetMemPool(location, type, pool);
	forget_current();
	vgpu_reserves_leave();
	return result;
}

CUresult vgpu_cuStreamSynchronize(CUstream stream)
{
	return vgpu_reserves_synchronised(vgpu_cuda.cuStreamSynchronize(stream));
}

CUresult vgpu_cuStreamSynchronize_ptsz(CUstream stream)
{
	return vgpu_reserves_synchronised(vgpu_cuda.cuStreamSynchronize_ptsz(stream));
}

CUresult vgpu_cuEventSynchronize(CUevent event)
{
	return vgpu_reserves_synchronised(vgpu_cuda.cuEventSynchronize(event));
}

CUresult vgpu_cuCtxSynchronize(void)
{
	return vgpu_reserves_synchronised(vgpu_cuda.cuCtxSynchronize());
}

CUresult vgpu_cuCtxSynchronize_v2(CUcontext context)
{
	return vgpu_reserves_synchronised(vgpu_cuda.cuCtxSynchronize_v2(context));
}
