/*
 * How busy a device was, and for whom: nanoseconds of kernel time by process and device, in buckets of 5 ms that reach ten seconds back.
 *
 * A lane is one process on one device. Its owner writes it, alone; anybody reads. The work at its end, which may reach into the future, is a
 * span of its own, and goes to the buckets once other work follows: so a kernel that runs for a minute costs no more than one that runs for
 * a microsecond. Work of one process that overlaps counts once. Processes that have work at the same time get a share each; what was submitted before
 * another one came keeps its pace, which evens out as soon as both submit again. A lane outlives its process until the row is claimed again: what it did still counts for the device.
 */
#ifndef HAMI_MOCK_UTILISATION_H
#define HAMI_MOCK_UTILISATION_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

struct state;

enum { UTILISATION_BUCKETS = 2048, UTILISATION_BUCKET_NS = 5000000 };

struct state_lane {
	alignas(64) _Atomic uint32_t turn;      /* odd while the span is written */
	_Atomic uint32_t running;               /* 1 unless the lane was stopped: its process is gone */
	_Atomic uint64_t since;                 /* when the process came; before that the buckets are somebody else's */
	_Atomic uint64_t from, until;           /* the span */
	_Atomic uint64_t busy;                  /* nanoseconds of it that were this process's */
	_Atomic uint64_t total;                 /* nanoseconds of all spans before it, since the process came */
	_Atomic uint64_t launches;
	_Atomic uint64_t bucket[UTILISATION_BUCKETS];   /* number of the bucket << 24 | nanoseconds in it */
};

/* By the owner: work from START to END, of which BUSY nanoseconds were its own. Starts do not fall. */
void utilisation_add(struct state_lane *lane, uint64_t start, uint64_t end, uint64_t busy);

/* A process came, or went: under the table lock. */
void utilisation_start(struct state_lane *lane, uint64_t now);
void utilisation_stop(struct state_lane *lane, uint64_t now);

/* Busy nanoseconds in the window FROM to UNTIL (of timing_now(); the last ten seconds are kept), of one process and of the whole device. */
uint64_t utilisation_of_process(struct state *state, unsigned row, unsigned device, uint64_t from, uint64_t until);
uint64_t utilisation_of_device(struct state *state, unsigned device, uint64_t from, uint64_t until);

/* Busy nanoseconds since the process came, as of NOW. */
uint64_t utilisation_total(struct state *state, unsigned row, unsigned device, uint64_t now);

/* How many processes other than ROW have work on DEVICE at NOW. */
unsigned utilisation_others(struct state *state, unsigned row, unsigned device, uint64_t now);

#endif
