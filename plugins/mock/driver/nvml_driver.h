/*
 * What the files of the simulated libnvidia-ml share. NVML is a reader: it changes nothing of the machine but drops what dead processes held.
 * Every call is rare and slow by nature, so one lock serialises what touches the state file.
 */
#ifndef HAMI_MOCK_NVML_DRIVER_H
#define HAMI_MOCK_NVML_DRIVER_H

#include <stdbool.h>

#include "account.h"
#include "machine.h"
#include "nvml_abi.h"

struct nvmlDevice_st {
	unsigned int index;
};

/* The machine while initialised, else NULL. */
struct state *nvml_state(void);

/* The chip behind a handle, or NULL and the reason in *failure: not initialised, or no such device. */
const struct mock_chip *nvml_chip(nvmlDevice_t device, nvmlReturn_t *failure);

nvmlDevice_t nvml_handle(unsigned int index);

/* Text into a buffer, or why not. */
nvmlReturn_t nvml_text(char *buffer, unsigned int length, const char *text);

/* Physical memory in use by all living processes. */
uint64_t nvml_memory_used(unsigned int index);

/* A living process that holds something of a device. */
struct nvml_client {
	unsigned int pid;
	uint64_t bytes;
};

/* Up to ROOM of them; returns how many there are. */
unsigned int nvml_clients(unsigned int index, struct nvml_client *clients, unsigned int room);

#endif
