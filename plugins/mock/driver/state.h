/*
 * The layout of the shared state file. One file is one machine; every process that uses the machine maps it.
 *
 * Fixed-width fields, no pointers, no objects of libc: programs with different libcs share the file. A change of layout is a new
 * STATE_VERSION; a file of another version is refused. Facts are constant; who writes the rest is said beside each field.
 */
#ifndef HAMI_MOCK_STATE_H
#define HAMI_MOCK_STATE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "event.h"
#include "fault.h"
#include "interface.h"
#include "sharing.h"
#include "timing.h"
#include "utilisation.h"

#define STATE_MAGIC 0x316b636f6d696d61ULL       /* "amimock1" */
#define STATE_VERSION 2

enum {
	STATE_DEVICES = 16,
	STATE_PROCESSES = 512,                  /* row 0 belongs to nobody: it stands for "as made" */
	STATE_TABLE_ROW = STATE_PROCESSES - 1,  /* nor does this one: whoever holds the table lock acts in it */
};

/* The totals of a device, what of them processes share (sharing.h), and the totals of one process, after one operation of it (account.c). */
struct state_version {
	_Atomic uint64_t device_requested;
	_Atomic uint64_t device_physical;
	_Atomic uint64_t shared_requested;
	_Atomic uint64_t shared_physical;
	_Atomic uint64_t requested;
	_Atomic uint64_t physical;
	_Atomic uint64_t context;
};

/* One process on one device. The version of operation n is version[n & 1]. Written by the owner, or by a reaper of a dead owner. */
struct state_cell {
	alignas(64) _Atomic uint64_t committed; /* number of the last operation that took effect; never falls */
	struct state_version version[2];
};

/* One device. `latest` names the operation that took effect last: its number << 16 | row. Written by all, by compare and swap. */
struct state_total {
	alignas(64) _Atomic uint64_t latest;
	_Atomic uint64_t requested_peak;
	_Atomic uint64_t physical_peak;
};

/*
 * One process. It is claimed and dropped under the table lock (lock.h); while it is live its owner holds the row's own lock, which the
 * kernel takes away when the process ends or executes another program.
 */
struct state_process {
	alignas(64) _Atomic uint32_t live;      /* 0 or 1 */
	int32_t pid;
	uint64_t start_time;
	uint64_t pid_namespace;
	struct state_cell cell[STATE_DEVICES];
};

struct state {
	uint64_t magic;
	uint32_t version;
	uint32_t size;                          /* of the whole file */
	_Atomic uint64_t generation;            /* rises with every change that the tool makes */
	_Atomic uint64_t latency_ns;            /* written by the tool */
	_Atomic uint64_t rows;                  /* highest row ever claimed; written under the table lock, bounds all scans */
	struct mock_facts facts;
	_Atomic uint64_t clock_started_ns;      /* clock.h; written by the tool */
	struct state_faults faults;
	struct state_gpu_events events;
	struct state_total total[STATE_DEVICES];
	struct state_process process[STATE_PROCESSES];
	struct state_timing timing;
	struct state_sharing sharing;
	struct state_lane lane[STATE_PROCESSES][STATE_DEVICES];
};

_Static_assert(offsetof(struct state, generation) == 16, "head of the state file");
_Static_assert(offsetof(struct state, latency_ns) == 24, "head of the state file");
_Static_assert(offsetof(struct state, facts) == 40, "head of the state file");
_Static_assert(sizeof(struct state_version) == 56, "one version");
_Static_assert(sizeof(struct mock_chip) == 944, "facts of one GPU");
_Static_assert(sizeof(struct mock_fault) == 168, "one fault");
_Static_assert(sizeof(struct state_fault) == 256, "one fault and its counters");
_Static_assert(sizeof(struct state_cell) == 128, "one process on one device");
_Static_assert(sizeof(struct state_process) == 64 + 16 * 128, "one process");
_Static_assert(sizeof(struct state) < UINT32_MAX, "size is a 32-bit field");

#endif
