/*
 * The region as a file: found, checked, created, replaced when damaged, mapped. What is in it is region.h's; what its numbers
 * mean is slots.h's.
 */
#ifndef VGPU_REGION_FILE_H
#define VGPU_REGION_FILE_H

#include <stddef.h>

#include "identity.h"
#include "limits.h"
#include "region.h"

struct vgpu_region_file {
	struct vgpu_region *region;	/* mapped shared, VGPU_REGION_SIZE bytes */
	int file;			/* keeps the shared lock on VGPU_LOCK_USERS; never read or written */
};

/*
 * Attach to the region PATH of LIMITS' grant; create it, with MODE, where there is none; replace it where it is damaged,
 * another grant's, lists other devices, or is from before the machine's last start, and nobody uses it; clear it where all
 * that is left in it are processes of former PID namespaces. The shared lock is the usual sign of a user. A program that
 * closes all descriptors keeps it, as the mapping does; one may still have dropped it, so a process that is seen to live in
 * the region counts as a user without it.
 *
 * Takes no time that depends on other processes: a lock that is held is tried again for one second at most. True on success.
 * On false *REASON is one sentence, and nothing is mapped: the caller refuses allocations. No allocation; file system calls;
 * errno changes.
 */
int vgpu_region_attach(const char *path, unsigned mode, const struct vgpu_limits *limits, const struct vgpu_identity *self,
                       struct vgpu_region_file *attached, char reason[VGPU_FAULT_LENGTH]);

/* Take the shared lock on VGPU_LOCK_ANONYMOUS, until it is left or the file is closed. */
void vgpu_region_join_anonymous(const struct vgpu_region_file *attached);
void vgpu_region_leave_anonymous(const struct vgpu_region_file *attached);

/*
 * The shared lock at BYTE, one of VGPU_LOCK_OWNED or OPENED plus a key: taken, given up, or held by a process other than this
 * one. Taking it returns false where the file system has no locks. A process takes each byte once.
 */
int vgpu_region_lock_key(const struct vgpu_region_file *attached, int64_t byte);
void vgpu_region_unlock_key(const struct vgpu_region_file *attached, int64_t byte);
int vgpu_region_is_key_locked(const struct vgpu_region_file *attached, int64_t byte);

/* Empty the anonymous slot if none of its users lives. Does nothing in a process that is one of them. */
void vgpu_region_reap_anonymous(const char *path, const struct vgpu_region_file *attached);

/*
 * What is wrong with SIZE bytes that should be a region, or NULL. With LIMITS also: whose they are. Reads the header and the
 * devices' uuids, each within SIZE. Pure.
 */
const char *vgpu_region_fault(const struct vgpu_region *region, size_t size, const struct vgpu_limits *limits);

/* Where a sound region has DEVICE, or -1. By uuid, never by position. Pure. */
int vgpu_region_place(const struct vgpu_region *region, const struct vgpu_limits_device *device);

#endif
