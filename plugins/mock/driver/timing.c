/* See timing.h. */
#define _GNU_SOURCE
#include "timing.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "state.h"

uint64_t timing_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct state_kernel *find(struct state_timing *timing, const char *name)
{
	uint32_t kernels = atomic_load_explicit(&timing->kernels, memory_order_acquire);

	for (uint32_t i = 0; i < kernels; i++)
		if (strcmp(timing->kernel[i].name, name) == 0)
			return &timing->kernel[i];
	return NULL;
}

uint64_t timing_duration(struct state *state, const char *name)
{
	struct state_kernel *kernel = find(&state->timing, name);

	return atomic_load(kernel ? &kernel->duration_ns : &state->timing.kernel_ns);
}

static uint64_t scale_of(struct state *state)
{
	uint64_t scale = atomic_load_explicit(&state->timing.scale_ppm, memory_order_relaxed);

	return scale ? scale : TIMING_REAL;
}

static uint64_t scaled(uint64_t value, uint64_t by, uint64_t over)
{
	return (uint64_t)((unsigned __int128)value * by / over);
}

uint64_t timing_to_real(struct state *state, uint64_t simulated)
{
	return scaled(simulated, scale_of(state), TIMING_REAL);
}

uint64_t timing_to_simulated(struct state *state, uint64_t real)
{
	return scaled(real, TIMING_REAL, scale_of(state));
}

int timing_set(struct state *state, const char *name, uint64_t duration_ns)
{
	struct state_timing *timing = &state->timing;
	struct state_kernel *kernel = name ? find(timing, name) : NULL;
	uint32_t next = atomic_load(&timing->kernels);

	if (!name) {
		atomic_store(&timing->kernel_ns, duration_ns);
	} else if (kernel) {
		atomic_store(&kernel->duration_ns, duration_ns);
	} else if (strlen(name) >= TIMING_NAME) {
		return ENAMETOOLONG;
	} else if (next == TIMING_KERNELS) {
		return ENOSPC;
	} else {
		strcpy(timing->kernel[next].name, name);
		atomic_store(&timing->kernel[next].duration_ns, duration_ns);
		atomic_store_explicit(&timing->kernels, next + 1, memory_order_release);
	}
	atomic_fetch_add(&timing->generation, 1);
	return 0;
}
