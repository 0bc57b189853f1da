/*
 * libnvidia-ml: the table that nvidia-smi asks for when it starts. It is not documented; what is known was seen by handing the program a table
 * of our own and looking which slots it calls with what (535.261.03). Word 0 is the table's size in bytes, the others are functions.
 */
#include "nvml_driver.h"

#include <string.h>

enum {
	TABLE_BYTES = 0x1000,
	WORDS = TABLE_BYTES / 8,
	SLOT_JOINED_BY = 23,                    /* (bus id, bus id, out): `topo -m` */
	SLOT_LOG = 26,
	SLOT_MONITORED = 72,                    /* (device, out): not 0 where `dmon` and `pmon` work */
	SLOT_HANDLE_BY_INDEX = 81,
	SLOT_SAMPLES = 145,                     /* (device, since, out, count, samples) of processes: `pmon` */
	SLOT_RELAXED_ORDERING = 165,            /* (device, number, out) */
	SLOT_PROCESSES = 213,                   /* and the two after it: compute, graphics, MPS; which is which does not matter here */
	SLOT_NUMA_ID = 241,                     /* of the GPU's own memory: `topo -m` */
	SLOT_SPARSE_MODE = 249,
};

static const unsigned char table_id[16] = {0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4};

/* One row of the process list. A row without a name is not shown. */
struct smi_process {
	uint32_t pid;
	uint32_t reserved;
	uint64_t bytes;
	uint32_t gpu_instance;
	uint32_t compute_instance;
	uint64_t protected_bytes;
	char name[4096];
};

_Static_assert(sizeof(struct smi_process) == 4128, "row of the process list");
_Static_assert(offsetof(struct smi_process, name) == 32, "row of the process list");

static nvmlReturn_t accept(void)
{
	return NVML_SUCCESS;
}

/* Whatever else is asked about a device: zero. */
static nvmlReturn_t answer_zero(nvmlDevice_t device, unsigned int *value)
{
	nvmlReturn_t failure;

	if (!nvml_chip(device, &failure))
		return failure;
	if (value)
		*value = 0;
	return NVML_SUCCESS;
}

static nvmlReturn_t monitored(nvmlDevice_t device, unsigned int *value)
{
	nvmlReturn_t failure = answer_zero(device, value);

	if (!failure && value)
		*value = 1;
	return failure;
}

/* How a sample looks is not known, so there are none: `pmon` shows who holds memory, and no utilisation. */
static nvmlReturn_t no_samples(nvmlDevice_t device, unsigned long long since, unsigned int *what, unsigned int *count)
{
	(void)since;
	(void)what;
	return answer_zero(device, count);
}

static nvmlReturn_t relaxed_ordering(nvmlDevice_t device, unsigned int which, unsigned int *value)
{
	(void)which;
	return answer_zero(device, value);
}

/* What joins two GPUs, by their bus ids: 0 PIX, 1 PXB, 2 PHB, 3 NODE, 4 SYS, and from 5 on so many NVLinks more than 4. */
static nvmlReturn_t joined_by(const char *first, const char *second, unsigned int *what)
{
	nvmlDevice_t one, other;
	nvmlGpuTopologyLevel_t level;
	nvmlReturn_t failure = nvmlDeviceGetHandleByPciBusId_v2(first, &one);
	unsigned int links;

	if (!failure)
		failure = nvmlDeviceGetHandleByPciBusId_v2(second, &other);
	if (!failure)
		failure = nvmlDeviceGetTopologyCommonAncestor(one, other, &level);
	if (failure)
		return failure;
	links = nvml_state()->facts.chip[one->index].nvlinks[other->index];
	*what = links ? 4 + links : level ? (unsigned int)level / 10 - 1 : 0;
	return NVML_SUCCESS;
}

static nvmlReturn_t not_supported(void)
{
	return NVML_ERROR_NOT_SUPPORTED;
}

static void fill(struct smi_process *row, const struct nvml_client *client)
{
	memset(row, 0, offsetof(struct smi_process, name));
	row->pid = client->pid;
	row->bytes = client->bytes;
	row->gpu_instance = row->compute_instance = UINT32_MAX;
	if (!process_program((int32_t)client->pid, row->name, sizeof row->name))
		strcpy(row->name, "[Not Found]");
}

static nvmlReturn_t list_processes(nvmlDevice_t device, unsigned int *count, struct smi_process *rows)
{
	struct nvml_client clients[STATE_PROCESSES];
	nvmlReturn_t failure;
	unsigned int room, found;

	if (!nvml_chip(device, &failure))
		return failure;
	if (!count || !rows)
		return NVML_ERROR_INVALID_ARGUMENT;
	room = *count;
	found = nvml_clients(device->index, clients, STATE_PROCESSES);
	*count = found < room ? found : room;
	for (unsigned int i = 0; i < *count; i++)
		fill(&rows[i], &clients[i]);
	return NVML_SUCCESS;
}

static nvmlReturn_t list_none(nvmlDevice_t device, unsigned int *count, struct smi_process *rows)
{
	(void)rows;
	return answer_zero(device, count);
}

nvmlReturn_t nvmlInternalGetExportTable(const void **table, const void *id)
{
	static uintptr_t words[WORDS];

	if (!table || !id)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (memcmp(id, table_id, sizeof table_id) != 0)
		return NVML_ERROR_NOT_FOUND;
	for (int slot = 1; slot < WORDS; slot++)
		words[slot] = (uintptr_t)answer_zero;
	words[SLOT_JOINED_BY] = (uintptr_t)joined_by;
	words[SLOT_NUMA_ID] = (uintptr_t)not_supported;
	words[SLOT_LOG] = (uintptr_t)accept;
	words[SLOT_MONITORED] = (uintptr_t)monitored;
	words[SLOT_SAMPLES] = (uintptr_t)no_samples;
	words[SLOT_HANDLE_BY_INDEX] = (uintptr_t)nvmlDeviceGetHandleByIndex_v2;
	words[SLOT_PROCESSES] = (uintptr_t)list_processes;
	words[SLOT_PROCESSES + 1] = (uintptr_t)list_none;
	words[SLOT_PROCESSES + 2] = (uintptr_t)list_none;
	words[SLOT_RELAXED_ORDERING] = (uintptr_t)relaxed_ordering;
	words[SLOT_SPARSE_MODE] = (uintptr_t)not_supported;
	words[0] = TABLE_BYTES;
	*table = words;
	return NVML_SUCCESS;
}
