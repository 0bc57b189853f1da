/* See utilisation.h. The span is read under a sequence lock; a writer that died in the midst of it is read as it left it. */
#include "utilisation.h"

#include <stdbool.h>

#include "state.h"

enum { VALUE_BITS = 24, TRIES = 1000 };

#define VALUE_MASK ((1ULL << VALUE_BITS) - 1)

struct span {
	uint64_t from, until, busy;
};

static uint64_t get(const _Atomic uint64_t *field)
{
	return atomic_load_explicit((_Atomic uint64_t *)field, memory_order_relaxed);
}

static void put(_Atomic uint64_t *field, uint64_t value)
{
	atomic_store_explicit(field, value, memory_order_relaxed);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The part of a span's busy time that falls into a window, as if it were spread evenly. */
static uint64_t within(const struct span *span, uint64_t from, uint64_t until)
{
	uint64_t start = most(span->from, from), end = least(span->until, until);

	if (start >= end)
		return 0;
	return (uint64_t)((unsigned __int128)span->busy * (end - start) / (span->until - span->from));
}

static struct span read_span(const struct state_lane *lane)
{
	struct span span;
	uint32_t turn;

	for (int i = 0; i < TRIES; i++) {
		turn = atomic_load_explicit((_Atomic uint32_t *)&lane->turn, memory_order_acquire);
		span = (struct span){get(&lane->from), get(&lane->until), get(&lane->busy)};
		atomic_thread_fence(memory_order_acquire);
		if (!(turn & 1) && atomic_load_explicit((_Atomic uint32_t *)&lane->turn, memory_order_relaxed) == turn)
			break;
	}
	return span;
}

static void write_span(struct state_lane *lane, const struct span *span)
{
	uint32_t turn = atomic_load_explicit(&lane->turn, memory_order_relaxed) | 1;

	atomic_store_explicit(&lane->turn, turn, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	put(&lane->from, span->from);
	put(&lane->until, span->until);
	put(&lane->busy, span->busy);
	atomic_store_explicit(&lane->turn, turn + 1, memory_order_release);
}

static void add_to_bucket(struct state_lane *lane, uint64_t number, uint64_t busy)
{
	_Atomic uint64_t *bucket = &lane->bucket[number % UTILISATION_BUCKETS];
	uint64_t old = get(bucket);
	uint64_t value = old >> VALUE_BITS == number ? (old & VALUE_MASK) + busy : busy;

	put(bucket, number << VALUE_BITS | least(value, UTILISATION_BUCKET_NS));
}

/* What is too old to be kept is left out. */
static void to_buckets(struct state_lane *lane, const struct span *span)
{
	uint64_t last = span->until / UTILISATION_BUCKET_NS;
	uint64_t first = most(span->from / UTILISATION_BUCKET_NS, last > UTILISATION_BUCKETS ? last - UTILISATION_BUCKETS + 1 : 0);

	for (uint64_t number = first; number <= last; number++)
		add_to_bucket(lane, number, within(span, number * UTILISATION_BUCKET_NS, (number + 1) * UTILISATION_BUCKET_NS));
}

/* Work that follows at once, and about as densely, prolongs the span. */
static bool follows(const struct span *span, const struct span *next)
{
	uint64_t length = span->until - span->from;

	return span->until == next->from && length
	    && (unsigned __int128)span->busy * (next->until - next->from) == (unsigned __int128)next->busy * length;
}

void utilisation_add(struct state_lane *lane, uint64_t start, uint64_t end, uint64_t busy)
{
	struct span span = {get(&lane->from), get(&lane->until), get(&lane->busy)};
	struct span next = {start, end, busy};

	put(&lane->launches, get(&lane->launches) + 1);
	if (end <= most(start, span.until))
		return;
	next.from = most(start, span.until);
	next.busy = within(&(struct span){start, end, busy}, next.from, end);
	if (follows(&span, &next)) {
		span.until = next.until;
		span.busy += next.busy;
	} else {
		to_buckets(lane, &span);
		put(&lane->total, get(&lane->total) + span.busy);
		span = next;
	}
	write_span(lane, &span);
}

void utilisation_start(struct state_lane *lane, uint64_t now)
{
	struct span nothing = {now, now, 0};

	put(&lane->since, now);
	put(&lane->total, 0);
	put(&lane->launches, 0);
	write_span(lane, &nothing);
	atomic_store(&lane->running, 1);
}

void utilisation_stop(struct state_lane *lane, uint64_t now)
{
	struct span span = read_span(lane);

	if (span.until > now) {
		span.busy = within(&span, span.from, most(now, span.from));
		span.until = most(now, span.from);
	}
	to_buckets(lane, &span);
	put(&lane->total, get(&lane->total) + span.busy);
	span = (struct span){span.until, span.until, 0};
	write_span(lane, &span);
	atomic_store(&lane->running, 0);
}

static uint64_t in_window(const struct state_lane *lane, uint64_t from, uint64_t until)
{
	struct span span = read_span(lane);
	uint64_t last = until / UTILISATION_BUCKET_NS;
	uint64_t sum = within(&span, from, until);

	if (from >= until)
		return 0;
	for (uint64_t number = from / UTILISATION_BUCKET_NS; number <= last; number++) {
		uint64_t value = get(&lane->bucket[number % UTILISATION_BUCKETS]);
		struct span bucket = {number * UTILISATION_BUCKET_NS, (number + 1) * UTILISATION_BUCKET_NS, value & VALUE_MASK};

		if (value >> VALUE_BITS == number)
			sum += within(&bucket, from, until);
	}
	return least(sum, until - from);
}

static uint64_t kept(uint64_t from, uint64_t until)
{
	uint64_t reach = (uint64_t)(UTILISATION_BUCKETS - 1) * UTILISATION_BUCKET_NS;

	return until - from > reach && until > reach ? until - reach : from;
}

uint64_t utilisation_of_process(struct state *state, unsigned row, unsigned device, uint64_t from, uint64_t until)
{
	const struct state_lane *lane = &state->lane[row][device];

	from = most(from, get(&lane->since));
	return from < until ? in_window(lane, kept(from, until), until) : 0;
}

uint64_t utilisation_of_device(struct state *state, unsigned device, uint64_t from, uint64_t until)
{
	unsigned rows = (unsigned)atomic_load(&state->rows);
	uint64_t sum = 0;

	if (from >= until)
		return 0;
	for (unsigned row = 1; row <= rows; row++)
		sum += in_window(&state->lane[row][device], kept(from, until), until);
	return least(sum, until - from);
}

uint64_t utilisation_total(struct state *state, unsigned row, unsigned device, uint64_t now)
{
	const struct state_lane *lane = &state->lane[row][device];
	struct span span = read_span(lane);

	return get(&lane->total) + within(&span, 0, now);
}

unsigned utilisation_others(struct state *state, unsigned row, unsigned device, uint64_t now)
{
	unsigned rows = (unsigned)atomic_load(&state->rows);
	unsigned found = 0;

	for (unsigned other = 1; other <= rows; other++)
		if (other != row && get(&state->lane[other][device].until) > now)
			found++;
	return found;
}
