/*
 * libnvidia-ml: how GPUs reach each other: PCIe topology, NVLinks, peer access, the fabric between machines. Constant facts, all of them.
 *
 * A GPU's links are numbered peer by peer; on a machine with switches they are dealt out to the switches in turn.
 */
#include "nvml_driver.h"

#include <stdio.h>
#include <string.h>

enum { LINKS = 36 };                            /* NVML's most */
enum { GPU = 0, SWITCH = 2 };                   /* types of a link's far end */
enum { P2P_NVLINK = 2, P2P_LAST = 5, P2P_OK = 0, P2P_NOT_SUPPORTED = 5 };
enum { FABRIC_NOT_SUPPORTED = 0, FABRIC_COMPLETED = 3 };
enum { AMPERE = 7 };
enum { SWITCH_BUS = 0xff, SWITCH_AMPERE = 0x1af110de, SWITCH_HOPPER = 0x22a310de };
enum { LEVEL_INTERNAL = 0 };

/* The chip if LINK is a link that NVML may be asked about and PLACE is a place for the answer. */
static const struct mock_chip *linked(nvmlDevice_t device, unsigned int link, const void *place, nvmlReturn_t *failure)
{
	const struct mock_chip *chip = nvml_chip(device, failure);

	if (!chip)
		return NULL;
	*failure = NVML_SUCCESS;
	if (!chip->nvlink_version)
		*failure = NVML_ERROR_NOT_SUPPORTED;
	else if (link >= LINKS || !place)
		*failure = NVML_ERROR_INVALID_ARGUMENT;
	else if (link >= chip->nvlink_count)
		*failure = NVML_ERROR_NOT_SUPPORTED;    /* as drivers answer beyond the links that a chip has */
	return *failure ? NULL : chip;
}

/* The GPU that a link of a machine without switches leads to. */
static unsigned int peer_of(const struct mock_chip *chip, unsigned int link)
{
	unsigned int before = 0;

	for (unsigned int peer = 0; peer < STATE_DEVICES; peer++) {
		before += chip->nvlinks[peer];
		if (link < before)
			return peer;
	}
	return 0;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, nvmlEnableState_t *active)
{
	nvmlReturn_t failure;

	if (!linked(device, link, active, &failure))
		return failure;
	*active = 1;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t device, unsigned int link, unsigned int *version)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = linked(device, link, version, &failure);

	if (chip)
		*version = chip->nvlink_version;
	return failure;
}

/* P2P, access to and atomics on the host's memory: P2P 0, its atomics 2, valid 5 hold on x86; 1, 3 and SLI (4) do not. */
nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned int link, nvmlNvLinkCapability_t capability, unsigned int *has)
{
	nvmlReturn_t failure;

	if (!linked(device, link, has, &failure))
		return failure;
	if ((int)capability < 0 || (int)capability > 5)
		return NVML_ERROR_INVALID_ARGUMENT;
	*has = (int)capability == 0 || (int)capability == 2 || (int)capability == 5;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, nvmlNvLinkErrorCounter_t counter,
                                             unsigned long long *errors)
{
	nvmlReturn_t failure;

	if (!linked(device, link, errors, &failure))
		return failure;
	if ((int)counter < 0 || (int)counter > 4)
		return NVML_ERROR_INVALID_ARGUMENT;
	*errors = 0;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned int link, nvmlIntNvLinkDeviceType_t *type)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = linked(device, link, type, &failure);

	if (chip)
		*type = chip->nvlink_switches ? SWITCH : GPU;
	return failure;
}

static void describe_switch(const struct mock_chip *chip, unsigned int number, nvmlPciInfo_t *info)
{
	memset(info, 0, sizeof *info);
	info->bus = SWITCH_BUS;
	info->device = number;
	info->pciDeviceId = chip->architecture > AMPERE ? SWITCH_HOPPER : SWITCH_AMPERE;
	snprintf(info->busId, sizeof info->busId, "00000000:%02X:%02X.0", info->bus & 0xff, number & 0xff);
	snprintf(info->busIdLegacy, sizeof info->busIdLegacy, "0000:%02X:%02X.0", info->bus & 0xff, number & 0xff);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *info)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = linked(device, link, info, &failure);

	if (!chip)
		return failure;
	if (chip->nvlink_switches)
		describe_switch(chip, link % chip->nvlink_switches, info);
	else
		nvml_describe_pci(&nvml_state()->facts.chip[peer_of(chip, link)], info);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *info)
{
	return nvmlDeviceGetNvLinkRemotePciInfo_v2(device, link, info);
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t first, nvmlDevice_t second, nvmlGpuTopologyLevel_t *level)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(first, &failure);

	if (!chip || !nvml_chip(second, &failure))
		return failure;
	if (!level)
		return NVML_ERROR_INVALID_ARGUMENT;
	*level = chip->common_ancestor[second->index];
	return NVML_SUCCESS;
}

