/*
 * The shared region: one file per grant, mapped by every process of the container, read by the node agent and by `hami ps`.
 *
 * This header is the layout and nothing else: no function of it touches a file or decides anything. Little-endian, fixed
 * width, no pointers, no libc objects (a pthread mutex would bind the file to one libc). Limits are not in here: a region is
 * writable by the workload, the limits file is not.
 *
 * Units: memory in bytes, time in nanoseconds, start times in clock ticks since boot.
 *
 * Writers. "creator": written once, before the file gets its name. "claimer": by the process that holds the slot in state
 * CLAIMING. "owner": by any thread of the process that owns the slot. "reaper": by the process that holds it in REAPING.
 * "agent": by the node agent. Fields marked atomic are only touched through C11 atomics; all others have one writer, who is
 * done before the state that publishes them is stored with release order.
 */
#ifndef VGPU_REGION_H
#define VGPU_REGION_H

#include <stddef.h>
#include <stdint.h>

#define VGPU_REGION_MAGIC UINT64_C(0x6e676572696d6168)	/* the first bytes of the file read "hamiregn" */
#define VGPU_REGION_VERSION 1u
#define VGPU_REGION_SIZE 532480u
#define VGPU_MAX_DEVICES 16u
#define VGPU_MAX_SLOTS 512u
#define VGPU_GRANT_LENGTH 256u	/* with the final zero; "<pod uid>/<container>" needs 101 (36 + 1 + 63 + 1) */
#define VGPU_UUID_LENGTH 96u	/* with the final zero; NVML documents 80, NVML_DEVICE_UUID_V2_BUFFER_SIZE 96 */

/*
 * Bytes of the file that carry OFD record locks. Shared: by every process that uses the region, for as long as it does.
 * Exclusive: by one that replaces a damaged file (USERS), or clears what nameless processes left (ANONYMOUS).
 */
#define VGPU_LOCK_USERS 0
#define VGPU_LOCK_ANONYMOUS 1

/*
 * Far beyond its end, locks stand for memory that is shared by a handle of bytes: at one of these plus the handle's 48-bit key.
 * Shared, by the process that is charged for it (OWNED), and by each one that has opened it (OPENED).
 */
#define VGPU_LOCK_OWNED (INT64_C(1) << 60)
#define VGPU_LOCK_OPENED (INT64_C(1) << 61)

/*
 * A slot's state word: one of these in the low 4 bits, above it who is acting, so that the actor's death shows:
 * bits 4-15 a hash of the PID-namespace inode, 16-31 the low bits of the start time, 32-63 the pid.
 *
 *   FREE      nobody's; all counters but begin and end are 0, save for the anonymous slot, which is always FREE
 *   CLAIMING  the actor writes its identity
 *   LIVE      the actor owns it
 *   REAPING   the actor gives a dead owner's bytes back; itself reapable
 */
enum vgpu_slot_state {
	VGPU_SLOT_FREE = 0,
	VGPU_SLOT_CLAIMING = 1,
	VGPU_SLOT_LIVE = 2,
	VGPU_SLOT_REAPING = 3,
};
#define VGPU_SLOT_STATE_MASK UINT64_C(0xf)

struct vgpu_region_header {
	uint64_t magic;				/* creator; VGPU_REGION_MAGIC */
	uint32_t version;			/* creator; VGPU_REGION_VERSION */
	uint32_t device_count;			/* creator; 1 to 16 */
	uint64_t size;				/* creator; VGPU_REGION_SIZE */
	uint64_t checksum;			/* creator; vgpu_layout_checksum() */
	_Atomic uint32_t high_water;		/* atomic, any claimer, only rises: slots at or above it were never claimed */
	uint32_t reserved_a;			/* 0 */
	uint8_t reserved_b[24];			/* 0 */
	char grant[VGPU_GRANT_LENGTH];		/* creator; the grant id, zero-terminated and zero-filled */
	uint8_t boot_id[16];			/* creator; the kernel's boot id: times and pids of another boot mean nothing */
	uint8_t reserved_c[176];		/* 0 */
};

