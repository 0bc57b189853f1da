/*
 * libnvidia-ml: memory errors and what became of the memory. The machine counts errors of two sorts (fault.h), all of them in device memory;
 * volatile and lifetime counters are the same here. Each uncorrected one costs a row from Ampere on, and a page before.
 */
#include "nvml_driver.h"

#include <string.h>

enum { DEVICE_MEMORY = 2, LOCATIONS = 8, UNCORRECTED = 1, AMPERE = 7, BANKS = 640, DOUBLE_BIT = 1 };

/* The chip, if it counts errors. */
static const struct mock_chip *counting(nvmlDevice_t device, const void *place, nvmlReturn_t *failure)
{
	const struct mock_chip *chip = nvml_chip(device, failure);

	if (!chip)
		return NULL;
	*failure = chip->ecc != 2 ? NVML_ERROR_NOT_SUPPORTED : place ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
	return *failure ? NULL : chip;
}

static uint64_t lost(nvmlDevice_t device)
{
	return nvml_ecc_errors(device->index, true);
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *now, nvmlEnableState_t *pending)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!chip->ecc)
		return NVML_ERROR_NOT_SUPPORTED;
	if (!now || !pending)
		return NVML_ERROR_INVALID_ARGUMENT;
	*now = *pending = chip->ecc == 2;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDefaultEccMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
	nvmlEnableState_t pending;
	nvmlReturn_t failure = nvmlDeviceGetEccMode(device, mode, &pending);

	if (!failure)
		*mode = 1;
	return failure;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                         unsigned long long *errors)
{
	nvmlReturn_t failure;

	if (!counting(device, errors, &failure))
		return failure;
	if ((int)type < 0 || (int)type > 1 || (int)counter < 0 || (int)counter > 1)
		return NVML_ERROR_INVALID_ARGUMENT;
	*errors = nvml_ecc_errors(device->index, (int)type == UNCORRECTED);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                             nvmlMemoryLocation_t location, unsigned long long *errors)
{
	nvmlReturn_t failure = nvmlDeviceGetTotalEccErrors(device, type, counter, errors);

	if (failure)
		return failure;
	if ((int)location < 0 || (int)location >= LOCATIONS)
		return NVML_ERROR_INVALID_ARGUMENT;
	if ((int)location != DEVICE_MEMORY)
		*errors = 0;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                            nvmlEccErrorCounts_t *counts)
{
	unsigned long long errors;
	nvmlReturn_t failure = nvmlDeviceGetTotalEccErrors(device, type, counter, &errors);

	if (failure)
		return failure;
	if (!counts)
		return NVML_ERROR_INVALID_ARGUMENT;
	*counts = (nvmlEccErrorCounts_t){.deviceMemory = errors};
	return NVML_SUCCESS;
}

/* Rows are remapped at the next reset: until then they are pending. */
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending,
                                       unsigned int *failed)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = counting(device, corrected, &failure);

	if (!chip)
		return failure;
	if (chip->architecture < AMPERE)
		return NVML_ERROR_NOT_SUPPORTED;
	if (!uncorrected || !pending || !failed)
		return NVML_ERROR_INVALID_ARGUMENT;
	*corrected = *failed = 0;
	*uncorrected = (unsigned int)lost(device);
	*pending = *uncorrected > 0;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *values)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = counting(device, values, &failure);

	if (!chip)
		return failure;
	if (chip->architecture < AMPERE)
		return NVML_ERROR_NOT_SUPPORTED;
	memset(values, 0, sizeof *values);
	values->max = BANKS;
	return NVML_SUCCESS;
}

/* *COUNT comes in as the room. Addresses are made up: a page after another. */
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, nvmlPageRetirementCause_t cause, unsigned int *count,
                                       unsigned long long *addresses)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = counting(device, count, &failure);
	unsigned int room, found;

	if (!chip)
		return failure;
	if (chip->architecture >= AMPERE)
		return NVML_ERROR_NOT_SUPPORTED;
	if ((int)cause < 0 || (int)cause > DOUBLE_BIT || (*count && !addresses))
		return NVML_ERROR_INVALID_ARGUMENT;
	room = *count;
	found = (int)cause == DOUBLE_BIT ? (unsigned int)lost(device) : 0;
	*count = found;
	for (unsigned int i = 0; i < found && i < room; i++)
		addresses[i] = 0x10000ULL * (i + 1);
	return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, nvmlPageRetirementCause_t cause, unsigned int *count,
                                          unsigned long long *addresses, unsigned long long *times)
{
	nvmlReturn_t failure = nvmlDeviceGetRetiredPages(device, cause, count, addresses);

	for (unsigned int i = 0; !failure && times && i < *count; i++)
		times[i] = 0;
	return failure;
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, nvmlEnableState_t *pending)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = counting(device, pending, &failure);

	if (!chip)
		return failure;
	if (chip->architecture >= AMPERE)
		return NVML_ERROR_NOT_SUPPORTED;
	*pending = lost(device) > 0;
	return NVML_SUCCESS;
}
