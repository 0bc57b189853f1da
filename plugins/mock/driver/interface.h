/*
 * What the Python tool and the driver libraries agree on: the facts of a machine as compiled from its description, the ground truth read
 * back, and the functions of libhami-mock.so. Python reads this very file through cffi (ABI mode), so it holds declarations only: fixed-width
 * fields, sizes as plain numbers, no macro beside the include guard. Not here: the layout of the shared file (state.h).
 *
 * Memory is in bytes. "Requested" is what programs asked for; "physical" is what it takes on the device: rounded up, and with the overhead
 * of contexts (account.h says how).
 */
#ifndef HAMI_MOCK_INTERFACE_H
#define HAMI_MOCK_INTERFACE_H

#include <stdint.h>

/* One GPU. Constant once the machine exists. */
struct mock_chip {
	char name[96];
	char serial[32];
	uint8_t uuid[16];
	uint64_t memory_bytes;                  /* as nvidia-smi shows it */
	uint64_t reserved_bytes;                /* of that, never free to programs */
	uint64_t context_bytes;                 /* physical cost of one context */
	uint32_t pci_domain;
	uint32_t pci_bus;
	uint32_t pci_slot;
	uint32_t pci_device_id;                 /* device << 16 | vendor */
	uint32_t pci_subsystem_id;
	uint32_t minor;                         /* /dev/nvidia<minor> */
	int32_t numa;                           /* -1: unknown */
	uint32_t architecture;                  /* NVML's number: Turing 6, Ampere 7, Hopper 9 */
	uint32_t brand;                         /* NVML's number */
	uint32_t temperature;                   /* degrees Celsius, idle */
	uint32_t power_idle_mw;
	uint32_t power_limit_mw;
	uint32_t clock_graphics_mhz;            /* highest */
	uint32_t clock_memory_mhz;              /* highest */
	uint32_t pcie_generation;
	uint32_t pcie_width;
	uint32_t cores;                         /* CUDA cores */
	uint32_t ecc;                           /* 0 not supported, 1 off, 2 on */
	uint32_t mig;                           /* 0 not supported, 1 off */
	uint32_t fan;                           /* 1: the board has one */
	int32_t attributes[160];                /* by CUdevice_attribute; what is not set is 0 */
	uint8_t common_ancestor[16];            /* by index of the other GPU: NVML's topology level */
	uint8_t nvlinks[16];                    /* by index of the other GPU: NVLinks towards it */
};

/* One machine. */
struct mock_facts {
	char name[64];
	char driver_version[32];
	char nvml_version[32];
	uint8_t digest[32];                     /* of the description: the same digest means the same machine */
	uint32_t cuda_version;                  /* 13000 is 13.0 */
	uint32_t chips;
	struct mock_chip chip[16];
};

/* What one GPU holds now, and has held at most since the machine was made or its peaks were reset. */
struct mock_device_truth {
	uint64_t requested;
	uint64_t physical;
	uint64_t requested_peak;
	uint64_t physical_peak;
};

/* What one live process holds on one GPU. */
struct mock_process_truth {
	int32_t pid;                            /* as the process itself sees it */
	uint32_t device;
	uint64_t start_time;                    /* clock ticks since boot: /proc/<pid>/stat, field 22 */
	uint64_t pid_namespace;                 /* inode */
	uint64_t requested;
	uint64_t physical;                      /* with contexts */
	uint64_t context;                       /* of that, for contexts */
};

/* How long one live process kept one GPU busy. */
struct mock_process_use {
	int32_t pid;
	uint32_t device;
	uint64_t start_time;
	uint64_t pid_namespace;
	uint64_t busy_ns;                       /* in the window that was asked for */
	uint64_t total_ns;                      /* since it came */
	uint64_t launches;
};

/*
 * All return 0, or an errno value: EINVAL means "no state of this version".
 * mock_create writes a complete state file; the caller gives it its name afterwards, so that no one sees half of it.
 * mock_truth first drops what dead processes held. It fills devices[16] and up to *count processes, and sets *count to the number there are.
 * mock_reset_peaks makes every peak the present value. mock_set_latency makes every driver call on memory or contexts take so much longer.
 */
int mock_create(const char *path, const struct mock_facts *facts);
int mock_read_facts(const char *path, struct mock_facts *facts);
int mock_truth(const char *path, struct mock_device_truth *devices, struct mock_process_truth *processes, uint32_t *count);
int mock_reset_peaks(const char *path);
int mock_set_latency(const char *path, uint64_t latency_ns);

/*
 * mock_set_kernel gives the kernels of a name their duration in nanoseconds of simulated time, or with NULL all that have none of their own:
 * ENOSPC when 64 names have one, ENAMETOOLONG from 120 bytes on. mock_set_time_scale says how many real nanoseconds a million simulated ones
 * take: 1000000 is real time, 1000 a thousand times as fast; ERANGE for 0.
 * mock_utilisation looks back over WINDOW_NS, ten seconds at most: busy nanoseconds of devices[16], and of up to *count processes that have
 * launched something; it sets *count to the number there are.
 */
int mock_set_kernel(const char *path, const char *name, uint64_t duration_ns);
int mock_set_time_scale(const char *path, uint64_t scale_ppm);
int mock_utilisation(const char *path, uint64_t window_ns, uint64_t *devices, struct mock_process_use *processes, uint32_t *count);

#endif
