/* See entry.h. The part that both libraries have alike. */
#include "entry.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

/* Not mapped yet: the first call finds the machine. */
static _Atomic uint32_t unknown = 1;

_Atomic uint32_t *entry_armed = &unknown;

/* Its own mapping, never undone: a trampoline may be looking at it on any thread. No file is kept, so a fork needs no care. */
struct state *entry_state(void)
{
	static _Atomic(struct state *) mapped;
	struct state *state = atomic_load(&mapped);
	struct machine machine;

	if (state)
		return state;
	if (machine_open_own(&machine))
		return NULL;
	close(machine.file);
	if (!atomic_compare_exchange_strong(&mapped, &state, machine.state)) {
		munmap(machine.state, sizeof *machine.state);
		return state;
	}
	__atomic_store_n(&entry_armed, &machine.state->faults.armed, __ATOMIC_RELEASE);
	return machine.state;
}

bool entry_is_missing(const struct state *state, const char *name)
{
	size_t length = strlen(name);
	const char *line = state->facts.missing;

	while (*line) {
		const char *end = strchr(line, '\n');

		if (!end)
			return false;
		if ((size_t)(end - line) == length && memcmp(line, name, length) == 0)
			return true;
		line = end + 1;
	}
	return false;
}

ENTRY_SLOW;
