/* libnvidia-ml: field values, NVML's numbered facts. Each is answered or refused by itself. The numbers are nvml.h's NVML_FI_DEV_. */
#define _GNU_SOURCE
#include "nvml_driver.h"

#include <string.h>
#include <time.h>

enum { TYPE_UNSIGNED = 1, TYPE_UNSIGNED_LONG_LONG = 3 };
enum { RECOVERY_NONE = 0, RECOVERY_RESET = 1 };
enum { AMPERE = 7 };

/* A reset is wanted by a fault, or by memory that only a reset can take out of use. */
static unsigned int recovery(struct state *state, unsigned int index)
{
	bool wanted = fault_condition(&state->faults, index) & GPU_RESET_REQUIRED || nvml_ecc_errors(index, true);

	return wanted ? RECOVERY_RESET : RECOVERY_NONE;
}

static nvmlReturn_t ecc_field(const struct mock_chip *chip, unsigned int field, unsigned int index, unsigned long long *value)
{
	if (!chip->ecc)
		return NVML_ERROR_NOT_SUPPORTED;
	switch (field) {
	case 1: case 2:                                 /* ECC_CURRENT, ECC_PENDING */
		*value = chip->ecc == 2;
		return NVML_SUCCESS;
	case 3: case 5:                                 /* ECC_SBE_VOL_TOTAL, ECC_SBE_AGG_TOTAL */
		*value = nvml_ecc_errors(index, false);
		return NVML_SUCCESS;
	default:                                        /* ECC_DBE_VOL_TOTAL, ECC_DBE_AGG_TOTAL */
		*value = nvml_ecc_errors(index, true);
		return NVML_SUCCESS;
	}
}

/* Pages before Ampere, rows from Ampere on. */
static nvmlReturn_t repair_field(const struct mock_chip *chip, unsigned int field, unsigned int index, unsigned long long *value)
{
	bool of_rows = field >= 142;
	uint64_t lost = nvml_ecc_errors(index, true);

	if (!chip->ecc || of_rows != (chip->architecture >= AMPERE))
		return NVML_ERROR_NOT_SUPPORTED;
	switch (field) {
	case 30: case 143:                              /* RETIRED_DBE, REMAPPED_UNC */
		*value = lost;
		return NVML_SUCCESS;
	case 31: case 93: case 144:                     /* RETIRED_PENDING, RETIRED_PENDING_DBE, REMAPPED_PENDING */
		*value = lost > 0;
		return NVML_SUCCESS;
	default:                                        /* RETIRED_SBE, RETIRED_PENDING_SBE, REMAPPED_COR, REMAPPED_FAILURE */
		*value = 0;
		return NVML_SUCCESS;
	}
}

/* LINK: of the field's own, or its scope. */
static nvmlReturn_t link_field(const struct mock_chip *chip, unsigned int link, unsigned long long what, unsigned long long *value)
{
	if (!chip->nvlink_version || link >= chip->nvlink_count)
		return NVML_ERROR_NOT_SUPPORTED;
	*value = what;
	return NVML_SUCCESS;
}

static nvmlReturn_t read_field(struct state *state, unsigned int index, const nvmlFieldValue_t *field, unsigned long long *value)
{
	const struct mock_chip *chip = &state->facts.chip[index];
	unsigned int id = field->fieldId;

	switch (id) {
	case 1: case 2: case 3: case 4: case 5: case 6:
		return ecc_field(chip, id, index, value);
	case 29: case 30: case 31: case 92: case 93: case 142: case 143: case 144: case 145:
		return repair_field(chip, id, index, value);
	case 84: case 85: case 86: case 87: case 88: case 89:
		return link_field(chip, id - 84, chip->nvlink_mbps, value);
	case 132: case 133: case 134: case 135: case 136: case 137:
		return link_field(chip, id - 132 + 6, chip->nvlink_mbps, value);
	case 90:                                        /* NVLINK_SPEED_MBPS_COMMON */
		return link_field(chip, 0, chip->nvlink_mbps, value);
	case 91:                                        /* NVLINK_LINK_COUNT */
		*value = chip->nvlink_count;
		return chip->nvlink_version ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
	case 94:                                        /* PCIE_REPLAY_COUNTER */
		*value = 0;
		return NVML_SUCCESS;
	case 164:                                       /* NVLINK_GET_SPEED */
		return link_field(chip, field->scopeId, chip->nvlink_mbps, value);
	case 165:                                       /* NVLINK_GET_STATE */
		return link_field(chip, field->scopeId, 1, value);
	case 166:                                       /* NVLINK_GET_VERSION */
		return link_field(chip, field->scopeId, chip->nvlink_version, value);
	case 230:                                       /* GET_GPU_RECOVERY_ACTION */
		*value = recovery(state, index);
		return NVML_SUCCESS;
	default:
		return NVML_ERROR_NOT_SUPPORTED;
	}
}

static long long wall_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void answer(struct state *state, unsigned int index, nvmlReturn_t trouble, nvmlFieldValue_t *field)
{
	unsigned long long value = 0;
	nvmlReturn_t result = trouble && field->fieldId != 230 ? trouble : read_field(state, index, field, &value);

	field->timestamp = wall_clock();
	field->latencyUsec = 0;
	field->valueType = value > UINT32_MAX || (field->fieldId >= 3 && field->fieldId <= 6) ? TYPE_UNSIGNED_LONG_LONG : TYPE_UNSIGNED;
	field->nvmlReturn = result;
	memset(&field->value, 0, sizeof field->value);
	field->value.ullVal = value;                    /* the low half is the unsigned int on little-endian machines */
}

/* A GPU in want of a reset still says that it wants one. */
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
	nvmlReturn_t failure;
	struct state *state = nvml_state();

	nvml_chip(device, &failure);
	if (failure && failure != NVML_ERROR_RESET_REQUIRED)
		return failure;
	if (count <= 0 || !values)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (int i = 0; i < count; i++)
		answer(state, device->index, failure, &values[i]);
	return NVML_SUCCESS;
}
