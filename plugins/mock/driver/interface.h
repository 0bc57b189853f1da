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
	uint32_t nvlink_count;                  /* active links, to GPUs or to switches */
	uint32_t nvlink_version;                /* NVML's number: 3.0 is 4, 4.0 is 6, 5.0 is 7 */
	uint32_t nvlink_mbps;                   /* of one link, one way: MB/s */
	uint32_t nvlink_switches;               /* 0: links lead to GPUs; else to so many switches, all to all */
	uint32_t fabric_clique;                 /* 0: no fabric between machines; else the clique's number */
	uint32_t unified;                       /* 1: memory is the host's: NVML does not answer for it */
};

/* One scripted fault (fault.h says what each kind does). Times are on the machine's clock, in nanoseconds. */
struct mock_fault {
	char call[96];                          /* functions that set it off, with * and ?; empty: it comes by the clock */
	uint64_t at_ns;                         /* not before */
	uint64_t nth;                           /* from this matching call on; 0 and 1 are the first */
	uint64_t times;                         /* for so many matching calls; 0: without end */
	uint64_t after_bytes;                   /* only while programs hold more than this */
	uint64_t duration_ns;                   /* slow: so much longer; driver_reload: away so long */
	uint64_t jitter_ns;                     /* slow: more or less by up to this; not above duration_ns */
	uint32_t kind;
	int32_t gpu;                            /* index; -1: any */
	int32_t code;                           /* error: the result; xid and ecc: the Xid */
	uint32_t corrected;                     /* ecc: errors of each sort */
	uint32_t uncorrected;
};

/* One fault of a machine, and what became of it. */
struct mock_fault_status {
	struct mock_fault fault;
	uint32_t place;                         /* its number */
	uint32_t stage;                         /* 1 pending, 2 done */
	uint64_t seen;                          /* matching calls */
	uint64_t fired;
	uint64_t delayed_ns;                    /* slow: what all those calls waited, on the machine's clock */
};

/* What is wrong with one GPU. */
struct mock_health {
	uint32_t condition;                     /* 1 lost, 2 a reset is wanted */
	uint32_t last_xid;
	uint64_t corrected;
	uint64_t uncorrected;
};

/* Load of no real process. */
struct mock_ghost {
	uint64_t bytes;
	uint32_t gpu;
	int32_t pid;                            /* as NVML lists it; 0: memory without a process */
	uint32_t sm;                            /* percent of the GPU's time */
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
	uint64_t seed;                          /* of all random draws */
	uint32_t time_scale_ppm;                /* real nanoseconds for a million simulated ones */
	uint32_t faults;
	struct mock_fault fault[32];            /* armed when the machine is made */
	uint32_t ghosts;
	struct mock_ghost ghost[32];
	char missing[2048];                     /* functions that this driver lacks, each followed by a newline */
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

/*
 * Faults at run time. mock_add_fault says the fault's number in *place (ENOSPC: too many); its at_ns counts from now. mock_release_fault and
 * mock_remove_fault want the number of one there is (ENOENT). mock_faults fills up to *count statuses and health[16], and sets *count.
 * mock_restore makes a GPU well. mock_rearm starts the machine's clock anew with the description's faults and well GPUs.
 */
int mock_add_fault(const char *path, const struct mock_fault *fault, uint32_t *place);
int mock_release_fault(const char *path, uint32_t place);
int mock_remove_fault(const char *path, uint32_t place);
int mock_faults(const char *path, struct mock_fault_status *statuses, uint32_t *count, struct mock_health *health);
int mock_restore(const char *path, uint32_t gpu);
int mock_rearm(const char *path);

#endif
