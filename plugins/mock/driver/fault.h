/*
 * Scripted faults: what goes wrong with a machine, when, and what is wrong with it now. All of it lies in the state file, so that a fault counts
 * the calls of all processes together, and one process sees what another one's call has broken.
 *
 * Nothing runs in the background. Whoever calls a driver, waits for events or looks at the faults carries out what is due (fault_tick).
 * A fault fires for the calls number nth to nth + times - 1 that match it; random draws depend on the seed, the fault's number and that count alone.
 */
#ifndef HAMI_MOCK_FAULT_H
#define HAMI_MOCK_FAULT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "interface.h"

struct state;

enum { FAULTS = 64 };                           /* at one time; MOCK_FAULTS of them from the description */

enum fault_kind {
	FAULT_XID = 1,                          /* post an Xid event */
	FAULT_LOST,                             /* the GPU is off the bus: Xid 79, GPU_IS_LOST from then on */
	FAULT_ERROR,                            /* the call answers a code and does nothing */
	FAULT_SLOW,                             /* the call takes longer */
	FAULT_HANG,                             /* the call does not return before the fault is released */
	FAULT_ECC,                              /* memory errors: counters, an event, an Xid */
	FAULT_DRIVER_RELOAD,                    /* NVML is away for a while; who was connected has to start anew */
	FAULT_RESET_REQUIRED,                   /* the GPU wants a reset: RESET_REQUIRED from then on */
};

enum fault_stage {
	FAULT_FREE,                             /* no fault in this place */
	FAULT_PENDING,                          /* it may fire */
	FAULT_DONE,                             /* it has fired as often as it should, or was released */
};

/* One fault. The specification is constant from PENDING on. */
struct state_fault {
	alignas(64) _Atomic uint32_t stage;
	_Atomic uint32_t round;                 /* rises with every fault in this place, so that a call knows its own */
	_Atomic uint64_t seen;                  /* calls that matched */
	_Atomic uint64_t fired;
	_Atomic uint64_t delayed_ns;
	struct mock_fault fault;
};

/* What is wrong with one GPU. */
enum { GPU_LOST = 1, GPU_RESET_REQUIRED = 2 };

struct state_health {
	alignas(64) _Atomic uint32_t condition; /* GPU_ bits */
	_Atomic uint64_t corrected;             /* ECC errors since the machine was made or the GPU restored */
	_Atomic uint64_t uncorrected;
	_Atomic uint64_t last_xid;
};

struct state_faults {
	alignas(64) _Atomic uint32_t armed;     /* pending faults and sick GPUs: 0 means that calls need not look further */
	alignas(64) _Atomic uint32_t reloads;   /* of the driver */
	_Atomic uint64_t away_until_ns;         /* on the machine's clock: no driver before that */
	struct state_fault fault[FAULTS];
	struct state_health health[16];
};

/*
 * What a call is to do: 0 to go on, or the code to answer. Carries out what is due and sleeps as long as a fault wants. DEVICE: the GPU that the
 * call is about, -1: none.
 */
int fault_call(struct state *state, const char *call, int device);

/* Carry out what is due by the clock. */
void fault_tick(struct state *state);

/* Whether the driver is away. */
bool fault_driver_is_away(struct state *state);

/* The clock stands at zero and the description's faults are armed. */
void fault_begin(struct state *state);

/* Put FAULT into a free place of the table and arm it; -1: there is none. Callers exclude each other. */
int fault_add(struct state *state, const struct mock_fault *fault);

/* Nothing more happens by the fault in this place; calls that hang in it go on. */
void fault_release(struct state *state, unsigned place);

/* The same, and the place is free again. */
void fault_remove(struct state *state, unsigned place);

/* The GPU is well again: there, no reset wanted, its counters at zero. */
void fault_restore(struct state *state, unsigned device);

/* GPU_ bits of a device. */
static inline uint32_t fault_condition(const struct state_faults *faults, unsigned device)
{
	return atomic_load_explicit(&faults->health[device].condition, memory_order_relaxed);
}

#endif
