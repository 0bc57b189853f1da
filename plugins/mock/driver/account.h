/*
 * Who holds how much of which device. Exact at every instant, whatever dies where.
 *
 * Physical size of one allocation: below 1 MiB a multiple of 512 bytes (the alignment that the driver promises), from there on a multiple
 * of 2 MiB (a large page). A context costs its chip's context_bytes, which nobody requested.
 *
 * Functions that take a file lock it, and such a lock excludes other open files, not threads: threads that share a file take turns.
 */
#ifndef HAMI_MOCK_ACCOUNT_H
#define HAMI_MOCK_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "process.h"
#include "state.h"

/* A change of what a process holds; negative when it gives back. */
struct change {
	int64_t requested;
	int64_t physical;
	int64_t context;                        /* of physical, what contexts take */
	int64_t shared_requested;               /* of the device beside what its processes hold alone (sharing.h) */
	int64_t shared_physical;
};

struct device_use {
	uint64_t requested;
	uint64_t physical;
};

/* The physical size of an allocation. BYTES up to 2^62. */
uint64_t account_physical(uint64_t bytes);

/* What programs can have of a chip at most. */
uint64_t account_capacity(const struct mock_chip *chip);

/*
 * Change what ROW holds of DEVICE. Returns false, and changes nothing, if it would not fit. No system call, no lock, and no waiting for other
 * processes; about 10 ns. Calls for one row must not overlap: the owner's threads take turns.
 */
bool account_change(struct state *state, unsigned row, unsigned device, const struct change *change);

/* What all processes hold of DEVICE, including dead ones that nobody dropped yet. */
struct device_use account_device(struct state *state, unsigned device);

/* The number of the last operation of ROW on DEVICE that took effect, whoever asks. */
uint64_t account_number(struct state *state, unsigned row, unsigned device);

/* What one row holds of DEVICE, as of its last operation, and what it has shared out (sharing.h). */
struct change account_process(struct state *state, unsigned row, unsigned device);

/* Claim a row for SELF and keep its lock. Returns 0 if the table is full. Drops the dead on the way. Rare: takes the table lock. */
unsigned account_join(struct state *state, int file, const struct identity *self);

/* Drop the rows of dead processes, give back what they held, and shared memory that nobody holds any more. OWN is the caller's row or 0. Takes
 * the table lock only if one is dead, or if there is shared memory. */
void account_drop_dead(struct state *state, int file, unsigned own);

/* Make the peaks of all devices what is held now. */
void account_reset_peaks(struct state *state);

#endif
