/* See clock.h. */
#include "clock.h"

#include "state.h"

uint64_t clock_now(struct state *state)
{
	uint64_t started = atomic_load_explicit(&state->clock_started_ns, memory_order_relaxed);
	uint64_t now = timing_now();

	return now < started ? 0 : timing_to_simulated(state, now - started);   /* less: the computer was started anew, the file was kept */
}

void clock_start(struct state *state)
{
	atomic_store_explicit(&state->clock_started_ns, timing_now(), memory_order_relaxed);
}
