/*
 * Manners of a guest in somebody else's process: around everything that may make a system call, errno is kept, and the thread
 * cannot be cancelled while it holds our lock (the driver's own calls are no cancellation points either).
 */
#ifndef VGPU_GUEST_H
#define VGPU_GUEST_H

#include <errno.h>
#include <pthread.h>

struct vgpu_guest {
	int error, cancelling;
};

static inline struct vgpu_guest vgpu_guest_enter(void)
{
	struct vgpu_guest guest = { .error = errno };

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &guest.cancelling);
	return guest;
}

static inline void vgpu_guest_leave(struct vgpu_guest guest)
{
	pthread_setcancelstate(guest.cancelling, NULL);
	errno = guest.error;
}

#endif
