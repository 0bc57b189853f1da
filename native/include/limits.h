/*
 * The limits file of one container: what it may use. Parsed here from text; finding and following the file is another subject.
 *
 *   hami-limits 1
 *   grant <pod uid>/<container>
 *   [nvidia]
 *   device GPU-<uuid> memory=<bytes> physical=<bytes> cores=<percent> context=<bytes>
 *   policy=default
 *   priority=1
 *   oom=refuse
 *   end
 *
 * A section ends where the next one, or `end`, begins. Lines end with one newline each, which only `end` may lack; nothing may
 * follow `end`. Other sections are skipped unread, as are unknown `key=value` in ours. Everything else that is not understood
 * closes the file: a limit is never dropped in silence.
 */
#ifndef VGPU_LIMITS_H
#define VGPU_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "region.h"

#define VGPU_LIMITS_TEXT_MAX 65536u	/* bytes; 16 devices and many foreign sections fit well within */
#define VGPU_FAULT_LENGTH 240u		/* bytes of a fault's sentence with the final zero; longer ones are cut */

enum vgpu_policy {
	VGPU_POLICY_DEFAULT = 0,	/* the core limit holds under contention */
	VGPU_POLICY_FORCE = 1,		/* always */
	VGPU_POLICY_DISABLE = 2,	/* never */
};

enum vgpu_oom {
	VGPU_OOM_REFUSE = 0,		/* the allocation answers CUDA_ERROR_OUT_OF_MEMORY */
	VGPU_OOM_KILL = 1,		/* and the process that asked is ended */
};

/* Why a text grants nothing. Stable numbers: Python and tests know them. */
enum vgpu_closed {
	VGPU_OPEN = 0,
	VGPU_CLOSED_EMPTY = 1,		/* no byte: the annotation was missing */
	VGPU_CLOSED_TRUNCATED = 2,	/* the last line is not `end` */
	VGPU_CLOSED_VERSION = 3,	/* the first line is not `hami-limits 1` */
	VGPU_CLOSED_TOO_LONG = 4,	/* more than VGPU_LIMITS_TEXT_MAX */
	VGPU_CLOSED_SYNTAX = 5,		/* a line of the head or of our section that is none */
	VGPU_CLOSED_GRANT = 6,		/* no grant id, two, or one that can name no file */
	VGPU_CLOSED_SECTION = 7,	/* no [nvidia], or two */
	VGPU_CLOSED_UUID = 8,		/* not GPU- or MIG- and 8-4-4-4-12 hexadecimal digits */
	VGPU_CLOSED_NUMBER = 9,		/* not a plain decimal number, too large, or out of its range */
	VGPU_CLOSED_MISSING = 10,	/* a device without memory= or cores= */
	VGPU_CLOSED_DUPLICATE = 11,	/* a device, or a key, twice */
	VGPU_CLOSED_DEVICES = 12,	/* no device, or more than VGPU_MAX_DEVICES */
	VGPU_CLOSED_VALUE = 13,		/* a word that policy= or oom= does not know */
	VGPU_CLOSED_ABSENT = 14,	/* no limits file and no variable; never from the parser */
	VGPU_CLOSED_UNREADABLE = 15,	/* the file is there and cannot be read; never from the parser */
};

struct vgpu_limits_device {
	char uuid[VGPU_UUID_LENGTH];	/* "GPU-..." or "MIG-...", zero-terminated and zero-filled */
	uint8_t uuid_bytes[16];		/* the same, as cuDeviceGetUuid gives it */
	uint64_t memory;		/* bytes this grant may use; at least 1 */
	uint64_t physical;		/* bytes of the device; 0: not told */
	uint64_t context;		/* bytes that one context is charged; 0: nothing */
	uint32_t cores;			/* percent, 0 to 100; 0 and 100: no limit */
};

struct vgpu_limits {
	char grant[VGPU_GRANT_LENGTH];	/* zero-terminated and zero-filled */
	uint32_t device_count;		/* 1 to VGPU_MAX_DEVICES; the grant's order */
	enum vgpu_policy policy;
	uint32_t priority;		/* 0 is high */
	enum vgpu_oom oom;
	struct vgpu_limits_device devices[VGPU_MAX_DEVICES];
};

/* What closed a text: one sentence that says where, what was found, and what would be right. */
struct vgpu_fault {
	enum vgpu_closed reason;
	uint32_t line;			/* counted from 1; 0: the text as a whole */
	char text[VGPU_FAULT_LENGTH];
};

/*
 * Read LENGTH bytes of TEXT, which need not be zero-terminated and may hold anything. On VGPU_OPEN *LIMITS is complete and
 * *FAULT is zero; on every other answer *LIMITS is all zero, and *FAULT says why. Pure: any thread, no lock, no allocation.
 */
enum vgpu_closed vgpu_limits_parse(const char *text, size_t length, struct vgpu_limits *limits, struct vgpu_fault *fault);

/*
 * Read one of HAMi's memory variables: bytes as decimal digits, with at most one binary suffix of g, G, m, M, k, K.
 * Returns whether VALUE is one, at least 1 and below 2^56; *BYTES is written only then. Pure.
 */
int vgpu_limits_parse_size(const char *value, uint64_t *bytes);

/* Read "GPU-" or "MIG-" and 8-4-4-4-12 hexadecimal digits, LENGTH bytes in all. Returns whether TEXT is that. Pure. */
int vgpu_limits_parse_uuid(const char *text, size_t length, uint8_t bytes[16]);

#endif
