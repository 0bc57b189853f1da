/* libhami-mock.so: what the Python tool does with a state file (interface.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "account.h"
#include "machine.h"

#define EXPORT __attribute__((visibility("default")))

/* Load of no process is what row 0 has as made: it is nobody's, and never goes. */
static void haunt(struct state *state)
{
	for (uint32_t i = 0; i < state->facts.ghosts; i++) {
		const struct mock_ghost *ghost = &state->facts.ghost[i];
		struct state_version *made = &state->process[0].cell[ghost->gpu].version[0];

		made->device_requested += ghost->bytes;
		made->device_physical += ghost->bytes;
	}
	account_reset_peaks(state);
}

static int fill(int file, const struct mock_facts *facts)
{
	struct state *state;

	if (ftruncate(file, sizeof *state) < 0)
		return errno;
	state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (state == MAP_FAILED)
		return errno;
	state->version = STATE_VERSION;
	state->size = sizeof *state;
	state->facts = *facts;
	atomic_store(&state->timing.scale_ppm, facts->time_scale_ppm);
	haunt(state);
	fault_begin(state);
	state->magic = STATE_MAGIC;
	munmap(state, sizeof *state);
	return 0;
}

EXPORT int mock_create(const char *path, const struct mock_facts *facts)
{
	int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	int failure;

	if (file < 0)
		return errno;
	failure = fill(file, facts);
	close(file);
	return failure;
}

EXPORT int mock_read_facts(const char *path, struct mock_facts *facts)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	*facts = machine.state->facts;
	machine_close(&machine);
	return 0;
}

static void read_devices(struct state *state, struct mock_device_truth *devices)
{
	for (unsigned device = 0; device < state->facts.chips; device++) {
		struct device_use use = account_device(state, device);

		devices[device] = (struct mock_device_truth){
			.requested = use.requested,
			.physical = use.physical,
			.requested_peak = atomic_load(&state->total[device].requested_peak),
			.physical_peak = atomic_load(&state->total[device].physical_peak),
		};
	}
}

static struct mock_process_truth truth_of(struct state *state, unsigned row, unsigned device)
{
	const struct state_process *process = &state->process[row];
	struct change held = account_process(state, row, device);

	return (struct mock_process_truth){
		.pid = process->pid,
		.device = device,
		.start_time = process->start_time,
		.pid_namespace = process->pid_namespace,
		.requested = (uint64_t)held.requested,
		.physical = (uint64_t)held.physical,
		.context = (uint64_t)held.context,
	};
}

static uint32_t read_processes(struct state *state, struct mock_process_truth *processes, uint32_t room)
{
	uint32_t found = 0;

	for (unsigned row = 1; row <= atomic_load(&state->rows); row++) {
		if (!atomic_load(&state->process[row].live))
			continue;
		for (unsigned device = 0; device < state->facts.chips; device++) {
			struct mock_process_truth truth = truth_of(state, row, device);

			if (!truth.physical)
				continue;
			if (found < room)
				processes[found] = truth;
			found++;
		}
	}
	return found;
}

EXPORT int mock_truth(const char *path, struct mock_device_truth *devices, struct mock_process_truth *processes, uint32_t *count)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	account_drop_dead(machine.state, machine.file, 0);
	*count = read_processes(machine.state, processes, *count);
	read_devices(machine.state, devices);           /* after the rows: reading a row settles its device's last operation, peaks too */
	machine_close(&machine);
	return 0;
}

EXPORT int mock_reset_peaks(const char *path)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	account_drop_dead(machine.state, machine.file, 0);
	account_reset_peaks(machine.state);
	machine_close(&machine);
	return 0;
}

EXPORT int mock_set_latency(const char *path, uint64_t latency_ns)
{
	struct machine machine;
	int failure = machine_open(&machine, path);

	if (failure)
		return failure;
	atomic_store(&machine.state->latency_ns, latency_ns);
	atomic_fetch_add(&machine.state->generation, 1);
	machine_close(&machine);
	return 0;
}
