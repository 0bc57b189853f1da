/*
 * Contexts: what one costs is charged while it exists, as much as the limits file says, and what was allocated in it is given
 * back with it. A context takes the driver 0.2 s and more to make: no lock is held meanwhile.
 */
#include "charge.h"
#include "cuda_device.h"
#include "cuda_ipc.h"
#include "cuda_reserve.h"
#include "driver.h"
#include "grant.h"
#include "guest.h"
#include "lock.h"
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
 * What goes with a context that is about to end: taken out of the table before the driver ends it, as its addresses may be given
 * out again at once. The driver is asked, pointer by pointer, which context one belongs to: a question at the end, instead of a
 * record at every allocation. An array cannot be asked about; its context was recorded beside it.
 */
struct contents {
	uint64_t context;
	struct vgpu_pointers taken;
};

static void take_if_of(uint64_t key, struct vgpu_pointer value, void *data)
{
	struct contents *contents = data;
	struct vgpu_pointer unused;
	CUcontext owner = NULL;

	if (value.kind == VGPU_POINTER_OWNER && value.bytes == contents->context) {
		(void)vgpu_forget(key, &value);
		key--;
		if (!vgpu_forget(key, &value))
			return;
	} else if (value.kind != VGPU_POINTER_MEMORY ||
	           vgpu_cuda.cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, key) != CUDA_SUCCESS ||
	           (uintptr_t)owner != contents->context || !vgpu_forget(key, &value)) {
		return;
	}
	if (!vgpu_pointers_add(&contents->taken, key, value, &unused))
		(void)vgpu_record(key, value);		/* no memory: charged too long rather than too short */
}

/* With the context current, should the driver want one to answer. */
static void take_contents(uint64_t context, struct contents *contents)
{
	CUcontext popped;
	bool pushed;

	*contents = (struct contents){ .context = context };
	if (!context || !vgpu_cuda.cuPointerGetAttribute)
		return;
	pushed = vgpu_cuda.cuCtxPushCurrent_v2 && vgpu_cuda.cuCtxPopCurrent_v2 &&
	         vgpu_cuda.cuCtxPushCurrent_v2((CUcontext)(uintptr_t)context) == CUDA_SUCCESS;
	vgpu_pointers_visit(&vgpu_charged_pointers, take_if_of, contents);
	if (pushed)
		vgpu_cuda.cuCtxPopCurrent_v2(&popped);
}

static void discharge_one(uint64_t key, struct vgpu_pointer value, void *data)
{
	(void)data;
	if (vgpu_ipc_has_exports())
		vgpu_ipc_discharge(key, value);
	else
		vgpu_discharge(value.device, value.bytes);
}

static void put_back_one(uint64_t key, struct vgpu_pointer value, void *data)
{
	(void)data;
	(void)vgpu_record(key, value);
}

/* ENDED: the contents have gone with their context. Otherwise it lives, and they are still charged. */
static void settle_contents(struct contents *contents, bool ended)
{
	vgpu_pointers_visit(&contents->taken, ended ? discharge_one : put_back_one, NULL);
	vgpu_pointers_clear(&contents->taken);
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
 * After the primary context may have become inactive: give its charge back. The mark is taken before the
 * question: a thread that retains in between finds it gone and charges anew, so of the two charges one is given back here.
 */
static bool settle_primary(unsigned index, CUdevice device)
{
	_Atomic uint32_t *mark = &vgpu_process()->primary_charged[index];
	uint32_t charged = 1, none = 0;
	bool marked = atomic_compare_exchange_strong(mark, &charged, 0), active = primary_is_active(device);

	if (marked && !(active && atomic_compare_exchange_strong(mark, &none, 1)))
		discharge_context(index);
	return active;
}

/* With the lock. Whoever settles meanwhile may have put the mark back: then it stands for a charge that exists already. */
static CUresult charge_primary_once(unsigned index)
{
	_Atomic uint32_t *mark = &vgpu_process()->primary_charged[index];
	uint32_t none = 0;
	CUresult result;

	if (atomic_load(mark))
		return CUDA_SUCCESS;
	result = charge_context(index);
	if (result == CUDA_SUCCESS && !atomic_compare_exchange_strong(mark, &none, 1))
		discharge_context(index);
	return result;
}

/* A thread that finds another one charging waits for its answer: it must not make the context that is being refused. */
static CUresult charge_primary(unsigned index)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest;
	CUresult result;

	if (atomic_load(&process->primary_charged[index]))
		return CUDA_SUCCESS;
	guest = vgpu_guest_enter();
	vgpu_lock(&process->primary_lock);
	result = charge_primary_once(index);
	vgpu_unlock(&process->primary_lock);
	vgpu_guest_leave(guest);
	return result;
}

