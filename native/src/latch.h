/*
 * A lock between the threads of one process, for sections of some tens of instructions: two atomics where nobody else wants it, which
 * is a third of what a mutex of the C library costs. Zero is open, so a page that is wiped by a fork holds an open one.
 */
#ifndef VGPU_LATCH_H
#define VGPU_LATCH_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef _Atomic uint32_t vgpu_latch;

enum { VGPU_LATCH_OPEN, VGPU_LATCH_HELD, VGPU_LATCH_WANTED };

__attribute__((noinline, unused))
static void vgpu_latch_wait(vgpu_latch *latch)
{
	int error = errno;

	while (atomic_exchange_explicit(latch, VGPU_LATCH_WANTED, memory_order_acquire) != VGPU_LATCH_OPEN)
		syscall(SYS_futex, latch, FUTEX_WAIT_PRIVATE, VGPU_LATCH_WANTED, NULL, NULL, 0);
	errno = error;
}

__attribute__((noinline, unused))
static void vgpu_latch_wake(vgpu_latch *latch)
{
	int error = errno;

	syscall(SYS_futex, latch, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = error;
}

static inline void vgpu_latch_lock(vgpu_latch *latch)
{
	uint32_t open = VGPU_LATCH_OPEN;

	if (__builtin_expect(!atomic_compare_exchange_strong_explicit(latch, &open, VGPU_LATCH_HELD, memory_order_acquire,
	                                                              memory_order_relaxed), 0))
		vgpu_latch_wait(latch);
}

static inline void vgpu_latch_unlock(vgpu_latch *latch)
{
	if (__builtin_expect(atomic_exchange_explicit(latch, VGPU_LATCH_OPEN, memory_order_release) == VGPU_LATCH_WANTED, 0))
		vgpu_latch_wake(latch);
}

#endif
