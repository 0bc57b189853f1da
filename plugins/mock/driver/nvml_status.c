/* libnvidia-ml: what changes on a real GPU while it works: load, temperature, power, clocks, modes, ECC. Here a GPU is always idle. */
#include "nvml_driver.h"

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
READS(temperature, chip->temperature)
READS(power, chip->power_idle_mw)
READS(power_limit, chip->power_limit_mw)
READS(idle_state, 8)                            /* P8 */
READS(ecc, chip->ecc == 2)
READS(pcie_generation, chip->pcie_generation)
READS(pcie_width, chip->pcie_width)
#undef READS

#define ANSWERS(name, type, read) \
	nvmlReturn_t name(nvmlDevice_t device, type *value) \
	{ \
		return give(device, value, (unsigned int *)value, read); \
	}
ANSWERS(nvmlDeviceGetPowerUsage, unsigned int, power)
ANSWERS(nvmlDeviceGetEnforcedPowerLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPowerManagementLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPowerManagementDefaultLimit, unsigned int, power_limit)
ANSWERS(nvmlDeviceGetPersistenceMode, nvmlEnableState_t, one)
ANSWERS(nvmlDeviceGetPerformanceState, nvmlPstates_t, idle_state)
ANSWERS(nvmlDeviceGetPowerState, nvmlPstates_t, idle_state)
ANSWERS(nvmlDeviceGetDisplayActive, nvmlEnableState_t, zero)
ANSWERS(nvmlDeviceGetDisplayMode, nvmlEnableState_t, zero)
ANSWERS(nvmlDeviceGetComputeMode, nvmlComputeMode_t, zero)
ANSWERS(nvmlDeviceGetVirtualizationMode, nvmlGpuVirtualizationMode_t, zero)
ANSWERS(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, pcie_generation)
ANSWERS(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, pcie_generation)
ANSWERS(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, pcie_width)
ANSWERS(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, pcie_width)
ANSWERS(nvmlDeviceIsMigDeviceHandle, unsigned int, zero)
#undef ANSWERS

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
	unsigned int gpu;
	nvmlReturn_t failure = give(device, utilization, &gpu, zero);

	if (!failure)
		*utilization = (nvmlUtilization_t){.gpu = gpu, .memory = 0};
	return failure;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *degrees)
{
	return (int)sensor ? NVML_ERROR_INVALID_ARGUMENT : give(device, degrees, degrees, temperature);
}

nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *percent)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (chip && !chip->fan)
		return NVML_ERROR_NOT_SUPPORTED;
	return give(device, percent, percent, zero);
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *now, nvmlEnableState_t *pending)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (chip && !chip->ecc)
		return NVML_ERROR_NOT_SUPPORTED;
	failure = give(device, now, (unsigned int *)now, ecc);
	return failure ? failure : give(device, pending, (unsigned int *)pending, ecc);
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                         unsigned long long *errors)
{
	nvmlEnableState_t now, pending;
	nvmlReturn_t failure = nvmlDeviceGetEccMode(device, &now, &pending);

	(void)counter;
	if (failure)
		return failure;
	if (!errors || (int)type < 0 || (int)type > 1)
		return NVML_ERROR_INVALID_ARGUMENT;
	*errors = nvml_ecc_errors(device->index, (int)type == 1);
	return (int)now ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device)
{
	nvmlReturn_t failure;

	nvml_chip(device, &failure);
	return failure;
}

/* NVML_CLOCK_GRAPHICS 0, SM 1, MEM 2, VIDEO 3. */
static nvmlReturn_t clock_of(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz, unsigned int share)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!mhz || (int)type < 0 || (int)type > 3)
		return NVML_ERROR_INVALID_ARGUMENT;
	*mhz = ((int)type == 2 ? chip->clock_memory_mhz : chip->clock_graphics_mhz) / share;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, 1);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, 4);          /* idle clocks are some fraction; a guess that nothing depends on */
}

static nvmlReturn_t no_load(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us)
{
	nvmlReturn_t failure = give(device, percent, percent, zero);

	if (!failure && !period_us)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (!failure)
		*period_us = 167000;                    /* the sampling period that drivers report */
	return failure;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us)
{
	return no_load(device, percent, period_us);
}

nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *percent, unsigned int *period_us)
{
	return no_load(device, percent, period_us);
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
