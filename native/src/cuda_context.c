/*
 * Contexts: what one costs is charged while it exists, as much as the limits file says, and what was allocated in it is dropped
 * with it. A context takes the driver 0.2 s and more to make: no lock is held meanwhile.
 */
#include "charge.h"
#include "cuda_device.h"
#include "driver.h"
#include "grant.h"
#include "log.h"
#include "wrappers.h"

/* Index in the grant, or a code: no context is made on a device that is not granted. */
static CUresult index_of(CUdevice device, unsigned *index)
{
	CUresult result = vgpu_cuda_devices();
	int found = result == CUDA_SUCCESS ? vgpu_cuda_index(device) : 0;

	*index = (unsigned)found;
	return result == CUDA_SUCCESS && found < 0 ? CUDA_ERROR_INVALID_DEVICE : result;
}

static CUresult charge_context(unsigned index)
{
	uint64_t bytes = vgpu_grant_limits()->devices[index].context;
	CUresult result = bytes ? vgpu_charge(index, bytes) : CUDA_SUCCESS;

	if (result == CUDA_SUCCESS)
		vgpu_note_context(index, (int64_t)bytes);
	else if (vgpu_log_is_news("context"))
		VGPU_LOG(VGPU_ERROR, "a context on device %u needs %llu bytes, more than this grant has left", index,
		         (unsigned long long)bytes);
	return result;
}

static void discharge_context(unsigned index)
{
	uint64_t bytes = vgpu_grant_limits()->devices[index].context;

	vgpu_note_context(index, -(int64_t)bytes);
	if (bytes)
		vgpu_discharge(index, bytes);
}

/*
 * Drop an entry whose memory the driver no longer knows. Asked afterwards and by pointer: the driver's word is the truth about
 * what went with a context, and costs the allocations nothing. Any other answer leaves the charge, which is safe.
 */
static void drop_if_gone(uint64_t key, struct vgpu_pointer value, void *data)
{
	const unsigned *index = data;
	unsigned int type;

	if (value.kind != VGPU_POINTER_MEMORY || value.device != *index)
		return;
	if (vgpu_cuda.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, key) == CUDA_ERROR_INVALID_VALUE &&
	    vgpu_forget(key, &value))
		vgpu_discharge(value.device, value.bytes);
}

static void drop_gone(unsigned index)
{
	if (vgpu_cuda.cuPointerGetAttribute)
		vgpu_pointers_visit(&vgpu_charged_pointers, drop_if_gone, &index);
}

/* Without the question in the driver it counts as active: charged too long rather than too short. */
static bool primary_is_active(CUdevice device)
{
	unsigned int flags;
	int active = 1;

	return !vgpu_cuda.cuDevicePrimaryCtxGetState ||
	       vgpu_cuda.cuDevicePrimaryCtxGetState(device, &flags, &active) != CUDA_SUCCESS || active;
}

/*
 * After the primary context may have become inactive: give its charge back, and what was in it. The mark is taken before the
 * question: a thread that retains in between finds it gone and charges anew, so of the two charges one is given back here.
 */
static void settle_primary(unsigned index, CUdevice device)
{
	_Atomic uint32_t *mark = &vgpu_process()->primary_charged[index];
	uint32_t charged = 1, none = 0;
	bool marked = atomic_compare_exchange_strong(mark, &charged, 0), active = primary_is_active(device);

	if (marked && !(active && atomic_compare_exchange_strong(mark, &none, 1)))
		discharge_context(index);
	if (!active)
		drop_gone(index);
}

CUresult vgpu_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
	unsigned index;
	uint32_t none = 0;
	CUresult result = index_of(device, &index);
	_Atomic uint32_t *mark;

	if (result != CUDA_SUCCESS)
		return result;
	mark = &vgpu_process()->primary_charged[index];
	if (atomic_compare_exchange_strong(mark, &none, 1)) {
		result = charge_context(index);
		if (result != CUDA_SUCCESS) {
			atomic_store(mark, 0);
			return result;
		}
	}
	result = vgpu_cuda.cuDevicePrimaryCtxRetain(context, device);
	if (result != CUDA_SUCCESS)
		settle_primary(index, device);
	return result;
}

/* Whatever of the primary's reference was dropped has been dropped; a driver's error has changed nothing. */
static CUresult after_primary(CUresult result, CUdevice device)
{
	unsigned index;

	if (result == CUDA_SUCCESS && index_of(device, &index) == CUDA_SUCCESS)
		settle_primary(index, device);
	return result;
}

CUresult vgpu_cuDevicePrimaryCtxRelease(CUdevice device)
{
	return after_primary(vgpu_cuda.cuDevicePrimaryCtxRelease(device), device);
}

CUresult vgpu_cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	return after_primary(vgpu_cuda.cuDevicePrimaryCtxRelease_v2(device), device);
}

CUresult vgpu_cuDevicePrimaryCtxReset(CUdevice device)
{
	return after_primary(vgpu_cuda.cuDevicePrimaryCtxReset(device), device);
}

CUresult vgpu_cuDevicePrimaryCtxReset_v2(CUdevice device)
{
	return after_primary(vgpu_cuda.cuDevicePrimaryCtxReset_v2(device), device);
}

