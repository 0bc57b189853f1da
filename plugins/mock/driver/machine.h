/* Where this library finds its machine: the file `../state` beside the folder that the library itself lies in. No environment. */
#ifndef HAMI_MOCK_MACHINE_H
#define HAMI_MOCK_MACHINE_H

#include <stdbool.h>

#include "state.h"

struct machine {
	struct state *state;
	int file;                               /* -1: not open */
	int pid;                                /* the process that opened it: locks are shared across fork, so a child opens its own */
};

/* Map the state file PATH. Returns 0, or an errno value; EINVAL if it is no state of this version. */
int machine_open(struct machine *machine, const char *path);
void machine_close(struct machine *machine);

/* Map the state beside the library that holds this code. */
int machine_open_own(struct machine *machine);

void machine_sleep(uint64_t nanoseconds);

/* Sleep as long as the tool wants every driver call to take. */
static inline void machine_delay(struct state *state)
{
	uint64_t delay = atomic_load_explicit(&state->latency_ns, memory_order_relaxed);

	if (delay)
		machine_sleep(delay);
}

#endif
