/*
 * See account.h. How it stays exact without a lock:
 *
 * An operation of row r on a device writes the totals that the device and the row shall have into the row's own cell, into the version
 * that is not in force, and then makes them true by one compare and swap of `latest` to (number, r). So nothing is ever half done: before the
 * swap nothing has happened, after it everything has. Whether it happened must not be forgotten when the next operation replaces `latest`,
 * so everybody who is about to replace it first *settles* it: raises the row's `committed` to that number, and the peaks.
 *
 * A version in force is not overwritten: its owner writes the other one, and only comes back to it after `latest` has moved on. Readers
 * therefore read the version and then look whether `latest` is still the same; if not, what they read counts for nothing.
 */
#include "account.h"

#include <stdatomic.h>

#include "lock.h"

#define SMALL_LIMIT (1ULL << 20)
#define SMALL_GRANULE 512ULL
#define LARGE_GRANULE (2ULL << 20)

static inline uint64_t get(const _Atomic uint64_t *field)
{
	return atomic_load_explicit((_Atomic uint64_t *)field, memory_order_relaxed);
}

static inline void put(_Atomic uint64_t *field, uint64_t value)
{
	atomic_store_explicit(field, value, memory_order_relaxed);
}

static inline uint64_t operation(unsigned row, uint64_t number)
{
	return number << 16 | row;
}

static inline struct state_cell *cell_of(struct state *state, uint64_t latest, unsigned device)
{
	return &state->process[latest & 0xffff].cell[device];
}

static inline struct state_version *version_of(struct state *state, uint64_t latest, unsigned device)
{
	return &cell_of(state, latest, device)->version[latest >> 16 & 1];
}

/* True if everything read since `latest` was SEEN was read from versions in force. Pairs with the fence in prepare(). */
static inline bool still(struct state_total *total, uint64_t seen)
{
	atomic_thread_fence(memory_order_acquire);
	return get(&total->latest) == seen;
}

static inline void raise_to(_Atomic uint64_t *field, uint64_t value)
{
	uint64_t now = get(field);

	while (now < value && !atomic_compare_exchange_weak_explicit(field, &now, value, memory_order_relaxed, memory_order_relaxed))
		;
}

static inline void raise_peaks(struct state_total *total, const struct device_use *use)
{
	raise_to(&total->requested_peak, use->requested);
	raise_to(&total->physical_peak, use->physical);
}

/* Write down that operation SEEN took effect. Any number of processes may do so at once; late ones change nothing. */
static inline void settle(struct state *state, unsigned device, uint64_t seen)
{
	struct state_total *total = &state->total[device];
	struct state_version *version = version_of(state, seen, device);
	struct device_use use = {get(&version->device_requested), get(&version->device_physical)};
	uint64_t before = (seen >> 16) - 1;

	if (!still(total, seen))
		return;                         /* somebody replaced it, and has settled it before */
	raise_peaks(total, &use);
	if (seen >> 16 && get(&cell_of(state, seen, device)->committed) == before)
		atomic_compare_exchange_strong_explicit(&cell_of(state, seen, device)->committed, &before, before + 1,
		                                        memory_order_release, memory_order_relaxed);
}

/* Fill the cell's idle version. The fence keeps these stores behind the swap that took the version out of force; see still(). */
static inline void prepare(struct state_version *next, const struct state_version *own, const struct device_use *use,
                           const struct device_use *shared, const struct change *change)
{
	atomic_thread_fence(memory_order_release);
	put(&next->device_requested, use->requested);
	put(&next->device_physical, use->physical);
	put(&next->shared_requested, shared->requested);
	put(&next->shared_physical, shared->physical);
	put(&next->requested, get(&own->requested) + (uint64_t)change->requested);
	put(&next->physical, get(&own->physical) + (uint64_t)change->physical);
	put(&next->context, get(&own->context) + (uint64_t)change->context);
}

uint64_t account_physical(uint64_t bytes)
{
	uint64_t granule = bytes < SMALL_LIMIT ? SMALL_GRANULE : LARGE_GRANULE;

	return (bytes + granule - 1) & ~(granule - 1);
}

uint64_t account_capacity(const struct mock_chip *chip)
{
	return chip->memory_bytes - chip->reserved_bytes;
}

bool account_change(struct state *state, unsigned row, unsigned device, const struct change *change)
{
	struct state_total *total = &state->total[device];
	struct state_cell *mine = &state->process[row].cell[device];
	uint64_t capacity = account_capacity(&state->facts.chip[device]);
	uint64_t number = get(&mine->committed) + 1;
	uint64_t seen = atomic_load_explicit(&total->latest, memory_order_acquire);
	int64_t growth = change->physical + change->shared_physical;

	for (;;) {
		struct state_version *base = version_of(state, seen, device);
		struct device_use use = {get(&base->device_requested) + (uint64_t)(change->requested + change->shared_requested),
		                         get(&base->device_physical) + (uint64_t)growth};
		struct device_use shared = {get(&base->shared_requested) + (uint64_t)change->shared_requested,
		                            get(&base->shared_physical) + (uint64_t)change->shared_physical};
		uint64_t next = operation(row, number);

		if (growth > 0 && use.physical > capacity) {
			if (still(total, seen))
				return false;
			seen = atomic_load_explicit(&total->latest, memory_order_acquire);
			continue;
		}
		settle(state, device, seen);
		prepare(&mine->version[number & 1], &mine->version[(number - 1) & 1], &use, &shared, change);
		if (atomic_compare_exchange_strong_explicit(&total->latest, &seen, next, memory_order_acq_rel, memory_order_acquire)) {
			raise_peaks(total, &use);
			/* Others may have settled it meanwhile, but none beyond it: only this row's next operation would. */
			atomic_store_explicit(&mine->committed, number, memory_order_release);
			return true;
		}
	}
}

