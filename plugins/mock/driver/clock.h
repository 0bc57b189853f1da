/* The machine's clock: nanoseconds of simulated time (timing.h) since the machine was made, or its clock was set back. */
#ifndef HAMI_MOCK_CLOCK_H
#define HAMI_MOCK_CLOCK_H

#include <stdint.h>

struct state;

uint64_t clock_now(struct state *state);

/* Zero is now. */
void clock_start(struct state *state);

#endif
