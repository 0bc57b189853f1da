/* libnvidia-ml: which devices there are and what they are: count, handles, names, addresses. Nothing here changes over time. */
#include "nvml_driver.h"

#include <stdio.h>
#include <string.h>

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
	struct state *state = nvml_state();

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = state->facts.chips;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount(unsigned int *count)
{
	return nvmlDeviceGetCount_v2(count);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	struct state *state = nvml_state();

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!device || index >= state->facts.chips)
		return NVML_ERROR_INVALID_ARGUMENT;
	*device = nvml_handle(index);
	return nvml_trouble(state, index);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *device)
{
	return nvmlDeviceGetHandleByIndex_v2(index, device);
}

static void write_uuid(char *text, const uint8_t *uuid)
{
	const uint8_t *u = uuid;

	sprintf(text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7],
	        u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

typedef bool (*matcher)(const struct mock_chip *chip, const char *text);

static bool has_uuid(const struct mock_chip *chip, const char *text)
{
	char uuid[48];

	write_uuid(uuid, chip->uuid);
	return strcmp(uuid, text) == 0;
}

static bool has_serial(const struct mock_chip *chip, const char *text)
{
	return chip->serial[0] && strcmp(chip->serial, text) == 0;
}

static bool has_bus_id(const struct mock_chip *chip, const char *text)
{
	unsigned domain, bus, slot, function = 0;

	if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
		domain = 0;
		if (sscanf(text, "%x:%x.%x", &bus, &slot, &function) != 3)
			return false;
	}
	return chip->pci_domain == domain && chip->pci_bus == bus && chip->pci_slot == slot && function == 0;
}

static nvmlReturn_t find(const char *text, nvmlDevice_t *device, matcher matches)
{
	struct state *state = nvml_state();

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!text || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (unsigned int index = 0; index < state->facts.chips; index++) {
		if (matches(&state->facts.chip[index], text)) {
			*device = nvml_handle(index);
			return nvml_trouble(state, index);
		}
	}
	return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	return find(uuid, device, has_uuid);
}

/* In letters (type 1) or as its 16 bytes (type 2). */
nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *device)
{
	char text[48];

	if (!nvml_state())
		return NVML_ERROR_UNINITIALIZED;
	if (!uuid || !device)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (uuid->version != (sizeof *uuid | 1u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (uuid->type == 2)
		write_uuid(text, uuid->value.bytes);
	else if (uuid->type == 1)
		snprintf(text, sizeof text, "%.40s", uuid->value.str);
	else
		return NVML_ERROR_INVALID_ARGUMENT;
	return find(text, device, has_uuid);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
	return find(bus_id, device, has_bus_id);
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device)
{
	return find(bus_id, device, has_bus_id);
}

nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
	return find(serial, device, has_serial);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	return chip ? nvml_text(name, length, chip->name) : failure;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);
	char text[48];

	if (!chip)
		return failure;
	write_uuid(text, chip->uuid);
	return nvml_text(uuid, length, text);
}

nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned int length)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	return chip->serial[0] ? nvml_text(serial, length, chip->serial) : NVML_ERROR_NOT_SUPPORTED;
}

void nvml_describe_pci(const struct mock_chip *chip, nvmlPciInfo_t *info)
{
	memset(info, 0, sizeof *info);
	snprintf(info->busIdLegacy, sizeof info->busIdLegacy, "%04X:%02X:%02X.0", chip->pci_domain & 0xffff, chip->pci_bus & 0xff,
	         chip->pci_slot & 0xff);
	snprintf(info->busId, sizeof info->busId, "%08X:%02X:%02X.0", chip->pci_domain, chip->pci_bus, chip->pci_slot);
	info->domain = chip->pci_domain;
	info->bus = chip->pci_bus;
	info->device = chip->pci_slot;
	info->pciDeviceId = chip->pci_device_id;
	info->pciSubSystemId = chip->pci_subsystem_id;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *info)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!info)
		return NVML_ERROR_INVALID_ARGUMENT;
	nvml_describe_pci(chip, info);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, nvmlPciInfo_t *info)
{
	return nvmlDeviceGetPciInfo_v3(device, info);
}

nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, struct mock_pci_v1 *info)
{
	nvmlPciInfo_t full;
	nvmlReturn_t failure = info ? nvmlDeviceGetPciInfo_v3(device, &full) : NVML_ERROR_INVALID_ARGUMENT;

	if (failure)
		return failure;
	memcpy(info->bus_id, full.busIdLegacy, sizeof info->bus_id);
	info->domain = full.domain;
	info->bus = full.bus;
	info->device = full.device;
	info->pci_device_id = full.pciDeviceId;
	return NVML_SUCCESS;
}

/* One number of the chip. */
static nvmlReturn_t give(nvmlDevice_t device, unsigned int *value, size_t offset)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!value)
		return NVML_ERROR_INVALID_ARGUMENT;
	memcpy(value, (const char *)chip + offset, sizeof *value);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *index)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!index)
		return NVML_ERROR_INVALID_ARGUMENT;
	*index = device->index;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *minor)
{
	return give(device, minor, offsetof(struct mock_chip, minor));
}

nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, nvmlBrandType_t *brand)
{
	return give(device, (unsigned int *)brand, offsetof(struct mock_chip, brand));
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *architecture)
{
	return give(device, architecture, offsetof(struct mock_chip, architecture));
}

nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t device, unsigned int *cores)
{
	return give(device, cores, offsetof(struct mock_chip, cores));
}

/* Attributes 75, 76 and 37 of libcuda are the same facts. */
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
	nvmlReturn_t failure = give(device, (unsigned int *)major, offsetof(struct mock_chip, attributes[75]));

	return failure ? failure : give(device, (unsigned int *)minor, offsetof(struct mock_chip, attributes[76]));
}

nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t device, unsigned int *width)
{
	return give(device, width, offsetof(struct mock_chip, attributes[37]));
}

/* Boards carry one GPU each; the bus number tells them apart. */
nvmlReturn_t nvmlDeviceGetBoardId(nvmlDevice_t device, unsigned int *id)
{
	nvmlReturn_t failure = give(device, id, offsetof(struct mock_chip, pci_bus));

	if (!failure)
		*id <<= 8;
	return failure;
}

nvmlReturn_t nvmlDeviceGetMultiGpuBoard(nvmlDevice_t device, unsigned int *multi)
{
	nvmlReturn_t failure = give(device, multi, 0);

	if (!failure)
		*multi = 0;
	return failure;
}

/* Class 3, display; sub-class 2, a 3D controller without a monitor. */
nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *info)
{
	nvmlReturn_t failure;
	nvmlPciInfo_t plain;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!info)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (info->version != (sizeof *info | 1u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	nvml_describe_pci(chip, &plain);
	info->domain = plain.domain;
	info->bus = plain.bus;
	info->device = plain.device;
	info->pciDeviceId = plain.pciDeviceId;
	info->pciSubSystemId = plain.pciSubSystemId;
	info->baseClass = 3;
	info->subClass = 2;
	memcpy(info->busId, plain.busId, sizeof info->busId);
	return NVML_SUCCESS;
}