struct device_use account_device(struct state *state, unsigned device)
{
	struct state_total *total = &state->total[device];
	struct device_use use;
	uint64_t seen;

	do {
		seen = atomic_load_explicit(&total->latest, memory_order_acquire);
		use.requested = get(&version_of(state, seen, device)->device_requested);
		use.physical = get(&version_of(state, seen, device)->device_physical);
	} while (!still(total, seen));
	return use;
}

/* What the row itself holds, without what it has shared out. */
static struct change own_of(struct state *state, unsigned row, unsigned device)
{
	struct state_cell *cell = &state->process[row].cell[device];
	struct state_version *version;
	struct change held;
	uint64_t number;

	settle(state, device, atomic_load_explicit(&state->total[device].latest, memory_order_acquire));
	do {
		number = atomic_load_explicit(&cell->committed, memory_order_acquire);
		version = &cell->version[number & 1];
		held = (struct change){.requested = (int64_t)get(&version->requested),
		                       .physical = (int64_t)get(&version->physical),
		                       .context = (int64_t)get(&version->context)};
		atomic_thread_fence(memory_order_acquire);
	} while (get(&cell->committed) != number);
	return held;
}

uint64_t account_number(struct state *state, unsigned row, unsigned device)
{
	settle(state, device, atomic_load_explicit(&state->total[device].latest, memory_order_acquire));
	return atomic_load_explicit(&state->process[row].cell[device].committed, memory_order_acquire);
}

struct change account_process(struct state *state, unsigned row, unsigned device)
{
	struct change held = own_of(state, row, device);

	sharing_held(state, row, device, &held);
	return held;
}


static struct identity identity_of(const struct state_process *process)
{
	return (struct identity){process->pid, process->start_time, process->pid_namespace};
}

static bool is_dead(struct state *state, int file, unsigned row, const struct identity *self)
{
	struct identity who = identity_of(&state->process[row]);

	return !row_is_locked(file, row) || process_is_gone(&who, self);
}

/* Under the table lock, so that one reaper at a time acts in the dead owner's name. Dying in between loses nothing: the next one goes on. */
static void drop(struct state *state, int file, unsigned row)
{
	sharing_orphan(state, file, row);
	for (unsigned device = 0; device < state->facts.chips; device++) {
		struct change held = own_of(state, row, device);
		struct change back = {.requested = -held.requested, .physical = -held.physical, .context = -held.context};

		utilisation_stop(&state->lane[row][device], timing_now());
		if (held.requested || held.physical)
			account_change(state, row, device, &back);
	}
	atomic_store_explicit(&state->process[row].live, 0, memory_order_release);
}

static unsigned rows(struct state *state)
{
	return (unsigned)atomic_load_explicit(&state->rows, memory_order_acquire);
}

static bool is_live(struct state *state, unsigned row)
{
	return atomic_load_explicit(&state->process[row].live, memory_order_acquire);
}

static void drop_dead_locked(struct state *state, int file, unsigned own, const struct identity *self)
{
	for (unsigned row = 1; row <= rows(state); row++)
		if (row != own && is_live(state, row) && is_dead(state, file, row, self))
			drop(state, file, row);
	sharing_collect(state, file);
}

static bool is_one_dead(struct state *state, int file, unsigned own)
{
	struct identity self = {0};

	for (unsigned row = 1; row <= rows(state); row++) {
		if (row == own || !is_live(state, row))
			continue;
		if (!self.pid)
			self = process_self();
		if (is_dead(state, file, row, &self))
			return true;
	}
	return false;
}

void account_drop_dead(struct state *state, int file, unsigned own)
{
	struct identity self;

	if (!sharing_in_use(state) && !is_one_dead(state, file, own))
		return;
	self = process_self();
	if (!lock_table(file))
		return;
	drop_dead_locked(state, file, own, &self);
	unlock_table(file);
}

static unsigned claim(struct state *state, int file, const struct identity *self)
{
	for (unsigned row = 1; row < STATE_TABLE_ROW; row++) {
		struct state_process *process = &state->process[row];

		if (is_live(state, row) || !lock_row(file, row))
			continue;
		process->pid = self->pid;
		process->start_time = self->start_time;
		process->pid_namespace = self->pid_namespace;
		for (unsigned device = 0; device < state->facts.chips; device++)
			utilisation_start(&state->lane[row][device], timing_now());
		if (row > rows(state))
			atomic_store_explicit(&state->rows, row, memory_order_release);
		atomic_store_explicit(&process->live, 1, memory_order_release);
		return row;
	}
	return 0;
}

unsigned account_join(struct state *state, int file, const struct identity *self)
{
	unsigned row;

	if (!lock_table(file))
		return 0;
	drop_dead_locked(state, file, 0, self);
	row = claim(state, file, self);
	unlock_table(file);
	return row;
}

void account_reset_peaks(struct state *state)
{
	for (unsigned device = 0; device < state->facts.chips; device++) {
		struct device_use use = account_device(state, device);

		put(&state->total[device].requested_peak, use.requested);
		put(&state->total[device].physical_peak, use.physical);
	}
}
