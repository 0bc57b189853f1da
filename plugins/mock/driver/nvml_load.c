/*
 * libnvidia-ml: how busy a GPU is, and what follows from it: clocks, power, temperature. The machine records kernel time (utilisation.h), and its
 * description may add load of nobody's. Power and temperature rise in proportion, from idle to nine tenths of the limit and by 45 degrees:
 * a plausible shape that nothing should be planned by.
 */
#include "nvml_driver.h"

enum { PERIOD_US = 166667 };                    /* the sampling period that drivers report */
enum { WARMER = 45, IDLE_CLOCK_MHZ = 300, P0 = 0, P8 = 8 };
enum { CLOCK_GRAPHICS = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2, CLOCK_VIDEO = 3 };
enum { REASON_IDLE = 1, REASONS_KNOWN = 0x1ff };
enum { SHUTDOWN = 95, SLOWDOWN = 92, MOST = 87 };

static unsigned int ghostly(const struct mock_facts *facts, unsigned int index)
{
	unsigned int sum = 0;

	for (uint32_t i = 0; i < facts->ghosts; i++)
		if (facts->ghost[i].gpu == index)
			sum += facts->ghost[i].sm;
	return sum;
}

unsigned int nvml_busy(unsigned int index)
{
	struct state *state = nvml_state();
	uint64_t now = timing_now();
	unsigned int found = nvml_percent(utilisation_of_device(state, index, now - PERIOD_US * 1000ULL, now), PERIOD_US);

	found += ghostly(&state->facts, index);
	return found > 100 ? 100 : found;
}

/* Whether anybody holds a context, or keeps the GPU busy. */
static bool is_awake(nvmlDevice_t device)
{
	return nvml_clients(device->index, NULL, 0) || nvml_busy(device->index);
}

/* VALUE is what READ says of the chip, once the handle and the place for the answer are good. */
static nvmlReturn_t give(nvmlDevice_t device, unsigned int *value, unsigned int (*read)(nvmlDevice_t device, const struct mock_chip *chip))
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!value)
		return NVML_ERROR_INVALID_ARGUMENT;
	*value = read(device, chip);
	return NVML_SUCCESS;
}

static unsigned int power(nvmlDevice_t device, const struct mock_chip *chip)
{
	uint64_t span = chip->power_limit_mw > chip->power_idle_mw ? chip->power_limit_mw - chip->power_idle_mw : 0;

	return chip->power_idle_mw + (unsigned int)(span * 9 / 10 * nvml_busy(device->index) / 100);
}

static unsigned int warmth(nvmlDevice_t device, const struct mock_chip *chip)
{
	return chip->temperature + WARMER * nvml_busy(device->index) / 100;
}

static unsigned int performance(nvmlDevice_t device, const struct mock_chip *chip)
{
	(void)chip;
	return is_awake(device) ? P0 : P8;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts)
{
	return give(device, milliwatts, power);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *degrees)
{
	return (int)sensor ? NVML_ERROR_INVALID_ARGUMENT : give(device, degrees, warmth);
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!temperature)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (temperature->version != (sizeof *temperature | 1u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	return nvmlDeviceGetTemperature(device, temperature->sensorType, (unsigned int *)&temperature->temperature);
}

nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t device, nvmlPstates_t *state)
{
	return give(device, (unsigned int *)state, performance);
}

nvmlReturn_t nvmlDeviceGetPowerState(nvmlDevice_t device, nvmlPstates_t *state)
{
	return nvmlDeviceGetPerformanceState(device, state);
}

/* Memory is taken to be busy half the time that the processors are. */
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!utilization)
		return NVML_ERROR_INVALID_ARGUMENT;
	utilization->gpu = nvml_busy(device->index);
	utilization->memory = utilization->gpu / 2;
	return NVML_SUCCESS;
}

/* Shutdown 0, slowdown 1, memory's and GPU's highest 2 and 3. */
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t threshold, unsigned int *degrees)
{
	static const unsigned int known[] = {SHUTDOWN, SLOWDOWN, MOST, MOST};
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!degrees || (int)threshold < 0)
		return NVML_ERROR_INVALID_ARGUMENT;
	if ((size_t)(int)threshold >= sizeof known / sizeof known[0])
		return NVML_ERROR_NOT_SUPPORTED;
	*degrees = known[(int)threshold];
	return NVML_SUCCESS;
}

static nvmlReturn_t clock_of(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz, bool highest)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);
	unsigned int most;

	if (!chip)
		return failure;
	if (!mhz || (int)type < CLOCK_GRAPHICS || (int)type > CLOCK_VIDEO)
		return NVML_ERROR_INVALID_ARGUMENT;
	most = (int)type == CLOCK_MEMORY ? chip->clock_memory_mhz : chip->clock_graphics_mhz;
	*mhz = highest || is_awake(device) || most < IDLE_CLOCK_MHZ ? most : IDLE_CLOCK_MHZ;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, true);
}

nvmlReturn_t nvmlDeviceGetMaxCustomerBoostClock(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, true);
}

nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, true);
}

nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, true);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	return clock_of(device, type, mhz, false);
}

/* Current 0, the applications' target 1 and default 2, the customer's highest 3. */
nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, nvmlClockType_t type, nvmlClockId_t which, unsigned int *mhz)
{
	return (int)which < 0 || (int)which > 3 ? NVML_ERROR_INVALID_ARGUMENT : clock_of(device, type, mhz, (int)which != 0);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!reasons)
		return NVML_ERROR_INVALID_ARGUMENT;
	*reasons = is_awake(device) ? 0 : REASON_IDLE;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}

nvmlReturn_t nvmlDeviceGetSupportedClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	nvmlReturn_t failure = nvmlDeviceGetCurrentClocksEventReasons(device, reasons);

	if (!failure)
		*reasons = REASONS_KNOWN;
	return failure;
}

nvmlReturn_t nvmlDeviceGetSupportedClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	return nvmlDeviceGetSupportedClocksEventReasons(device, reasons);
}

/* No engine of these is ever used. */
static nvmlReturn_t no_load(nvmlDevice_t device, unsigned int *used, unsigned int *period_us)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!used || !period_us)
		return NVML_ERROR_INVALID_ARGUMENT;
	*used = 0;
	*period_us = PERIOD_US;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *used, unsigned int *period_us)
{
	return no_load(device, used, period_us);
}

nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *used, unsigned int *period_us)
{
	return no_load(device, used, period_us);
}

nvmlReturn_t nvmlDeviceGetJpgUtilization(nvmlDevice_t device, unsigned int *used, unsigned int *period_us)
{
	return no_load(device, used, period_us);
}

nvmlReturn_t nvmlDeviceGetOfaUtilization(nvmlDevice_t device, unsigned int *used, unsigned int *period_us)
{
	return no_load(device, used, period_us);
}
