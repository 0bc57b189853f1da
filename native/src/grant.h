/*
 * What this process may use: where the limits come from, read once and followed when they change. The text itself is parsed by
 * limits.h; what is charged against it is charge.h's.
 *
 * Sources, the first that exists: the file at VGPU_LIMITS_PATH; the file named by HAMI_LIMITS; HAMi's variables. Beside a file
 * HAMi's variables may only tighten. secure_getenv everywhere: a set-uid program does not listen to its caller.
 */
#ifndef VGPU_GRANT_H
#define VGPU_GRANT_H

#include <stdbool.h>

#include "limits.h"

#define VGPU_LIMITS_PATH "/etc/hami/grant/limits"
#define VGPU_REGION_FOLDER "/var/lib/hami/region"

enum vgpu_grant_state {
	VGPU_GRANT_CLOSED,	/* nothing is granted; why has been logged */
	VGPU_GRANT_UNBOUND,	/* HAMi's variables limit the devices by number; which those are the driver has yet to say */
	VGPU_GRANT_OPEN,
};

/* Load on first use, and again as long as it is closed. Slow path: files, the process' lock. */
enum vgpu_grant_state vgpu_grant_load(void);

/* The limits, while OPEN: devices and their order never change in a process, memory may (vgpu_grant_memory). */
const struct vgpu_limits *vgpu_grant_limits(void);

/* OPEN an UNBOUND grant: the driver's devices in its order. Those that no variable limits are not granted. */
enum vgpu_grant_state vgpu_grant_bind(const uint8_t (*uuids)[16], unsigned count);

/* Bytes of device INDEX this process may use now: what was last read, and no more than HAMi's variables say. */
uint64_t vgpu_grant_memory(unsigned index);

/* Whether the grant is of whole devices: of each, all that the file says it has. While OPEN. Slow path: follows the file. */
bool vgpu_grant_is_whole(void);

/* Where the region of this grant is, and the mode of a new one. While OPEN. */
const char *vgpu_grant_region_path(void);
unsigned vgpu_grant_region_mode(void);

/*
 * Look whether the limits file has changed, and read it if so. One stat(2) if not. A file that has become unreadable or wrong
 * leaves no memory to reserve until it is right again. Caller holds the process' lock.
 */
void vgpu_grant_follow(void);

/* Index in the grant of the device with this UUID, or -1. While OPEN. */
int vgpu_grant_find(const uint8_t uuid[16]);

#endif
