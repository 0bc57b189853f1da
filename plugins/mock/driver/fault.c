/* See fault.h. */
#define _GNU_SOURCE
#include "fault.h"

#include <fnmatch.h>
#include <string.h>

#include "account.h"
#include "clock.h"
#include "event.h"
#include "futex.h"
#include "machine.h"
#include "state.h"

enum { XID_LOST = 79, ANY = -1 };
enum { HANG_LOOKS_NS = 1000000000 };            /* a call that hangs looks so often whether it was forgotten */

static void arm(struct state *state)
{
	atomic_fetch_add(&state->faults.armed, 1);
}

static void disarm(struct state *state)
{
	atomic_fetch_sub(&state->faults.armed, 1);
}

/* True for the one caller who ends it. */
static bool finish(struct state *state, struct state_fault *fault)
{
	uint32_t pending = FAULT_PENDING;

	if (!atomic_compare_exchange_strong(&fault->stage, &pending, FAULT_DONE))
		return false;
	disarm(state);
	futex_wake(&fault->stage);
	return true;
}

/* splitmix64 (public domain, Sebastiano Vigna): every input gives its own well-mixed number. */
static uint64_t draw(uint64_t seed, uint64_t place, uint64_t count)
{
	uint64_t x = seed + 0x9e3779b97f4a7c15ULL * (place << 32 | (count & UINT32_MAX));

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static void post_xid(struct state *state, unsigned device, uint64_t code)
{
	atomic_store(&state->faults.health[device].last_xid, code);
	event_post(state, device, EVENT_XID, code);
}

static void become(struct state *state, unsigned device, uint32_t bit)
{
	if (!atomic_fetch_or(&state->faults.health[device].condition, bit))
		arm(state);
}

static void raise_ecc(struct state *state, unsigned device, const struct mock_fault *fault)
{
	struct state_health *health = &state->faults.health[device];

	atomic_fetch_add(&health->corrected, fault->corrected);
	atomic_fetch_add(&health->uncorrected, fault->uncorrected);
	if (fault->corrected)
		event_post(state, device, EVENT_SINGLE_BIT_ECC, 0);
	if (fault->uncorrected)
		event_post(state, device, EVENT_DOUBLE_BIT_ECC, 0);
	if (fault->code)
		post_xid(state, device, (uint64_t)fault->code);
}

static void reload(struct state *state, const struct mock_fault *fault)
{
	atomic_store(&state->faults.away_until_ns, clock_now(state) + fault->duration_ns);
	atomic_fetch_add(&state->faults.reloads, 1);
}

static void befall(struct state *state, unsigned device, const struct mock_fault *fault)
{
	switch (fault->kind) {
	case FAULT_XID:
		post_xid(state, device, (uint64_t)fault->code);
		break;
	case FAULT_LOST:
		become(state, device, GPU_LOST);
		post_xid(state, device, XID_LOST);
		break;
	case FAULT_ECC:
		raise_ecc(state, device, fault);
		break;
	case FAULT_RESET_REQUIRED:
		become(state, device, GPU_RESET_REQUIRED);
		break;
	default:
		break;
	}
}

/* To its GPU, or to that of the call, or to all. */
static void befall_each(struct state *state, int device, const struct mock_fault *fault)
{
	int only = fault->gpu != ANY ? fault->gpu : device;

	if (fault->kind == FAULT_DRIVER_RELOAD)
		reload(state, fault);
	else if (only != ANY)
		befall(state, (unsigned)only, fault);
	else
		for (unsigned each = 0; each < state->facts.chips; each++)
			befall(state, each, fault);
}

static void take_longer(struct state *state, unsigned place, uint64_t count)
{
	struct state_fault *fault = &state->faults.fault[place];
	uint64_t jitter = fault->fault.jitter_ns;
	uint64_t duration = fault->fault.duration_ns - jitter + draw(state->facts.seed, place, count) % (2 * jitter + 1);

	atomic_fetch_add(&fault->delayed_ns, duration);
	machine_sleep(timing_to_real(state, duration));
}

static void hang(struct state_fault *fault)
{
	uint32_t round = atomic_load(&fault->round);

	while (atomic_load(&fault->stage) == FAULT_PENDING && atomic_load(&fault->round) == round)
		futex_wait(&fault->stage, FAULT_PENDING, HANG_LOOKS_NS);
}

/* Carry out a fault for the matching call number COUNT. Returns the code to answer, or 0. */
static int carry_out(struct state *state, unsigned place, int device, uint64_t count)
{
	struct state_fault *fault = &state->faults.fault[place];

	atomic_fetch_add(&fault->fired, 1);
	switch (fault->fault.kind) {
	case FAULT_ERROR:
		return fault->fault.code;
	case FAULT_SLOW:
		take_longer(state, place, count);
		return 0;
	case FAULT_HANG:
		hang(fault);
		return 0;
	default:
		befall_each(state, device, &fault->fault);
		return 0;
	}
}

/* Whether this is one of the calls for which FAULT fires; *COUNT is its number among those that match. */
static bool is_due(struct state *state, struct state_fault *fault, uint64_t *count)
{
	const struct mock_fault *what = &fault->fault;
	uint64_t first = what->nth ? what->nth : 1;

	*count = atomic_fetch_add(&fault->seen, 1) + 1;
	if (*count < first)
		return false;
	if (what->times && *count - first >= what->times)
		return false;
	if (what->times && *count - first + 1 == what->times && what->kind != FAULT_HANG)
		finish(state, fault);           /* a hang ends by being released */
	return true;
}

static bool holds_enough(struct state *state, const struct mock_fault *fault, int device)
{
	uint64_t held = 0;
	int only = fault->gpu != ANY ? fault->gpu : device;

	for (unsigned each = 0; each < state->facts.chips; each++)
		if (only == ANY || only == (int)each)
			held += account_device(state, each).requested;
	return held > fault->after_bytes;
}

static bool is_pending(struct state *state, struct state_fault *fault)
{
	return atomic_load_explicit(&fault->stage, memory_order_acquire) == FAULT_PENDING && fault->fault.at_ns <= clock_now(state);
}

/* A fault of a call concerns calls about its GPU. What befalls a GPU may be set off by a call that is about none, too. */
static bool concerns(const struct mock_fault *fault, int device)
{
	bool of_call = fault->kind == FAULT_ERROR || fault->kind == FAULT_SLOW || fault->kind == FAULT_HANG;

	return fault->gpu == ANY || fault->gpu == device || (device == ANY && !of_call);
}

static bool matches(struct state *state, const struct mock_fault *fault, const char *call, int device)
{
	if (!fault->call[0] || fnmatch(fault->call, call, 0) != 0 || !concerns(fault, device))
		return false;
	return !fault->after_bytes || holds_enough(state, fault, device);
}

/* Faults without a call fire by the clock, or once enough memory is held. */
void fault_tick(struct state *state)
{
	for (unsigned place = 0; place < FAULTS; place++) {
		struct state_fault *fault = &state->faults.fault[place];

		if (!is_pending(state, fault) || fault->fault.call[0])
			continue;
		if (fault->fault.after_bytes && !holds_enough(state, &fault->fault, ANY))
			continue;
		if (finish(state, fault))
			carry_out(state, place, ANY, 1);
	}
}

int fault_call(struct state *state, const char *call, int device)
{
	int answer = 0;

	fault_tick(state);
	for (unsigned place = 0; place < FAULTS; place++) {
		struct state_fault *fault = &state->faults.fault[place];
		uint64_t count;
		int code;

		if (!is_pending(state, fault) || !matches(state, &fault->fault, call, device) || !is_due(state, fault, &count))
			continue;
		code = carry_out(state, place, device, count);
		if (!answer)
			answer = code;
	}
	return answer;
}

bool fault_driver_is_away(struct state *state)
{
	uint64_t until = atomic_load(&state->faults.away_until_ns);

	return until && clock_now(state) < until;
}

int fault_add(struct state *state, const struct mock_fault *fault)
{
	for (unsigned place = 0; place < FAULTS; place++) {
		struct state_fault *free = &state->faults.fault[place];

		if (atomic_load(&free->stage) != FAULT_FREE)
			continue;
		atomic_fetch_add(&free->round, 1);
		atomic_store(&free->seen, 0);
		atomic_store(&free->fired, 0);
		atomic_store(&free->delayed_ns, 0);
		free->fault = *fault;
		atomic_store(&free->stage, FAULT_PENDING);
		arm(state);
		return (int)place;
	}
	return -1;
}

void fault_begin(struct state *state)
{
	clock_start(state);
	for (uint32_t i = 0; i < state->facts.faults; i++)
		fault_add(state, &state->facts.fault[i]);
}

void fault_release(struct state *state, unsigned place)
{
	finish(state, &state->faults.fault[place]);
}

void fault_remove(struct state *state, unsigned place)
{
	fault_release(state, place);
	atomic_store(&state->faults.fault[place].stage, FAULT_FREE);
}

void fault_restore(struct state *state, unsigned device)
{
	struct state_health *health = &state->faults.health[device];

	if (atomic_exchange(&health->condition, 0))
		disarm(state);
	atomic_store(&health->corrected, 0);
	atomic_store(&health->uncorrected, 0);
	atomic_store(&health->last_xid, 0);
}