static CUresult begin(CUdevice device, unsigned *index)
{
	CUresult result = index_of(device, index);

	return result == CUDA_SUCCESS ? charge_context(*index) : result;
}

/* A context's handle is a host address, so it shares the table with device pointers. Recorded at no charge too: for its device. */
static CUresult record_context(CUresult result, uint64_t key, unsigned index)
{
	uint64_t bytes = vgpu_grant_limits()->devices[index].context;

	if (result != CUDA_SUCCESS) {
		discharge_context(index);
		return result;
	}
	if (vgpu_record(key, (struct vgpu_pointer){ bytes, index, VGPU_POINTER_CONTEXT }))
		return CUDA_SUCCESS;
	return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult finish(CUresult result, const CUcontext *context, unsigned index)
{
	CUresult recorded = record_context(result, result == CUDA_SUCCESS ? (uintptr_t)*context : 0, index);

	if (recorded != result) {
		if (vgpu_cuda.cuCtxDestroy_v2)
			vgpu_cuda.cuCtxDestroy_v2(*context);
		discharge_context(index);
	}
	return recorded;
}

CUresult vgpu_cuCtxCreate(CUcontext *context, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuCtxCreate(context, flags, device), context, index) : result;
}

CUresult vgpu_cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuCtxCreate_v2(context, flags, device), context, index) : result;
}

CUresult vgpu_cuCtxCreate_v3(CUcontext *context, CUexecAffinityParam *affinity, int count, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	return finish(vgpu_cuda.cuCtxCreate_v3(context, affinity, count, flags, device), context, index);
}

CUresult vgpu_cuCtxCreate_v4(CUcontext *context, CUctxCreateParams *params, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	return finish(vgpu_cuda.cuCtxCreate_v4(context, params, flags, device), context, index);
}

CUresult vgpu_cuGLCtxCreate(CUcontext *context, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuGLCtxCreate(context, flags, device), context, index) : result;
}

CUresult vgpu_cuGLCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device)
{
	unsigned index;
	CUresult result = begin(device, &index);

	return result == CUDA_SUCCESS ? finish(vgpu_cuda.cuGLCtxCreate_v2(context, flags, device), context, index) : result;
}

CUresult vgpu_cuVDPAUCtxCreate(CUcontext *context, unsigned int flags, CUdevice device, uint32_t vdpau, void *address_of)
{
	unsigned index;
	CUresult result = begin(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	return finish(vgpu_cuda.cuVDPAUCtxCreate(context, flags, device, vdpau, address_of), context, index);
}

CUresult vgpu_cuVDPAUCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device, uint32_t vdpau, void *address_of)
{
	unsigned index;
	CUresult result = begin(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	return finish(vgpu_cuda.cuVDPAUCtxCreate_v2(context, flags, device, vdpau, address_of), context, index);
}

/* Charged as a context of its own: it also keeps the primary one alive, which nobody else may have paid for. */
CUresult vgpu_cuGreenCtxCreate(CUgreenCtx *context, CUdevResourceDesc resources, CUdevice device, unsigned int flags)
{
	unsigned index;
	CUresult recorded, result = begin(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuGreenCtxCreate(context, resources, device, flags);
	recorded = record_context(result, result == CUDA_SUCCESS ? (uintptr_t)*context : 0, index);
	if (recorded != result) {
		if (vgpu_cuda.cuGreenCtxDestroy)
			vgpu_cuda.cuGreenCtxDestroy(*context);
		discharge_context(index);
	}
	return recorded;
}

/* KNOWN: we saw it made, so its device is known; otherwise its allocations may be on any. */
static CUresult after_destroy(CUresult result, uint64_t context, bool known, struct vgpu_pointer charged)
{
	uint32_t count = vgpu_grant_limits()->device_count;

	if (result != CUDA_SUCCESS) {
		if (known)
			(void)vgpu_record(context, charged);
		return result;
	}
	if (known)
		discharge_context(charged.device);
	for (unsigned index = known ? charged.device : 0; index < (known ? charged.device + 1 : count); index++)
		drop_gone(index);
	return result;
}

CUresult vgpu_cuCtxDestroy(CUcontext context)
{
	struct vgpu_pointer charged = { 0 };
	bool known = vgpu_forget((uintptr_t)context, &charged);

	return after_destroy(vgpu_cuda.cuCtxDestroy(context), (uintptr_t)context, known, charged);
}

CUresult vgpu_cuCtxDestroy_v2(CUcontext context)
{
	struct vgpu_pointer charged = { 0 };
	bool known = vgpu_forget((uintptr_t)context, &charged);

	return after_destroy(vgpu_cuda.cuCtxDestroy_v2(context), (uintptr_t)context, known, charged);
}

CUresult vgpu_cuGreenCtxDestroy(CUgreenCtx context)
{
	struct vgpu_pointer charged = { 0 };
	bool known = vgpu_forget((uintptr_t)context, &charged);

	return after_destroy(vgpu_cuda.cuGreenCtxDestroy(context), (uintptr_t)context, known, charged);
}
