/* libhami-mock.so: scripted faults of a state file (interface.h). */
#include <errno.h>

#include "clock.h"
#include "lock.h"
#include "machine.h"

#define EXPORT __attribute__((visibility("default")))

/* Changes of the fault table exclude each other by the lock on the table of processes. */
static int open_locked(struct machine *machine, const char *path)
{
	int failure = machine_open(machine, path);

	if (!failure && !lock_table(machine->file)) {
		failure = errno;
		machine_close(machine);
	}
	return failure;
}

static void close_locked(struct machine *machine)
{
	atomic_fetch_add(&machine->state->generation, 1);
	unlock_table(machine->file);
	machine_close(machine);
}

EXPORT int mock_add_fault(const char *path, const struct mock_fault *fault, uint32_t *place)
{
	struct mock_fault from_now = *fault;
	struct machine machine;
	int failure = open_locked(&machine, path);
	int found;

	if (failure)
		return failure;
	from_now.at_ns += clock_now(machine.state);
	found = fault_add(machine.state, &from_now);
	fault_tick(machine.state);
	close_locked(&machine);
	if (found < 0)
		return ENOSPC;
	*place = (uint32_t)found;
	return 0;
}

static int change_fault(const char *path, uint32_t place, void (*change)(struct state *, unsigned))
{
	struct machine machine;
	int failure = open_locked(&machine, path);

	if (failure)
		return failure;
	if (place >= FAULTS || atomic_load(&machine.state->faults.fault[place].stage) == FAULT_FREE)
		failure = ENOENT;
	else
		change(machine.state, place);
	close_locked(&machine);
	return failure;
}

EXPORT int mock_release_fault(const char *path, uint32_t place)
{
	return change_fault(path, place, fault_release);
}

EXPORT int mock_remove_fault(const char *path, uint32_t place)
{
	return change_fault(path, place, fault_remove);
}

static uint32_t read_faults(struct state *state, struct mock_fault_status *statuses, uint32_t room)
{
	uint32_t found = 0;

	for (uint32_t place = 0; place < FAULTS; place++) {
		struct state_fault *fault = &state->faults.fault[place];
		uint32_t stage = atomic_load(&fault->stage);

		if (stage == FAULT_FREE)
			continue;
		if (found < room)
			statuses[found] = (struct mock_fault_status){
				.fault = fault->fault,
				.place = place,
				.stage = stage,
				.seen = atomic_load(&fault->seen),
				.fired = atomic_load(&fault->fired),
				.delayed_ns = atomic_load(&fault->delayed_ns),
			};
		found++;
	}
	return found;
}

EXPORT int mock_faults(const char *path, struct mock_fault_status *statuses, uint32_t *count, struct mock_health *health)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	fault_tick(machine.state);
	*count = read_faults(machine.state, statuses, *count);
	for (unsigned device = 0; device < machine.state->facts.chips; device++) {
		struct state_health *now = &machine.state->faults.health[device];

		health[device] = (struct mock_health){
			.condition = atomic_load(&now->condition),
			.last_xid = (uint32_t)atomic_load(&now->last_xid),
			.corrected = atomic_load(&now->corrected),
			.uncorrected = atomic_load(&now->uncorrected),
		};
	}
	machine_close(&machine);
	return 0;
}

EXPORT int mock_restore(const char *path, uint32_t gpu)
{
	struct machine machine;
	int failure = open_locked(&machine, path);

	if (failure)
		return failure;
	if (gpu < machine.state->facts.chips)
		fault_restore(machine.state, gpu);
	else
		failure = ENOENT;
	close_locked(&machine);
	return failure;
}

EXPORT int mock_rearm(const char *path)
{
	struct machine machine;
	int failure = open_locked(&machine, path);

	if (failure)
		return failure;
	for (unsigned place = 0; place < FAULTS; place++)
		fault_remove(machine.state, place);
	for (unsigned device = 0; device < machine.state->facts.chips; device++)
		fault_restore(machine.state, device);
	atomic_store(&machine.state->faults.away_until_ns, 0);
	fault_begin(machine.state);
	close_locked(&machine);
	return 0;
}