/* Put GPU INDEX into a caller's list, as far as there is room. */
static void put(unsigned int index, unsigned int *found, unsigned int room, nvmlDevice_t *devices)
{
	if (*found < room)
		devices[*found] = nvml_handle(index);
	++*found;
}

static nvmlReturn_t end_list(unsigned int found, unsigned int *count)
{
	nvmlReturn_t result = *count && found > *count ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;

	*count = found;
	return result;
}

/* The other GPUs that share this level, or a nearer one. */
nvmlReturn_t nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, nvmlGpuTopologyLevel_t level, unsigned int *count,
                                              nvmlDevice_t *devices)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);
	unsigned int found = 0;

	if (!chip)
		return failure;
	if (!count || (*count && !devices) || (int)level < LEVEL_INTERNAL)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (unsigned int other = 0; other < nvml_state()->facts.chips; other++)
		if (other != device->index && chip->common_ancestor[other] <= (int)level)
			put(other, &found, *count, devices);
	return end_list(found, count);
}

nvmlReturn_t nvmlSystemGetTopologyGpuSet(unsigned int cpu, unsigned int *count, nvmlDevice_t *devices)
{
	struct state *state = nvml_state();
	unsigned int found = 0;

	if (!state)
		return NVML_ERROR_UNINITIALIZED;
	if (!count || (*count && !devices))
		return NVML_ERROR_INVALID_ARGUMENT;
	for (unsigned int index = 0; index < state->facts.chips; index++)
		if (state->facts.chip[index].numa == (int32_t)(cpu / NVML_NODE_CPUS))
			put(index, &found, *count, devices);
	return end_list(found, count);
}

nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t first, nvmlDevice_t second, int *same)
{
	nvmlReturn_t failure;

	if (!nvml_chip(first, &failure) || !nvml_chip(second, &failure))
		return failure;
	if (!same)
		return NVML_ERROR_INVALID_ARGUMENT;
	*same = first == second;
	return NVML_SUCCESS;
}

/* Reads, writes and the rest go over PCIe as well; NVLink needs links. */
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t first, nvmlDevice_t second, nvmlGpuP2PCapsIndex_t index, nvmlGpuP2PStatus_t *status)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(first, &failure);

	if (!chip || !nvml_chip(second, &failure))
		return failure;
	if (!status || first == second || (int)index < 0 || (int)index > P2P_LAST)
		return NVML_ERROR_INVALID_ARGUMENT;
	*status = (int)index != P2P_NVLINK || chip->nvlinks[second->index] ? P2P_OK : P2P_NOT_SUPPORTED;
	return NVML_SUCCESS;
}

/* GPUs from Hopper on that have switches are registered with the fabric manager; between machines only with a clique. */
static unsigned int fabric_state(const struct mock_chip *chip)
{
	return chip->fabric_clique || (chip->nvlink_switches && chip->architecture > AMPERE) ? FABRIC_COMPLETED : FABRIC_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!info)
		return NVML_ERROR_INVALID_ARGUMENT;
	memset(info, 0, sizeof *info);
	if (chip->fabric_clique)
		memcpy(info->clusterUuid, nvml_state()->facts.digest, sizeof info->clusterUuid);
	info->cliqueId = chip->fabric_clique;
	info->state = (unsigned char)fabric_state(chip);
	return NVML_SUCCESS;
}

/* Versions 2 and 3 begin alike; 3 has one byte more, the summary: 1 is healthy. */
nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info)
{
	nvmlGpuFabricInfo_t plain;
	nvmlReturn_t failure = nvmlDeviceGetGpuFabricInfo(device, &plain);
	unsigned int version;

	if (failure)
		return failure;
	if (!info)
		return NVML_ERROR_INVALID_ARGUMENT;
	version = info->version;
	if (version != (36 | 2u << 24) && version != (sizeof *info | 3u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	memcpy(info->clusterUuid, plain.clusterUuid, sizeof info->clusterUuid);
	info->status = NVML_SUCCESS;
	info->cliqueId = plain.cliqueId;
	info->state = plain.state;
	info->healthMask = 0;
	if (version >> 24 == 3)
		info->healthSummary = plain.state == FABRIC_COMPLETED;
	return NVML_SUCCESS;
}
