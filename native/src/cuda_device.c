#include "cuda_device.h"

#include <string.h>

#include "charge.h"
#include "driver.h"
#include "grant.h"
#include "guest.h"
#include "wrappers.h"

#define MOST_DRIVER_DEVICES 64u		/* 32 is the driver's own bound today; those beyond are not seen */

struct driver_device {
	CUdevice handle;
	uint8_t uuid[16];
};

/* The newer form tells a MIG instance's own UUID, the older its parent's. */
static CUresult read_uuid(CUdevice handle, uint8_t uuid[16])
{
	CUuuid read;
	CUresult result = CUDA_ERROR_NOT_FOUND;

	if (vgpu_cuda.cuDeviceGetUuid_v2)
		result = vgpu_cuda.cuDeviceGetUuid_v2(&read, handle);
	else if (vgpu_cuda.cuDeviceGetUuid)
		result = vgpu_cuda.cuDeviceGetUuid(&read, handle);
	if (result == CUDA_SUCCESS)
		memcpy(uuid, read.bytes, sizeof(read.bytes));
	return result;
}

/* A device that does not tell its UUID is skipped: it cannot be shown to be granted, and its siblings can. */
static CUresult list_driver_devices(struct driver_device devices[MOST_DRIVER_DEVICES], unsigned *count)
{
	int total = 0;
	CUresult result = CUDA_ERROR_NOT_FOUND;

	*count = 0;
	if (vgpu_cuda.cuDeviceGetCount && vgpu_cuda.cuDeviceGet)
		result = vgpu_cuda.cuDeviceGetCount(&total);
	for (int i = 0; result == CUDA_SUCCESS && i < total && *count < MOST_DRIVER_DEVICES; i++) {
		struct driver_device *device = &devices[*count];

		if (vgpu_cuda.cuDeviceGet(&device->handle, i) == CUDA_SUCCESS &&
		    read_uuid(device->handle, device->uuid) == CUDA_SUCCESS)
			++*count;
	}
	return result;
}

static enum vgpu_grant_state bind_grant(const struct driver_device *devices, unsigned count)
{
	uint8_t uuids[MOST_DRIVER_DEVICES][16];

	for (unsigned i = 0; i < count; i++)
		memcpy(uuids[i], devices[i].uuid, sizeof(uuids[i]));
	return vgpu_grant_bind((const uint8_t (*)[16])uuids, count);
}

/* In the grant's order; a granted device that the driver does not show is left out. */
static void keep_granted(struct vgpu_process *process, const struct driver_device *devices, unsigned count)
{
	const struct vgpu_limits *limits = vgpu_grant_limits();
	uint32_t kept = 0;

	for (uint32_t index = 0; index < limits->device_count; index++)
		for (unsigned i = 0; i < count; i++)
			if (memcmp(devices[i].uuid, limits->devices[index].uuid_bytes, sizeof(devices[i].uuid)) == 0) {
				process->cuda_device[kept] = devices[i].handle;
				process->cuda_index[kept++] = (uint8_t)index;
				break;
			}
	atomic_store_explicit(&process->cuda_count, kept, memory_order_relaxed);
}

CUresult vgpu_cuda_devices(void)
{
	struct vgpu_process *process = vgpu_process();
	struct driver_device devices[MOST_DRIVER_DEVICES];
	enum vgpu_grant_state state;
	struct vgpu_guest guest;
	CUresult result;
	unsigned count;

	if (atomic_load_explicit(&process->cuda_ready, memory_order_acquire))
		return CUDA_SUCCESS;
	state = vgpu_grant_load();
	if (state == VGPU_GRANT_CLOSED)
		return CUDA_ERROR_NO_DEVICE;
	result = list_driver_devices(devices, &count);
	if (result != CUDA_SUCCESS)
		return result;
	if (state == VGPU_GRANT_UNBOUND && bind_grant(devices, count) != VGPU_GRANT_OPEN)
		return CUDA_ERROR_NO_DEVICE;
	guest = vgpu_guest_enter();
	pthread_mutex_lock(&process->lock);
	if (!atomic_load_explicit(&process->cuda_ready, memory_order_relaxed))
		keep_granted(process, devices, count);
	atomic_store_explicit(&process->cuda_ready, 1, memory_order_release);
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return CUDA_SUCCESS;
}

