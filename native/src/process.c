#include "process.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_WIPEONFORK			/* Linux 4.14; newer than the glibc that we build for */
#define MADV_WIPEONFORK 18
#endif

struct vgpu_process *_Atomic vgpu_process_page;

/* What pthread_atfork is made of; that itself is not in every libc.so.6. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);

static void wipe(void)
{
	memset(atomic_load_explicit(&vgpu_process_page, memory_order_relaxed), 0, sizeof(struct vgpu_process));
}

struct vgpu_process *vgpu_process_make(void)
{
	static struct vgpu_process fallback;
	struct vgpu_process *none = NULL, *page;

	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		page = &fallback;
	if (!atomic_compare_exchange_strong_explicit(&vgpu_process_page, &none, page, memory_order_acq_rel,
	                                             memory_order_acquire)) {
		if (page != &fallback)
			munmap(page, sizeof(*page));
		return none;
	}
	if (page == &fallback || madvise(page, sizeof(*page), MADV_WIPEONFORK) != 0)
		__register_atfork(NULL, NULL, wipe, NULL);
	return page;
}
