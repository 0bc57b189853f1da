/*
 * Multicast objects: a team of devices that memory is bound to. Making one allocates no memory that a program could use, and
 * binding allocates none either; but what is bound is held until it is unbound. No device joins a team that is not granted.
 */
#include "charge.h"
#include "cuda_device.h"
#include "cuda_virtual.h"
#include "driver.h"
#include "wrappers.h"

CUresult vgpu_cuMulticastAddDevice(CUmemGenericAllocationHandle multicast, CUdevice device)
{
	CUresult result = vgpu_cuda_devices();

	if (result != CUDA_SUCCESS)
		return result;
	return vgpu_cuda_index(device) < 0 ? CUDA_ERROR_INVALID_DEVICE : vgpu_cuda.cuMulticastAddDevice(multicast, device);
}

/* Where a binding is kept among the mappings. */
static uint64_t place_of(CUmemGenericAllocationHandle multicast, uint32_t index, size_t at)
{
	uint64_t mixed = (multicast * UINT64_C(0x9e3779b97f4a7c15)) ^ (at + index * UINT64_C(0xff51afd7ed558ccd));

	return (mixed ^ mixed >> 32) * UINT64_C(0xc4ceb9fe1a85ec53) | VGPU_ELSEWHERE;
}

/* HELD is bound. Where that cannot be remembered, as two bindings meet at one place, it stays held. */
static CUresult finish(CUresult result, struct vgpu_allocation *held, CUmemGenericAllocationHandle multicast, uint32_t index,
                       size_t at, size_t size)
{
	if (!held)
		return result;
	if (result == CUDA_SUCCESS) {
		struct vgpu_allocations *table = vgpu_virtual_lock();
		uint64_t place = place_of(multicast, index, at);

		if (vgpu_allocations_mapping(table, place) || !vgpu_allocations_map(table, place, size, held))
			vgpu_allocations_unname(table, held);
		vgpu_virtual_unlock();
		return result;
	}
	vgpu_virtual_let_go(held);
	return result;
}

/* The device of a binding that names none is that of its memory. */
static uint32_t index_of_memory(const struct vgpu_allocation *held)
{
	return held ? held->device : VGPU_NO_DEVICE;
}

static uint32_t index_of(CUdevice device)
{
	int index = vgpu_cuda_index(device);

	return index < 0 ? VGPU_NO_DEVICE : (uint32_t)index;
}

CUresult vgpu_cuMulticastBindMem(CUmemGenericAllocationHandle multicast, size_t at, CUmemGenericAllocationHandle memory,
                                 size_t offset, size_t size, unsigned long long flags)
{
	struct vgpu_allocation *held = vgpu_virtual_hold(memory);
	CUresult result = vgpu_cuda.cuMulticastBindMem(multicast, at, memory, offset, size, flags);

	return finish(result, held, multicast, index_of_memory(held), at, size);
}

CUresult vgpu_cuMulticastBindMem_v2(CUmemGenericAllocationHandle multicast, CUdevice device, size_t at,
                                    CUmemGenericAllocationHandle memory, size_t offset, size_t size, unsigned long long flags)
{
	struct vgpu_allocation *held = vgpu_virtual_hold(memory);
	CUresult result = vgpu_cuda.cuMulticastBindMem_v2(multicast, device, at, memory, offset, size, flags);

	return finish(result, held, multicast, index_of(device), at, size);
}

CUresult vgpu_cuMulticastBindAddr(CUmemGenericAllocationHandle multicast, size_t at, CUdeviceptr pointer, size_t size,
                                  unsigned long long flags)
{
	struct vgpu_allocation *held = vgpu_virtual_hold_mapped(pointer);
	CUresult result = vgpu_cuda.cuMulticastBindAddr(multicast, at, pointer, size, flags);

	return finish(result, held, multicast, index_of_memory(held), at, size);
}

CUresult vgpu_cuMulticastBindAddr_v2(CUmemGenericAllocationHandle multicast, CUdevice device, size_t at, CUdeviceptr pointer,
                                     size_t size, unsigned long long flags)
{
	struct vgpu_allocation *held = vgpu_virtual_hold_mapped(pointer);
	CUresult result = vgpu_cuda.cuMulticastBindAddr_v2(multicast, device, at, pointer, size, flags);

	return finish(result, held, multicast, index_of(device), at, size);
}

CUresult vgpu_cuMulticastUnbind(CUmemGenericAllocationHandle multicast, CUdevice device, size_t at, size_t size)
{
	uint64_t place = place_of(multicast, index_of(device), at);
	struct vgpu_mapping *bound = vgpu_allocations_unmap(vgpu_virtual_lock(), place, size);

	vgpu_virtual_unlock();
	return vgpu_virtual_settle_unmapped(vgpu_cuda.cuMulticastUnbind(multicast, device, at, size), bound);
}
