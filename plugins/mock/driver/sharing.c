/*
 * See sharing.h. A charge moves by an operation on the books (account.h) whose number is written into the record before: so whoever finds the
 * record after a death in between knows whether the operation happened.
 */
#define _GNU_SOURCE
#include "sharing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account.h"
#include "lock.h"

enum { TAKING = 1, HELD = 2, GIVING_BACK = 3 };

static bool path_of(int file, uint64_t id, char path[PATH_MAX], bool folder)
{
	char link[32], state[PATH_MAX];
	ssize_t length;
	char *slash;
	int written;

	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	length = readlink(link, state, sizeof state - 1);
	if (length <= 0)
		return false;
	state[length] = '\0';
	slash = strrchr(state, '/');
	if (!slash)
		return false;
	*slash = '\0';
	if (folder)
		written = snprintf(path, PATH_MAX, "%s/memory", state);
	else
		written = snprintf(path, PATH_MAX, "%s/memory/%llu", state, (unsigned long long)id);
	return written > 0 && written < PATH_MAX;
}

static int open_file(int file, uint64_t id, int flags)
{
	char path[PATH_MAX];

	return path_of(file, id, path, false) ? open(path, flags | O_RDWR | O_CLOEXEC, 0666) : -1;
}

static void unlink_file(int file, uint64_t id)
{
	char path[PATH_MAX];

	if (path_of(file, id, path, false))
		unlink(path);
}

static int create_file(int file, uint64_t id, uint64_t size)
{
	char folder[PATH_MAX];
	int memory;

	if (!path_of(file, 0, folder, true) || (mkdir(folder, 0777) < 0 && errno != EEXIST))
		return -1;
	memory = open_file(file, id, O_CREAT | O_EXCL);
	if (memory >= 0 && (ftruncate(memory, (off_t)size) < 0 || !lock_memory(memory))) {
		close(memory);
		unlink_file(file, id);
		return -1;
	}
	return memory;
}

static uint32_t used(struct state *state)
{
	return atomic_load_explicit(&state->sharing.used, memory_order_acquire);
}

/* No file, no holder. */
static bool is_held(int file, uint64_t id)
{
	int memory = open_file(file, id, 0);
	bool held = memory >= 0 && memory_is_locked(memory);

	if (memory >= 0)
		close(memory);
	return held;
}

static void shrink(struct state *state)
{
	uint32_t left = used(state);

	while (left && !state->sharing.memory[left - 1].id)
		left--;
	atomic_store_explicit(&state->sharing.used, left, memory_order_release);
}

static void forget(struct state *state, int file, struct state_memory *memory)
{
	unlink_file(file, memory->id);
	atomic_store(&memory->id, 0);
	shrink(state);
}

/* After a death in between: did it happen? False: there is nothing any more. */
static bool resolve(struct state *state, int file, struct state_memory *memory)
{
	bool happened = memory->phase == HELD || account_number(state, memory->actor, memory->device) >= memory->operation;

	if (memory->phase == HELD)
		return true;
	if (happened == (memory->phase == TAKING)) {
		memory->phase = HELD;
		return true;
	}
	forget(state, file, memory);
	return false;
}

/* Before anything else under the table lock: the next operation of a row would make one that never happened look done. */
static void resolve_all(struct state *state, int file)
{
	for (uint32_t i = 0; i < used(state); i++)
		if (state->sharing.memory[i].id)
			resolve(state, file, &state->sharing.memory[i]);
}

static bool begin(struct state *state, int file)
{
	if (!lock_table(file))
		return false;
	resolve_all(state, file);
	return true;
}

static void change_by(struct state *state, struct state_memory *memory, unsigned actor, uint32_t phase, const struct change *change)
{
	memory->actor = actor;
	memory->operation = account_number(state, actor, memory->device) + 1;
	atomic_thread_fence(memory_order_release);
	memory->phase = phase;
	atomic_thread_fence(memory_order_release);
	account_change(state, actor, memory->device, change);
}

static void give_back(struct state *state, int file, struct state_memory *memory)
{
	struct change back = {.shared_requested = -(int64_t)memory->requested, .shared_physical = -(int64_t)memory->physical};

	change_by(state, memory, STATE_TABLE_ROW, GIVING_BACK, &back);
	forget(state, file, memory);
}

static struct state_memory *find(struct state *state, uint64_t id)
{
	for (uint32_t i = 0; i < used(state); i++)
		if (id && atomic_load(&state->sharing.memory[i].id) == id)
			return &state->sharing.memory[i];
	return NULL;
}

static struct state_memory *free_place(struct state *state)
{
	for (uint32_t i = 0; i < SHARING_MEMORY; i++) {
		if (atomic_load(&state->sharing.memory[i].id))
			continue;
		if (i >= used(state))
			atomic_store_explicit(&state->sharing.used, i + 1, memory_order_release);
		return &state->sharing.memory[i];
	}
	return NULL;
}

static void take(struct state *state, struct state_memory *memory, unsigned row, const struct change *held)
{
	struct change move = {.requested = -held->requested,
	                      .physical = -held->physical,
	                      .shared_requested = held->requested,
	                      .shared_physical = held->physical};

	change_by(state, memory, row, TAKING, &move);
	memory->phase = HELD;
}

