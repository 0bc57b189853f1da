/* libnvidia-ml: modes, limits, and what a board says of itself. None of it changes here. What follows the load is in nvml_load.c. */
#include "nvml_driver.h"

#include <stdio.h>

/* A number, once the handle and the place for the answer are good. */
static nvmlReturn_t give(nvmlDevice_t device, void *place, unsigned int *value, unsigned int (*read)(const struct mock_chip *chip))
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!place)
		return NVML_ERROR_INVALID_ARGUMENT;
	*value = read(chip);
	return NVML_SUCCESS;
}

#define READS(name, expression) static unsigned int name(const struct mock_chip *chip) { (void)chip; return (expression); }
READS(zero, 0)
READS(one, 1)
READS(power_limit, chip->power_limit_mw)
READS(pcie_generation, chip->pcie_generation)
READS(pcie_width, chip->pcie_width)
#undef READS

#define ANSWERS(name, type, read) \
	nvmlReturn_t name(nvmlDevice_t device, type *value) \
	{ \
		return give(device, value, (unsigned int *)value, read); \
	}
ANSWERS(nvmlDeviceGetEnforcedPowerLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPowerManagementLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPowerManagementDefaultLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, one)
ANSWERS(nvmlDeviceGetDisplayActive, nvmlEnableState_t, zero)
ANSWERS(nvmlDeviceGetDisplayMode, nvmlEnableState_t, zero)
ANSWERS(nvmlDeviceGetComputeMode, nvmlComputeMode_t, zero)
ANSWERS(nvmlDeviceGetVirtualizationMode, nvmlGpuVirtualizationMode_t, zero)
ANSWERS(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, pcie_generation)
ANSWERS(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, pcie_generation)
ANSWERS(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, pcie_width)
ANSWERS(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned int, pcie_generation)
ANSWERS(nvmlDeviceGetPcieReplayCounter, unsigned int, zero)
ANSWERS(nvmlDeviceGetPowerManagementMode, nvmlEnableState_t, one)
ANSWERS(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, pcie_width)
ANSWERS(nvmlDeviceIsMigDeviceHandle, unsigned int, zero)
#undef ANSWERS

nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *percent)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (chip && !chip->fan)
		return NVML_ERROR_NOT_SUPPORTED;
	return give(device, percent, percent, zero);
}

nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device)
{
	nvmlReturn_t failure;

	nvml_chip(device, &failure);
	return failure;
}

/* Down to half the limit, as boards allow about. */
nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *least, unsigned int *most)
{
	nvmlReturn_t failure = give(device, most, most, power_limit);

	if (!failure && !least)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (!failure)
		*least = *most / 2;
	return failure;
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, nvmlPcieUtilCounter_t counter, unsigned int *kilobytes)
{
	return (int)counter < 0 || (int)counter > 1 ? NVML_ERROR_INVALID_ARGUMENT : give(device, kilobytes, kilobytes, zero);
}

nvmlReturn_t nvmlDeviceGetNumFans(nvmlDevice_t device, unsigned int *fans)
{
	nvmlReturn_t failure = give(device, fans, fans, one);

	if (!failure && !nvml_state()->facts.chip[device->index].fan)
		*fans = 0;
	return failure;
}

/* By the chip's generation; the rest is made up. */
nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t device, char *version, unsigned int length)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);
	char text[32];

	if (!chip)
		return failure;
	snprintf(text, sizeof text, "%02X.00.00.00.01", 0x8a + chip->architecture);
	return nvml_text(version, length, text);
}

/* MIG mode is off wherever the chip has it. */
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (chip && !chip->mig)
		return NVML_ERROR_NOT_SUPPORTED;
	failure = give(device, now, now, zero);
	return failure ? failure : give(device, pending, pending, zero);
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!count)
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = chip->mig ? 7 : 0;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	(void)index;
	if (!chip)
		return failure;
	if (!mig)
		return NVML_ERROR_INVALID_ARGUMENT;
	return chip->mig ? NVML_ERROR_NOT_FOUND : NVML_ERROR_NOT_SUPPORTED;
}
