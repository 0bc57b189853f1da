/* libcuda: devices and their facts. Memory pools of a device are in cuda_pool.c, its primary context in cuda_context.c. */
#include "cuda_driver.h"

#include <stdio.h>
#include <string.h>

/* CUdevice_attribute */
enum {
	STREAM_PRIORITIES = 78,
	HOST_POINTER_OF_REGISTERED = 91,
	VALUES_FIRST = 92,                      /* words written and waited for in stream order: first version, 64 bits, "nor" */
	VALUES_FIRST_64 = 93,
	VALUES_FIRST_NOR = 94,
	HOST_REGISTER = 99,
	VIRTUAL_MEMORY = 102,
	DESCRIPTORS = 103,
	POOLS = 115,
	POOL_HANDLES = 119,
	VALUES_64 = 122,
	VALUES_NOR = 123,
	IPC_EVENTS = 125,
	HOST_NUMA_VIRTUAL_MEMORY = 141,
	HOST_NUMA_POOLS = 142,
	HOST_POOLS = 144,
	HOST_VIRTUAL_MEMORY = 145,
};
enum { ATTRIBUTES = sizeof ((struct mock_chip *)0)->attributes / sizeof(int32_t) };

CUresult cuDeviceGetCount(int *count)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = (int)driver.devices;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
	CUresult failure = driver_device(ordinal);

	if (failure)
		return failure;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

/* Text into a buffer of SIZE; too long a text is cut, as the interface says. */
static CUresult give_text(char *buffer, int size, const char *text)
{
	if (!buffer || size <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(buffer, (size_t)size, "%s", text);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int size, CUdevice device)
{
	CUresult failure = driver_device(device);

	return failure ? failure : give_text(name, size, chip_of(device)->name);
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(uuid->bytes, chip_of(device)->uuid, sizeof uuid->bytes);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
	return cuDeviceGetUuid(uuid, device);
}

/* LUIDs are a matter of Windows. */
CUresult cuDeviceGetLuid(char *luid, unsigned int *node_mask, CUdevice device)
{
	CUresult failure = driver_device(device);

	(void)luid;
	(void)node_mask;
	return failure ? failure : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	*bytes = account_capacity(chip_of(device));
	return CUDA_SUCCESS;
}

/* What is the driver's doing and no chip's. Returns false for all other attributes. */
static bool own_attribute(int attribute, int *value)
{
	switch (attribute) {
	case STREAM_PRIORITIES:
	case HOST_REGISTER:
	case HOST_POINTER_OF_REGISTERED:
	case VALUES_FIRST:
	case VALUES_FIRST_64:
	case VALUES_FIRST_NOR:
	case VALUES_64:
	case VALUES_NOR:
	case VIRTUAL_MEMORY:
	case DESCRIPTORS:
	case POOLS:
	case POOL_HANDLES:                      /* a bit per type: descriptors */
	case IPC_EVENTS:
	case HOST_POOLS:
	case HOST_NUMA_POOLS:
	case HOST_NUMA_VIRTUAL_MEMORY:
	case HOST_VIRTUAL_MEMORY:
		*value = 1;
		return true;
	default:
		return false;
	}
}

/* Unknown attributes are 0 and no error: programs ask for those of newer drivers. */
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
	CUresult failure = driver_device(device);

	if (failure)
		return failure;
	if (!value || (int)attribute <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	if (!own_attribute((int)attribute, value))
		*value = (int)attribute < (int)ATTRIBUTES ? chip_of(device)->attributes[attribute] : 0;
	return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
	CUresult failure = cuDeviceGetAttribute(major, 75, device);

	return failure ? failure : cuDeviceGetAttribute(minor, 76, device);
}

CUresult cuDeviceGetProperties(CUdevprop *properties, CUdevice device)
{
	CUresult failure = driver_device(device);
	const int32_t *attributes;

	if (failure)
		return failure;
	if (!properties)
		return CUDA_ERROR_INVALID_VALUE;
	attributes = chip_of(device)->attributes;
	properties->maxThreadsPerBlock = attributes[1];
	memcpy(properties->maxThreadsDim, &attributes[2], sizeof properties->maxThreadsDim);
	memcpy(properties->maxGridSize, &attributes[5], sizeof properties->maxGridSize);
	properties->sharedMemPerBlock = attributes[8];
	properties->totalConstantMemory = attributes[9];
	properties->SIMDWidth = attributes[10];
	properties->memPitch = attributes[11];
	properties->regsPerBlock = attributes[12];
	properties->clockRate = attributes[13];
	properties->textureAlign = attributes[14];
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *id, int size, CUdevice device)
{
	CUresult failure = driver_device(device);
	char text[32];

	if (failure)
		return failure;
	snprintf(text, sizeof text, "%04X:%02X:%02X.0", chip_of(device)->pci_domain, chip_of(device)->pci_bus, chip_of(device)->pci_slot);
	return give_text(id, size, text);
}

/* "domain:bus:device.function", "domain:bus:device" or "bus:device.function", all hexadecimal. */
static bool parse_bus_id(const char *text, unsigned *domain, unsigned *bus, unsigned *slot)
{
	unsigned function = 0;

	if (sscanf(text, "%x:%x:%x.%x", domain, bus, slot, &function) >= 3)
		return function == 0;
	*domain = 0;
	return sscanf(text, "%x:%x.%x", bus, slot, &function) == 3 && function == 0;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *id)
{
	CUresult failure = driver_ready();
	unsigned domain, bus, slot;

	if (failure)
		return failure;
	if (!device || !id || !parse_bus_id(id, &domain, &bus, &slot))
		return CUDA_ERROR_INVALID_VALUE;
	for (CUdevice at = 0; is_device(at); at++) {
		const struct mock_chip *chip = chip_of(at);

		if (chip->pci_domain == domain && chip->pci_bus == bus && chip->pci_slot == slot) {
			*device = at;
			return CUDA_SUCCESS;
		}
	}
	return CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer)
{
	CUresult failure = driver_device(device);

	if (!failure)
		failure = driver_device(peer);
	if (failure)
		return failure;
	if (!can)
		return CUDA_ERROR_INVALID_VALUE;
	*can = device != peer;
	return CUDA_SUCCESS;
}

/* 1 performance rank, 2 access, 3 native atomics, 4 CUDA arrays. Atomics work over NVLink only. */
CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice source, CUdevice destination)
{
	CUresult failure = driver_device(source);

	if (!failure)
		failure = driver_device(destination);
	if (failure)
		return failure;
	if (!value || (int)attribute < 1 || source == destination)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)attribute == 1)
		*value = 0;
	else
		*value = (int)attribute == 3 ? chip_of(source)->nvlinks[index_of(destination)] > 0 : 1;
	return CUDA_SUCCESS;
}

/* Thread blocks can be bound to no part of a device here. */
CUresult cuDeviceGetExecAffinitySupport(int *supported, CUexecAffinityType type, CUdevice device)
{
	CUresult failure = driver_device(device);

	(void)type;
	if (failure)
		return failure;
	if (!supported)
		return CUDA_ERROR_INVALID_VALUE;
	*supported = 0;
	return CUDA_SUCCESS;
}

/* Elements, whatever their format: the limit of all devices since Volta. */
CUresult cuDeviceGetTexture1DLinearMaxWidth(size_t *width, CUarray_format format, unsigned channels, CUdevice device)
{
	CUresult failure = driver_device(device);

	(void)format;
	if (failure)
		return failure;
	if (!width || !channels || channels > 4)
		return CUDA_ERROR_INVALID_VALUE;
	*width = 1 << 28;
	return CUDA_SUCCESS;
}
