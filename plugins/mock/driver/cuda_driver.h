/*
 * What the files of the simulated libcuda share: the driver's state in this process, contexts, and how an entry point begins.
 *
 * One lock serialises everything that changes this process's records or its row in the machine's state. It is never held while sleeping.
 * Functions that say "locked" want it held. A forked child is not initialised and touches none of this.
 */
#ifndef HAMI_MOCK_CUDA_DRIVER_H
#define HAMI_MOCK_CUDA_DRIVER_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "account.h"
#include "entry.h"

#define SYMBOL(base, name, version, stream) RENAMED(name)
#include "symbols.def"
#undef SYMBOL

#include "cuda_abi.h"
#include "machine.h"

enum { LIMITS = 16 };                           /* CUlimit has fewer */

struct driver {
	bool ready;                             /* cuInit succeeded in this very process */
	unsigned row;                           /* in the machine's table; 0: this process holds nothing yet */
	unsigned devices;                       /* that this process sees */
	uint8_t index[STATE_DEVICES];           /* of each of them among the machine's */
	struct machine machine;
	struct state *state;
	_Atomic bool locked;
};

extern struct driver driver;

struct block;
struct launch_queue;

/* When work is done: at a time of the machine's clock, and after so many host functions of this process. All zero: it is. */
struct moment {
	uint64_t time;
	uint64_t host;
};

/* A context. Records are reused and never freed, so a stale handle is recognised. Fields change under the lock. */
struct CUctx_st {
	uint32_t magic;
	bool alive;
	bool primary;
	CUdevice device;
	unsigned int flags;
	unsigned int references;
	unsigned int peers;                     /* a bit per device with peer access */
	uint64_t id;
	size_t limits[LIMITS];
	struct block *blocks;                   /* all that was allocated in it */
	CUstream legacy_stream;                 /* made when somebody needs it */
	struct moment legacy, blocking, any;    /* when the legacy default stream, the streams that wait for it, and all streams are done */
	struct launch_queue *queue;             /* made with the first kernel that takes time */
	struct CUctx_st *next_free;
};

/*
 * A lock of one byte. It is held for some ten nanoseconds by a thread of this very process, which cannot die alone; half the cost of a mutex,
 * and what this driver costs is the yardstick for what stands before it.
 */
static inline void driver_lock(void)
{
	while (atomic_exchange_explicit(&driver.locked, true, memory_order_acquire))
		sched_yield();
}

static inline void driver_unlock(void)
{
	atomic_store_explicit(&driver.locked, false, memory_order_release);
}

static inline unsigned index_of(CUdevice device)
{
	return driver.index[device];
}

static inline const struct mock_chip *chip_of(CUdevice device)
{
	return &driver.state->facts.chip[index_of(device)];
}

static inline bool is_device(CUdevice device)
{
	return device >= 0 && (unsigned)device < driver.devices;
}

/* The device that is number INDEX of the machine's; -1 if this process does not see it. */
CUdevice device_at(unsigned index);

/* Which devices this process sees, and in which order: from the environment, once. (cuda_visible.c) */
void driver_see_devices(void);

/* Map the machine if that has not been done. Does not initialise. Returns 0 or an errno value. */
int driver_open(void);

/* CUDA_SUCCESS once cuInit has succeeded. */
static inline CUresult driver_ready(void)
{
	return driver.ready ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

/* CUDA_SUCCESS for a device of an initialised driver. */
CUresult driver_device(CUdevice device);

/* The calling thread's context in CONTEXT, if there is one and it lives. */
CUresult current_context(CUcontext *context);

/* CONTEXT, or the calling thread's if it is NULL, if it lives. */
CUresult living_context(CUcontext given, CUcontext *context);

/* Claim a row of the machine's table, if that has not been done. Locked. Returns false if the table is full. */
bool driver_join(void);

/* Change what this process holds, after dropping what dead processes held if that is needed. Locked. Returns false if it does not fit. */
bool driver_charge(CUdevice device, const struct change *change);

/* End all allocations of a context and return what they held. Locked. (cuda_memory.c) */
struct change memory_end_all(CUcontext context);

#endif
