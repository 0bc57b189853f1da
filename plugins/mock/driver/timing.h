/*
 * The machine's clock and how long its kernels take. A kernel has the duration of its name if it was given one, else the machine's. All
 * durations are nanoseconds of simulated time; the scale says how much real time that takes, so that a test need not wait.
 */
#ifndef HAMI_MOCK_TIMING_H
#define HAMI_MOCK_TIMING_H

#include <stdatomic.h>
#include <stdint.h>

struct state;

enum { TIMING_KERNELS = 64, TIMING_NAME = 120, TIMING_REAL = 1000000 };

/* A kernel's duration by name. Written under the table lock; seen once `kernels` has grown. */
struct state_kernel {
	char name[TIMING_NAME];
	_Atomic uint64_t duration_ns;
};

/* Written by the tool. */
struct state_timing {
	_Atomic uint64_t generation;            /* rises with every change; 0: every kernel is done at once */
	_Atomic uint64_t kernel_ns;             /* of kernels without a duration of their own */
	_Atomic uint64_t scale_ppm;             /* real nanoseconds for a million simulated ones; 0 stands for TIMING_REAL */
	_Atomic uint32_t kernels;
	uint32_t unused;
	struct state_kernel kernel[TIMING_KERNELS];
};

/* Nanoseconds of the machine's clock: CLOCK_MONOTONIC, the same for all processes of a host. */
uint64_t timing_now(void);

/* How long a kernel of that name takes, in simulated time. */
uint64_t timing_duration(struct state *state, const char *name);

uint64_t timing_to_real(struct state *state, uint64_t simulated);
uint64_t timing_to_simulated(struct state *state, uint64_t real);

/* Give a kernel its duration, or with NULL all that have none of their own. Under the table lock. Returns 0, ENOSPC or ENAMETOOLONG. */
int timing_set(struct state *state, const char *name, uint64_t duration_ns);

#endif