static uint64_t publish(struct state *state, int file, unsigned row, unsigned device, const struct change *held, uint64_t size, int *file_out)
{
	struct state_memory *memory = free_place(state);
	uint64_t id = atomic_fetch_add(&state->sharing.last_id, 1) + 1;
	struct stat about;

	if (!memory)
		return 0;
	memory->row = row;
	memory->device = device;
	memory->requested = (uint64_t)held->requested;
	memory->physical = (uint64_t)held->physical;
	memory->size = size;
	memory->file = 0;
	memory->operation = UINT64_MAX;
	memory->actor = row;
	memory->phase = TAKING;
	atomic_store_explicit(&memory->id, id, memory_order_release);
	*file_out = create_file(file, id, size);        /* whoever finds the record after a death in between removes the file */
	if (*file_out < 0 || fstat(*file_out, &about) < 0) {
		forget(state, file, memory);
		return 0;
	}
	memory->file = about.st_ino;
	take(state, memory, row, held);
	return id;
}

uint64_t sharing_publish(struct state *state, int file, unsigned row, unsigned device, const struct change *held, uint64_t size,
                         int *memory)
{
	int saved = errno;
	uint64_t id = 0;

	if (begin(state, file)) {
		id = publish(state, file, row, device, held, size, memory);
		unlock_table(file);
	}
	errno = saved;
	return id;
}

static void describe(const struct state_memory *memory, struct shared_memory *about)
{
	*about = (struct shared_memory){memory->id, memory->device, memory->requested, memory->size};
}

int sharing_open(struct state *state, int file, uint64_t id, struct shared_memory *about)
{
	int saved = errno, opened = -1;
	struct state_memory *memory;

	if (!begin(state, file))
		return -1;
	memory = find(state, id);
	if (memory && is_held(file, id)) {
		opened = open_file(file, id, 0);
		describe(memory, about);
	}
	if (opened >= 0)
		lock_memory(opened);
	unlock_table(file);
	errno = saved;
	return opened;
}

bool sharing_recognise(struct state *state, int file, int opened, struct shared_memory *about)
{
	int saved = errno;
	bool found = false;
	struct stat stat;

	if (fstat(opened, &stat) < 0 || !begin(state, file)) {
		errno = saved;
		return false;
	}
	for (uint32_t i = 0; i < used(state) && !found; i++) {
		struct state_memory *memory = &state->sharing.memory[i];

		found = memory->id && memory->file == stat.st_ino && memory->size == (uint64_t)stat.st_size;
		if (found)
			describe(memory, about);
	}
	unlock_table(file);
	errno = saved;
	return found;
}

void sharing_close(struct state *state, int file, unsigned row, uint64_t id)
{
	int saved = errno;
	struct state_memory *memory;

	if (!begin(state, file))
		return;
	memory = find(state, id);
	if (memory) {
		if (memory->row == row)
			memory->row = 0;
		if (!is_held(file, id))
			give_back(state, file, memory);
	}
	unlock_table(file);
	errno = saved;
}

/* An owner that lives and has not let go surely holds it. */
void sharing_collect(struct state *state, int file)
{
	int saved = errno;

	resolve_all(state, file);
	for (uint32_t i = 0; i < used(state); i++) {
		struct state_memory *memory = &state->sharing.memory[i];

		if (memory->id && !memory->row && !is_held(file, memory->id))
			give_back(state, file, memory);
	}
	errno = saved;
}

void sharing_orphan(struct state *state, int file, unsigned row)
{
	resolve_all(state, file);
	for (uint32_t i = 0; i < used(state); i++)
		if (state->sharing.memory[i].id && state->sharing.memory[i].row == row)
			state->sharing.memory[i].row = 0;
	for (uint32_t i = 0; i < SHARING_EVENTS; i++)
		if (atomic_load(&state->sharing.event[i].id) && atomic_load(&state->sharing.event[i].row) == row)
			atomic_store(&state->sharing.event[i].id, 0);
}

bool sharing_in_use(struct state *state)
{
	return used(state) > 0;
}

void sharing_held(struct state *state, unsigned row, unsigned device, struct change *held)
{
	if (!sharing_in_use(state))
		return;
	for (uint32_t i = 0; i < used(state); i++) {
		struct state_memory *memory = &state->sharing.memory[i];

		if (!atomic_load(&memory->id) || memory->row != row || memory->device != device || memory->phase != HELD)
			continue;
		held->requested += (int64_t)memory->requested;
		held->physical += (int64_t)memory->physical;
	}
}

uint64_t sharing_event_begin(struct state *state, int file, unsigned row)
{
	uint64_t id = 0;

	if (!begin(state, file))
		return 0;
	for (uint32_t i = 0; i < SHARING_EVENTS && !id; i++) {
		struct state_event *event = &state->sharing.event[i];

		if (atomic_load(&event->id))
			continue;
		id = atomic_fetch_add(&state->sharing.last_id, 1) + 1;
		atomic_store(&event->done, 0);
		atomic_store(&event->row, row);
		atomic_store_explicit(&event->id, id, memory_order_release);
	}
	unlock_table(file);
	return id;
}

struct state_event *sharing_event(struct state *state, uint64_t id)
{
	for (uint32_t i = 0; id && i < SHARING_EVENTS; i++)
		if (atomic_load(&state->sharing.event[i].id) == id)
			return &state->sharing.event[i];
	return NULL;
}

void sharing_event_end(struct state *state, uint64_t id)
{
	struct state_event *event = sharing_event(state, id);

	if (event)
		atomic_store(&event->id, 0);
}
