/* Pointers that were given to other processes by cuIpcGetMemHandle: what their freeing asks. */
#ifndef VGPU_CUDA_IPC_H
#define VGPU_CUDA_IPC_H

#include "charge.h"

/* Give back what a freed pointer was charged that may have been given to others. Slow path. */
void vgpu_ipc_discharge(uint64_t pointer, struct vgpu_pointer charged);

/* Whether any pointer of this process was ever given to others: one load. */
static inline bool vgpu_ipc_has_exports(void)
{
	return atomic_load_explicit(&vgpu_process()->has_exports, memory_order_relaxed);
}

#endif
