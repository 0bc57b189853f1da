/*
 * libnvidia-ml: the table that nvidia-smi asks for when it starts. It is not documented; what is known was seen by handing the program a table
 * of our own and looking which slots it calls with what (535.261.03). Word 0 is the table's size in bytes, the others are functions.
 */
#include "nvml_driver.h"

#include <string.h>

enum {
	TABLE_BYTES = 0x1000,
	WORDS = TABLE_BYTES / 8,
	SLOT_LOG = 26,
	SLOT_HANDLE_BY_INDEX = 81,
	SLOT_RELAXED_ORDERING = 165,            /* (device, number, out) */
	SLOT_PROCESSES = 213,                   /* and the two after it: compute, graphics, MPS; which is which does not matter here */
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

static nvmlReturn_t relaxed_ordering(nvmlDevice_t device, unsigned int which, unsigned int *value)
{
	(void)which;
	return answer_zero(device, value);
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
	words[SLOT_LOG] = (uintptr_t)accept;
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