/* The program's ordinal of a driver's handle, or -1. */
static int ordinal_of(const struct vgpu_process *process, CUdevice device)
{
	uint32_t count = atomic_load_explicit(&process->cuda_count, memory_order_relaxed);

	for (uint32_t i = 0; i < count; i++)
		if (process->cuda_device[i] == device)
			return (int)i;
	return -1;
}

int vgpu_cuda_index(CUdevice device)
{
	struct vgpu_process *process = vgpu_process();
	int ordinal = ordinal_of(process, device);

	return ordinal < 0 ? -1 : process->cuda_index[ordinal];
}

CUdevice vgpu_cuda_handle(unsigned index)
{
	struct vgpu_process *process = vgpu_process();
	uint32_t count = atomic_load_explicit(&process->cuda_count, memory_order_relaxed);

	for (uint32_t i = 0; i < count; i++)
		if (process->cuda_index[i] == index)
			return process->cuda_device[i];
	return -1;
}

CUresult vgpu_cuda_location(const CUmemLocation *location, int *index)
{
	CUresult result = vgpu_cuda_devices();
	unsigned current = 0;

	if (result != CUDA_SUCCESS)
		return result;
	switch (location->type) {
	case CU_MEM_LOCATION_TYPE_HOST:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA:
	case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
		*index = -1;
		return CUDA_SUCCESS;
	case CU_MEM_LOCATION_TYPE_DEVICE:
		*index = vgpu_cuda_index(location->id);
		return *index < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
	case CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN:
		*index = vgpu_cuda_index(location->localized.deviceId);
		return *index < 0 ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
	default:
		result = vgpu_cuda_current(&current);
		*index = (int)current;
		return result;
	}
}

CUresult vgpu_cuda_current_of_several(unsigned *index)
{
	CUdevice device;
	CUresult result = vgpu_cuda_devices();
	int found;

	if (result == CUDA_SUCCESS)
		result = vgpu_cuda.cuCtxGetDevice ? vgpu_cuda.cuCtxGetDevice(&device) : CUDA_ERROR_NOT_FOUND;
	if (result != CUDA_SUCCESS)
		return result;
	found = vgpu_cuda_index(device);
	if (found < 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*index = (unsigned)found;
	return CUDA_SUCCESS;
}

/* Closed: the driver is not even started, so that every other call of it answers CUDA_ERROR_NOT_INITIALIZED. */
CUresult vgpu_cuInit(unsigned int flags)
{
	CUresult result;

	if (vgpu_grant_load() == VGPU_GRANT_CLOSED)
		return CUDA_ERROR_NO_DEVICE;
	result = vgpu_cuda.cuInit(flags);
	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_devices();
	if (result == CUDA_SUCCESS && !atomic_load_explicit(&vgpu_process()->cuda_count, memory_order_relaxed))
		return CUDA_ERROR_NO_DEVICE;
	return result;
}

CUresult vgpu_cuDeviceGetCount(int *count)
{
	CUresult result = vgpu_cuda.cuDeviceGetCount(count);

	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_devices();
	if (result == CUDA_SUCCESS)
		*count = (int)atomic_load_explicit(&vgpu_process()->cuda_count, memory_order_relaxed);
	return result;
}

CUresult vgpu_cuDeviceGet(CUdevice *device, int ordinal)
{
	struct vgpu_process *process = vgpu_process();
	CUresult result = vgpu_cuda_devices();

	if (result != CUDA_SUCCESS)
		return result;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (ordinal < 0 || (uint32_t)ordinal >= atomic_load_explicit(&process->cuda_count, memory_order_relaxed))
		return CUDA_ERROR_INVALID_DEVICE;
	*device = process->cuda_device[ordinal];
	return CUDA_SUCCESS;
}

CUresult vgpu_cuDeviceGetByPCIBusId(CUdevice *device, const char *bus_id)
{
	CUresult result = vgpu_cuda.cuDeviceGetByPCIBusId(device, bus_id);

	if (result == CUDA_SUCCESS)
		result = vgpu_cuda_devices();
	return result == CUDA_SUCCESS && vgpu_cuda_index(*device) < 0 ? CUDA_ERROR_INVALID_DEVICE : result;
}
