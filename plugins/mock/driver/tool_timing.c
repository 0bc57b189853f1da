/* libhami-mock.so: kernel times and utilisation of a state file (interface.h). */
#include <errno.h>
#include <string.h>

#include "account.h"
#include "lock.h"
#include "machine.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int mock_set_kernel(const char *path, const char *name, uint64_t duration_ns)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	failure = lock_table(machine.file) ? timing_set(machine.state, name, duration_ns) : errno;
	atomic_fetch_add(&machine.state->generation, 1);
	machine_close(&machine);
	return failure;
}

EXPORT int mock_set_time_scale(const char *path, uint64_t scale_ppm)
{
	struct machine machine;
	int failure = scale_ppm ? machine_open(&machine, path) : ERANGE;

	if (failure)
		return failure;
	atomic_store(&machine.state->timing.scale_ppm, scale_ppm);
	atomic_fetch_add(&machine.state->generation, 1);
	machine_close(&machine);
	return 0;
}

static struct mock_process_use use_of(struct state *state, unsigned row, unsigned device, uint64_t now, uint64_t window)
{
	const struct state_process *process = &state->process[row];

	return (struct mock_process_use){
		.pid = process->pid,
		.device = device,
		.start_time = process->start_time,
		.pid_namespace = process->pid_namespace,
		.busy_ns = utilisation_of_process(state, row, device, now - window, now),
		.total_ns = utilisation_total(state, row, device, now),
		.launches = atomic_load(&state->lane[row][device].launches),
	};
}

EXPORT int mock_utilisation(const char *path, uint64_t window_ns, uint64_t *devices, struct mock_process_use *processes, uint32_t *count)
{
	struct machine machine;
	int failure = machine_open(&machine, path);
	uint32_t room = *count, found = 0;
	uint64_t now = timing_now();

	if (failure)
		return failure;
	account_drop_dead(machine.state, machine.file, 0);
	for (unsigned device = 0; device < machine.state->facts.chips; device++) {
		devices[device] = utilisation_of_device(machine.state, device, now - window_ns, now);
		for (unsigned row = 1; row <= atomic_load(&machine.state->rows); row++) {
			struct mock_process_use use = use_of(machine.state, row, device, now, window_ns);

			if (!atomic_load(&machine.state->process[row].live) || !use.launches)
				continue;
			if (found < room)
				processes[found] = use;
			found++;
		}
	}
	*count = found;
	machine_close(&machine);
	return 0;
}
