/*
 * Memory that several processes hold: what the kernel can tell about the others. A region counts bytes by process and cannot say
 * who holds what of whom; locks and descriptors can, and go with the process that dies. Which call shares what, and who pays, is
 * not decided here.
 *
 * A handle of bytes (IPC, fabric) is known by a key, the same in every process. A descriptor has none: all that can be told is
 * whether it is still open somewhere.
 *
 * Callers hold vgpu_virtual_lock(); errno may change. A process that is stopped holds nobody up for more than a second.
 */
#ifndef VGPU_SHARING_H
#define VGPU_SHARING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region_file.h"

#define VGPU_SHARING_UNTOLD UINT64_C(1)	/* the key of all that was opened by a descriptor and whose size is not known yet */

/* Of the bytes of a handle: 48 bits, never 0 and never VGPU_SHARING_UNTOLD. */
uint64_t vgpu_sharing_key(const void *handle, size_t size);

/* This process is charged for the memory behind KEY, or no longer is. */
void vgpu_sharing_own(const struct vgpu_region_file *file, uint64_t key);
void vgpu_sharing_disown(const struct vgpu_region_file *file, uint64_t key);

/* This process has opened memory of another, or closed it; KEY is 0 where it is not known. Before the driver opens it. */
void vgpu_sharing_open(const struct vgpu_region_file *file, uint64_t key);
void vgpu_sharing_close(const struct vgpu_region_file *file, uint64_t key);

/* Whether a process of this container, this one included, is charged for KEY, or has it open. */
bool vgpu_sharing_is_owned(const struct vgpu_region_file *file, uint64_t key);
bool vgpu_sharing_is_open(const struct vgpu_region_file *file, uint64_t key);

/*
 * Watch DESCRIPTOR under a number that the caller chooses, not 0. False: it cannot be watched. A watched one does not stay open
 * for it.
 */
bool vgpu_sharing_watch(int descriptor, uint64_t number);

/* Whether a descriptor watched under NUMBER may be open, anywhere, under whatever number. True also where that cannot be told. */
bool vgpu_sharing_may_be_held(uint64_t number);

/* A child: what the parent had is not its own. */
void vgpu_sharing_forget(void);

#endif
