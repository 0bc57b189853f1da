/*
 * A lock that can be tried: between the threads of one process, in memory that a fork wipes, so that a child finds it free.
 * pthread_mutex_trylock is not in every libc.so.6. No owner, no recursion; what waits sleeps in the kernel. Keeps errno.
 */
#ifndef VGPU_LOCK_H
#define VGPU_LOCK_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VGPU_UNLOCKED, VGPU_LOCKED, VGPU_AWAITED };

static inline bool vgpu_try_lock(_Atomic uint32_t *lock)
{
	uint32_t unlocked = VGPU_UNLOCKED;

	return atomic_compare_exchange_strong_explicit(lock, &unlocked, VGPU_LOCKED, memory_order_acquire, memory_order_relaxed);
}

static inline void vgpu_lock(_Atomic uint32_t *lock)
{
	int error;

	if (__builtin_expect(vgpu_try_lock(lock), 1))
		return;
	error = errno;
	while (atomic_exchange_explicit(lock, VGPU_AWAITED, memory_order_acquire) != VGPU_UNLOCKED)
		syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, VGPU_AWAITED, NULL, NULL, 0);
	errno = error;
}

static inline void vgpu_unlock(_Atomic uint32_t *lock)
{
	int error;

	if (atomic_exchange_explicit(lock, VGPU_UNLOCKED, memory_order_release) != VGPU_AWAITED)
		return;
	error = errno;
	syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = error;
}

#endif
