/*
 * What happened to the GPUs of a machine, for all its processes: a ring of the last events in the state file. Readers remember the number of the
 * next one that they have not seen; nothing is ever taken out.
 */
#ifndef HAMI_MOCK_EVENT_H
#define HAMI_MOCK_EVENT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { EVENTS_KEPT = 256 };

/* NVML's bits. */
enum { EVENT_SINGLE_BIT_ECC = 0x1, EVENT_DOUBLE_BIT_ECC = 0x2, EVENT_XID = 0x8 };

struct state_gpu_event {
	_Atomic uint64_t sequence;              /* number + 1 once it is written whole */
	_Atomic uint64_t type;
	_Atomic uint64_t data;                  /* of an Xid its code */
	_Atomic uint64_t device;
};

struct state_gpu_events {
	alignas(64) _Atomic uint64_t posted;    /* the number of the next event */
	_Atomic uint32_t bell;                  /* rises with every event; waiters sleep on it */
	struct state_gpu_event ring[EVENTS_KEPT];
};

struct event {
	uint64_t type;
	uint64_t data;
	unsigned device;
};

struct state;

/* Tell everybody. Wakes who waits. */
void event_post(struct state *state, unsigned device, uint64_t type, uint64_t data);

/* The number that the next event will have. */
uint64_t event_next(struct state *state);

/* The oldest event from *NUMBER on that is still kept; *NUMBER becomes the one after it. False: there is none yet. */
bool event_read(struct state *state, uint64_t *number, struct event *event);

/* Sleep until an event newer than NUMBER is posted, for NANOSECONDS at most. May return early. */
void event_wait(struct state *state, uint64_t number, uint64_t nanoseconds);

#endif