/* One device of the grant, in the grant's order. What different parties write lies on different cache lines. */
struct vgpu_region_device {
	char uuid[VGPU_UUID_LENGTH];		/* creator; as in the limits file, zero-filled */
	uint8_t reserved_a[32];			/* 0 */

	/*
	 * Memory. `used` is never below the sum of all slots' `used`; it may be above it after a SIGKILL, until an audit.
	 * It rises before the driver is asked and falls after the driver has freed.
	 */
	_Atomic uint64_t used;			/* atomic, owners and reapers */
	_Atomic uint64_t peak;			/* atomic, owners; the highest `used` so far */
	uint8_t reserved_b[48];			/* 0 */

	/* Compute. */
	_Atomic int64_t credit_ns;		/* atomic, owners; GPU time that may still be spent; below 0 launches wait */
	_Atomic uint64_t last_refill_ns;	/* atomic, owners; CLOCK_MONOTONIC, which a container shares with its node */
	_Atomic uint64_t in_flight_ns;		/* atomic, owners and reapers; estimated GPU time launched and not yet done */
	_Atomic uint64_t launches;		/* atomic, owners; kernels launched by all processes so far, dead ones too */
	_Atomic uint64_t busy_ns;		/* atomic, owners; GPU time charged to all processes so far */
	_Atomic uint64_t throttled_ns;		/* atomic, owners; time that launches waited for credit */
	_Atomic uint64_t refused;		/* atomic, owners; allocations that the limit refused */
	uint8_t reserved_c[8];			/* 0 */

	/* Steering. A lease older than 10 s counts as absent: a dead agent never blocks anyone. */
	_Atomic uint64_t lease_ns;		/* atomic, agent; CLOCK_MONOTONIC of the agent's last word; 0: none yet */
	_Atomic uint32_t lease_rate;		/* atomic, agent; refill in permille of the device; 0: blocked */
	_Atomic uint32_t policy;		/* atomic, agent; 1 + enum vgpu_policy in force; 0: as the limits file says */
	uint8_t reserved_d[48];			/* 0 */
};

/* One process. A slot never changes its owner while that lives, and never moves. */
struct vgpu_region_slot {
	_Atomic uint64_t state;			/* atomic, whoever wins the exchange */
	uint32_t pid;				/* claimer; in the PID namespace below */
	uint32_t reserved_a;			/* 0 */
	uint64_t start_time;			/* claimer; field 22 of /proc/<pid>/stat; 0: unknown, never reaped */
	uint64_t pid_namespace;			/* claimer; inode of /proc/<pid>/ns/pid; 0: unknown, never reaped */
	uint8_t reserved_b[32];			/* 0 */

	/* Brackets around every change of `used`. Equal: no thread is inside. They only rise, over all owners. */
	_Atomic uint64_t begin;			/* atomic, owner */
	_Atomic uint64_t end;			/* atomic, owner; the reaper sets it to begin */
	uint8_t reserved_c[48];			/* 0 */

	/* By device, in the grant's order. */
	_Atomic uint64_t used[VGPU_MAX_DEVICES];		/* atomic, owner and reaper; all bytes charged, contexts too */
	_Atomic uint64_t context[VGPU_MAX_DEVICES];		/* atomic, owner and reaper; the part of `used` that is contexts */
	_Atomic uint64_t in_flight_ns[VGPU_MAX_DEVICES];	/* atomic, owner and reaper; its part of the device's */
	_Atomic uint64_t launches[VGPU_MAX_DEVICES];		/* atomic, owner; kernels launched */
	_Atomic uint64_t busy_ns[VGPU_MAX_DEVICES];		/* atomic, owner; GPU time charged so far */
	_Atomic uint64_t overhead[VGPU_MAX_DEVICES];		/* atomic, agent; bytes that the driver holds beyond `used`, as NVML says */
	_Atomic uint64_t shared[VGPU_MAX_DEVICES];		/* atomic, owner and reaper; the part of `used` that others may hold too */
};

