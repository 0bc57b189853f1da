/* See event.h. */
#include "event.h"

#include "futex.h"
#include "machine.h"
#include "state.h"

enum { WRITER_DIED_NS = 100000000 };            /* an event that is not whole after so long never will be */

void event_post(struct state *state, unsigned device, uint64_t type, uint64_t data)
{
	struct state_gpu_events *events = &state->events;
	uint64_t number = atomic_fetch_add(&events->posted, 1);
	struct state_gpu_event *entry = &events->ring[number % EVENTS_KEPT];

	atomic_store(&entry->sequence, 0);
	atomic_store(&entry->type, type);
	atomic_store(&entry->data, data);
	atomic_store(&entry->device, device);
	atomic_store(&entry->sequence, number + 1);
	atomic_fetch_add(&events->bell, 1);
	futex_wake(&events->bell);
}

uint64_t event_next(struct state *state)
{
	return atomic_load(&state->events.posted);
}

/* False: its writer has not finished, or it was overwritten meanwhile. */
static bool read_whole(const struct state_gpu_event *entry, uint64_t number, struct event *event)
{
	if (atomic_load(&entry->sequence) != number + 1)
		return false;
	event->type = atomic_load(&entry->type);
	event->data = atomic_load(&entry->data);
	event->device = (unsigned)atomic_load(&entry->device);
	return atomic_load(&entry->sequence) == number + 1;
}

bool event_read(struct state *state, uint64_t *number, struct event *event)
{
	uint64_t posted;

	while (*number < (posted = event_next(state))) {
		uint64_t mine;

		if (posted - *number > EVENTS_KEPT)
			*number = posted - EVENTS_KEPT;
		mine = (*number)++;
		for (uint64_t waited = 0; waited < WRITER_DIED_NS; waited += 1000000) {
			if (read_whole(&state->events.ring[mine % EVENTS_KEPT], mine, event))
				return true;
			machine_sleep(1000000);
		}
	}
	return false;
}

void event_wait(struct state *state, uint64_t number, uint64_t nanoseconds)
{
	uint32_t bell = atomic_load(&state->events.bell);

	if (event_next(state) == number)
		futex_wait(&state->events.bell, bell, nanoseconds);
}
