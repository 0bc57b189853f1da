/*
 * The private table that nvidia-smi fetches. It lists devices and processes through slots of it, not through NVML's exported
 * functions, so a program that was given the driver's table would see what is not granted. It gets a copy, as long as the
 * driver's says it is, with those slots replaced. Slot numbers: seen in nvidia-smi 535 and 580; all other slots are the
 * driver's own.
 */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "charge.h"
#include "driver.h"
#include "guest.h"
#include "nvml_device.h"
#include "wrappers.h"

#define TABLE_MOST_BYTES 65536u		/* 4 KiB seen; a longer one is taken for damage and not handed out */
#define SLOT_BY_INDEX 81u
#define SLOT_SAMPLES 145u		/* (device, since, out, count, samples): use of processes, for pmon */
#define SLOT_PROCESSES 213u		/* and the two after it */
#define PROCESS_LISTS 3u
#define ENTRY_BYTES 4128u		/* of a process: pid at 0, bytes at 8, instances at 16 and 20, its name from 32 */
#define ENTRY_USED 8u

static const uint8_t table_id[16] = {
	0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e, 0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4,
};

typedef nvmlReturn_t by_index_function(unsigned int, void *, uintptr_t, uintptr_t, uintptr_t, uintptr_t);
typedef nvmlReturn_t samples_function(nvmlDevice_t, unsigned long long, void *, unsigned int *, void *);
typedef nvmlReturn_t list_function(nvmlDevice_t, unsigned int *, uint8_t *);

/* The driver's slots behind ours; written before the copy is published. */
static by_index_function *driver_by_index;
static samples_function *driver_samples;
static list_function *driver_lists[PROCESS_LISTS];

/* The handle is of the driver's private kind, so its own slot is asked, with its own number of the device. */
static nvmlReturn_t by_index(unsigned int index, void *device, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
	unsigned int driver_index;
	nvmlReturn_t result = vgpu_nvml_driver_ordinal(index, &driver_index);

	return result == NVML_SUCCESS ? driver_by_index(driver_index, device, a, b, c, d) : result;
}

/* How a sample looks is not known, so nobody's can be told from others': all are left out. */
static nvmlReturn_t samples(nvmlDevice_t device, unsigned long long since, void *what, unsigned int *count, void *entries)
{
	nvmlReturn_t result = driver_samples(device, since, what, count, entries);

	if (count)
		*count = 0;
	return result;
}

/* Bytes that process PID of this grant holds of the device at PLACE of the region; 0: none of ours, or holds nothing. */
static uint64_t held_by_pid(const struct vgpu_region *region, uint32_t pid, unsigned place)
{
	for (unsigned i = 0; i < VGPU_MAX_SLOTS; i++) {
		const struct vgpu_region_slot *slot = &region->slots[i];
		uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);

		if ((state & VGPU_SLOT_STATE_MASK) == VGPU_SLOT_LIVE && slot->pid == pid)
			return atomic_load_explicit(&slot->used[place], memory_order_relaxed);
	}
	return 0;
}

/* Keep, in place, the entries of this grant's own processes, with the bytes that we account. */
static unsigned int keep_own(uint8_t *entries, unsigned int count, unsigned index)
{
	const struct vgpu_region *region = vgpu_charge_region();
	unsigned int kept = 0, place = vgpu_place(vgpu_process(), index);

	for (unsigned int i = 0; region && i < count; i++) {
		uint8_t *entry = entries + (size_t)i * ENTRY_BYTES;
		uint32_t pid;
		uint64_t bytes;

		memcpy(&pid, entry, sizeof(pid));
		bytes = held_by_pid(region, pid, place);
		if (!bytes)
			continue;
		memmove(entries + (size_t)kept * ENTRY_BYTES, entry, ENTRY_BYTES);
		memcpy(entries + (size_t)kept * ENTRY_BYTES + ENTRY_USED, &bytes, sizeof(bytes));
		kept++;
	}
	return kept;
}

static nvmlReturn_t list(unsigned which, nvmlDevice_t device, unsigned int *count, uint8_t *entries)
{
	nvmlReturn_t result = driver_lists[which](device, count, entries);
	int index;

	if (result != NVML_SUCCESS || !count)
		return result;
	index = vgpu_nvml_index(device);
	*count = index >= 0 && entries ? keep_own(entries, *count, (unsigned)index) : 0;
	return result;
}

static nvmlReturn_t list_0(nvmlDevice_t device, unsigned int *count, uint8_t *entries)
{
	return list(0, device, count, entries);
}

static nvmlReturn_t list_1(nvmlDevice_t device, unsigned int *count, uint8_t *entries)
{
	return list(1, device, count, entries);
}

static nvmlReturn_t list_2(nvmlDevice_t device, unsigned int *count, uint8_t *entries)
{
	return list(2, device, count, entries);
}

static void replace(void **copy, size_t words, unsigned slot, void *ours, void **driver)
{
	if (slot >= words || !copy[slot])
		return;			/* an older driver's table is shorter */
	*driver = copy[slot];
	copy[slot] = ours;
}

/* NULL: no memory, or no table. The copy is never freed: the program holds its address. */
static void **make_copy(void *const *table)
{
	static list_function *const lists[PROCESS_LISTS] = { list_0, list_1, list_2 };
	uintptr_t bytes = (uintptr_t)table[0];
	void **copy;

	if (bytes < sizeof(void *) || bytes > TABLE_MOST_BYTES)
		return NULL;
	copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return NULL;
	memcpy(copy, table, bytes);
	replace(copy, bytes / sizeof(void *), SLOT_BY_INDEX, (void *)by_index, (void **)&driver_by_index);
	replace(copy, bytes / sizeof(void *), SLOT_SAMPLES, (void *)samples, (void **)&driver_samples);
	for (unsigned i = 0; i < PROCESS_LISTS; i++)
		replace(copy, bytes / sizeof(void *), SLOT_PROCESSES + i, (void *)lists[i], (void **)&driver_lists[i]);
	return copy;
}

nvmlReturn_t vgpu_nvmlInternalGetExportTable(const void **table, const void *id)
{
	static void **copy;		/* under the process' lock; one, as the driver has one */
	struct vgpu_process *process = vgpu_process();
	nvmlReturn_t result = vgpu_nvml.nvmlInternalGetExportTable(table, id);
	struct vgpu_guest guest;

	if (result != NVML_SUCCESS || !table || !*table || memcmp(id, table_id, sizeof(table_id)) != 0)
		return result;
	guest = vgpu_guest_enter();
	pthread_mutex_lock(&process->lock);
	if (!copy)
		copy = make_copy((void *const *)*table);
	*table = copy;
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return copy ? NVML_SUCCESS : NVML_ERROR_UNKNOWN;
}