struct vgpu_region {
	struct vgpu_region_header header;
	struct vgpu_region_device devices[VGPU_MAX_DEVICES];
	/*
	 * Processes that found no slot free: charged together, without identity. And what processes that are gone have shared,
	 * which those that have imported something may still hold. Its state stays FREE. Cleared by whoever gets the exclusive
	 * lock on VGPU_LOCK_ANONYMOUS, that is, when none of them lives.
	 */
	struct vgpu_region_slot anonymous;
	uint8_t reserved[1536];			/* 0; slots start on a page */
	struct vgpu_region_slot slots[VGPU_MAX_SLOTS];
};

/* The layout, once more, in numbers: asserted below, summed into the checksum, compared with Python's view by a test. */
#define VGPU_REGION_LAYOUT(FIELD) \
	FIELD(vgpu_region_header, magic, 0) \
	FIELD(vgpu_region_header, version, 8) \
	FIELD(vgpu_region_header, device_count, 12) \
	FIELD(vgpu_region_header, size, 16) \
	FIELD(vgpu_region_header, checksum, 24) \
	FIELD(vgpu_region_header, high_water, 32) \
	FIELD(vgpu_region_header, grant, 64) \
	FIELD(vgpu_region_header, boot_id, 320) \
	FIELD(vgpu_region_device, uuid, 0) \
	FIELD(vgpu_region_device, used, 128) \
	FIELD(vgpu_region_device, peak, 136) \
	FIELD(vgpu_region_device, credit_ns, 192) \
	FIELD(vgpu_region_device, last_refill_ns, 200) \
	FIELD(vgpu_region_device, in_flight_ns, 208) \
	FIELD(vgpu_region_device, launches, 216) \
	FIELD(vgpu_region_device, busy_ns, 224) \
	FIELD(vgpu_region_device, throttled_ns, 232) \
	FIELD(vgpu_region_device, refused, 240) \
	FIELD(vgpu_region_device, lease_ns, 256) \
	FIELD(vgpu_region_device, lease_rate, 264) \
	FIELD(vgpu_region_device, policy, 268) \
	FIELD(vgpu_region_slot, state, 0) \
	FIELD(vgpu_region_slot, pid, 8) \
	FIELD(vgpu_region_slot, start_time, 16) \
	FIELD(vgpu_region_slot, pid_namespace, 24) \
	FIELD(vgpu_region_slot, begin, 64) \
	FIELD(vgpu_region_slot, end, 72) \
	FIELD(vgpu_region_slot, used, 128) \
	FIELD(vgpu_region_slot, context, 256) \
	FIELD(vgpu_region_slot, in_flight_ns, 384) \
	FIELD(vgpu_region_slot, launches, 512) \
	FIELD(vgpu_region_slot, busy_ns, 640) \
	FIELD(vgpu_region_slot, overhead, 768) \
	FIELD(vgpu_region, header, 0) \
	FIELD(vgpu_region, devices, 512) \
	FIELD(vgpu_region, anonymous, 5632) \
	FIELD(vgpu_region, slots, 8192)

_Static_assert(offsetof(struct vgpu_region_slot, shared) == 896, "vgpu_region_slot.shared has moved");	/* added to version 1 */

#define VGPU_ASSERT_FIELD(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field " has moved");
VGPU_REGION_LAYOUT(VGPU_ASSERT_FIELD)
#undef VGPU_ASSERT_FIELD

_Static_assert(sizeof(struct vgpu_region_header) == 512, "header");
_Static_assert(sizeof(struct vgpu_region_device) == 320, "device: five cache lines");
_Static_assert(sizeof(struct vgpu_region_slot) == 1024, "slot");
_Static_assert(sizeof(struct vgpu_region) == VGPU_REGION_SIZE, "region");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4, "atomics are as wide as what they hold");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the layout is little-endian");

/*
 * FNV-1a over every offset and size of version 1's layout: two builds that disagree on it refuse each other's files. Running
 * containers keep the library they started with, so the list above is frozen; a field added in reserved bytes is asserted apart.
 */
static inline uint64_t vgpu_layout_checksum(void)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

#define VGPU_SUM_FIELD(type, field, offset) \
	sum = (sum ^ ((uint64_t)(offset) << 32 | sizeof(((struct type *)0)->field))) * UINT64_C(0x100000001b3);
	VGPU_REGION_LAYOUT(VGPU_SUM_FIELD)
#undef VGPU_SUM_FIELD
	return sum;
}

#endif
