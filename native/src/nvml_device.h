/* The devices of the grant as NVML shows them: by UUID, in the grant's order. CUDA's side is cuda_device.c's. */
#ifndef VGPU_NVML_DEVICE_H
#define VGPU_NVML_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "nvml_abi.h"

/* Index in the grant of an NVML handle, or -1: not granted, nothing granted, or no handle. Asks the driver each time. */
int vgpu_nvml_index(nvmlDevice_t device);

/* Whether PID, as the driver tells it, is a process of this grant. */
bool vgpu_nvml_is_own(uint32_t pid);

/*
 * The driver's own number of the device that the program knows as ORDINAL. NVML_ERROR_INVALID_ARGUMENT past the end, or the
 * driver's code.
 */
nvmlReturn_t vgpu_nvml_driver_ordinal(unsigned int ordinal, unsigned int *driver_ordinal);

#endif
