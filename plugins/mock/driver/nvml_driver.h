/*
 * What the files of the simulated libnvidia-ml share. NVML is a reader: it changes nothing of the machine but drops what dead processes held.
 * Every call is rare and slow by nature, so one lock serialises what touches the state file.
 */
#ifndef HAMI_MOCK_NVML_DRIVER_H
#define HAMI_MOCK_NVML_DRIVER_H

#include <stdbool.h>

#include "account.h"
#include "entry.h"
#include "machine.h"

#define FUNCTION(name) RENAMED(name)
#include "nvml_functions.def"
#undef FUNCTION

#include "nvml_abi.h"

struct nvmlDevice_st {
	unsigned int index;
};

/* The machine while initialised, else NULL: also after a reload of the driver, until nvmlInit is called anew. */
struct state *nvml_state(void);

/* Whether this is the address of a handle of ours. */
bool nvml_is_device(const void *address);

/* The chip behind a handle, or NULL and the reason in *failure: not initialised, no such device, lost, or in want of a reset. */
const struct mock_chip *nvml_chip(nvmlDevice_t device, nvmlReturn_t *failure);

/* Why nothing can be said of a device that there is: NVML_SUCCESS if it is well. */
nvmlReturn_t nvml_trouble(struct state *state, unsigned int index);

/* Memory errors of one sort since the machine was made or the GPU restored. */
static inline uint64_t nvml_ecc_errors(unsigned int index, bool uncorrected)
{
	struct state_health *health = &nvml_state()->faults.health[index];

	return atomic_load(uncorrected ? &health->uncorrected : &health->corrected);
}

nvmlDevice_t nvml_handle(unsigned int index);

enum { NVML_NODE_CPUS = 16 };                   /* processors of a NUMA node */

/* The address of a GPU. */
void nvml_describe_pci(const struct mock_chip *chip, nvmlPciInfo_t *info);

/* Percent of a period that BUSY_NS are. */
static inline unsigned int nvml_percent(uint64_t busy_ns, uint64_t period_us)
{
	uint64_t found = busy_ns / (period_us * 10);

	return found > 100 ? 100 : (unsigned int)found;
}

/* Percent of the last sampling period in which a GPU was busy. */
unsigned int nvml_busy(unsigned int index);

/* Text into a buffer, or why not. */
nvmlReturn_t nvml_text(char *buffer, unsigned int length, const char *text);

/* Physical memory in use by all living processes. */
uint64_t nvml_memory_used(unsigned int index);

/* A living process that holds something of a device, or a ghost that seems to. */
struct nvml_client {
	unsigned int pid;
	uint64_t bytes;
};

/* Up to ROOM of them; returns how many there are. */
unsigned int nvml_clients(unsigned int index, struct nvml_client *clients, unsigned int room);

#endif