CUresult vgpu_cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
	unsigned index;
	CUresult result = index_of(device, &index);

	if (result == CUDA_SUCCESS)
		result = charge_primary(index);
	if (result != CUDA_SUCCESS)
		return result;
	result = vgpu_cuda.cuDevicePrimaryCtxRetain(context, device);
	if (result != CUDA_SUCCESS) {
		settle_primary(index, device);
		return result;
	}
	atomic_fetch_add(&vgpu_process()->primary_references[index], 1);
	atomic_store(&vgpu_process()->primary[index], *context);
	return result;
}

/* The last reference of ours, as far as we know, may be the last of all. */
static CUresult release_primary(CUresult (*driver)(CUdevice), CUdevice device)
{
	struct vgpu_process *process = vgpu_process();
	struct contents contents = { 0 };
	unsigned index;
	bool active;
	CUresult result = index_of(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	if (atomic_load(&process->primary_references[index]) <= 1)
		take_contents((uintptr_t)atomic_load(&process->primary[index]), &contents);
	result = driver(device);
	if (result == CUDA_SUCCESS && atomic_load(&process->primary_references[index]))
		atomic_fetch_sub(&process->primary_references[index], 1);
	active = result != CUDA_SUCCESS || settle_primary(index, device);
	settle_contents(&contents, !active);
	if (!active)
		vgpu_reserves_reset(index);
	return result;
}

/* A reset ends all that is in the primary context, whoever has retained it. */
static CUresult reset_primary(CUresult (*driver)(CUdevice), CUdevice device)
{
	struct vgpu_process *process = vgpu_process();
	struct contents contents;
	unsigned index;
	CUresult result = index_of(device, &index);

	if (result != CUDA_SUCCESS)
		return result;
	take_contents((uintptr_t)atomic_load(&process->primary[index]), &contents);
	result = driver(device);
	settle_contents(&contents, result == CUDA_SUCCESS);
	if (result != CUDA_SUCCESS)
		return result;
	if (!settle_primary(index, device))
		atomic_store(&process->primary_references[index], 0);
	vgpu_reserves_reset(index);
	return result;
}

CUresult vgpu_cuDevicePrimaryCtxRelease(CUdevice device)
{
	return release_primary(vgpu_cuda.cuDevicePrimaryCtxRelease, device);
}

CUresult vgpu_cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	return release_primary(vgpu_cuda.cuDevicePrimaryCtxRelease_v2, device);
}

CUresult vgpu_cuDevicePrimaryCtxReset(CUdevice device)
{
	return reset_primary(vgpu_cuda.cuDevicePrimaryCtxReset, device);
}

CUresult vgpu_cuDevicePrimaryCtxReset_v2(CUdevice device)
{
	return reset_primary(vgpu_cuda.cuDevicePrimaryCtxReset_v2, device);
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

/* HANDLE: as recorded at its making; CONTEXT: the same, for what was allocated in it (0: cannot be told). */
struct ending {
	uint64_t handle;
	bool known;
	struct vgpu_pointer record;
	struct contents contents;
};

static void begin_end(uint64_t handle, uint64_t context, struct ending *ending)
{
	*ending = (struct ending){ .handle = handle };
	ending->known = vgpu_forget(handle, &ending->record);
	take_contents(context, &ending->contents);
}

static CUresult finish_end(CUresult result, struct ending *ending)
{
	settle_contents(&ending->contents, result == CUDA_SUCCESS);
	if (ending->known && result == CUDA_SUCCESS)
		discharge_context(ending->record.device);
	else if (ending->known)
		(void)vgpu_record(ending->handle, ending->record);
	return result;
}

CUresult vgpu_cuCtxDestroy(CUcontext context)
{
	struct ending ending;

	begin_end((uintptr_t)context, (uintptr_t)context, &ending);
	return finish_end(vgpu_cuda.cuCtxDestroy(context), &ending);
}

CUresult vgpu_cuCtxDestroy_v2(CUcontext context)
{
	struct ending ending;

	begin_end((uintptr_t)context, (uintptr_t)context, &ending);
	return finish_end(vgpu_cuda.cuCtxDestroy_v2(context), &ending);
}

/* What was allocated with it current is a context's like any other, by the name that the driver has for that. */
CUresult vgpu_cuGreenCtxDestroy(CUgreenCtx green)
{
	struct ending ending;
	CUcontext context = NULL;

	if (!vgpu_cuda.cuCtxFromGreenCtx || vgpu_cuda.cuCtxFromGreenCtx(&context, green) != CUDA_SUCCESS)
		context = NULL;
	begin_end((uintptr_t)green, (uintptr_t)context, &ending);
	return finish_end(vgpu_cuda.cuGreenCtxDestroy(green), &ending);
}
