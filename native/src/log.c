#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

#define LINE_MAX_BYTES 1024
#define CAUSES 16	/* errors have few causes; beyond this many different ones the oldest may be said again */

static const char *const names[] = { "", "ERROR", "Msg", "Info", "Debug" };

bool vgpu_log_wants(enum vgpu_level level)
{
	static _Atomic int known;	/* 1 + the level asked for; the environment is read once */
	int asked = atomic_load_explicit(&known, memory_order_relaxed);

	if (asked == 0) {
		const char *value = secure_getenv("LIBCUDA_LOG_LEVEL");

		asked = value && value[0] >= '0' && value[0] <= '4' && !value[1] ? 1 + value[0] - '0' : 1;
		atomic_store_explicit(&known, asked, memory_order_relaxed);
	}
	return level == VGPU_ERROR || (int)level < asked;
}

bool vgpu_log_is_news(const char *text)
{
	static _Atomic uint64_t said[CAUSES];
	static _Atomic unsigned next;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		sum = (sum ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < CAUSES; i++)
		if (atomic_load_explicit(&said[i], memory_order_relaxed) == sum)
			return false;
	atomic_store_explicit(&said[atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % CAUSES], sum,
	                      memory_order_relaxed);
	return true;
}

void vgpu_log_line(enum vgpu_level level, const char *file, int line, const char *format, ...)
{
	struct vgpu_guest guest = vgpu_guest_enter();	/* write() is a cancellation point, and our caller may hold a lock */
	char text[LINE_MAX_BYTES];
	va_list arguments;
	int length;

	length = snprintf(text, sizeof(text), "[HAMI-core %s(%d:%ld:%s:%d)]: ", names[level], (int)getpid(),
	                  (long)syscall(SYS_gettid), file, line);
	va_start(arguments, format);
	length += vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
	va_end(arguments);
	if (length > LINE_MAX_BYTES - 1)
		length = LINE_MAX_BYTES - 1;
	text[length++] = '\n';		/* over the final zero, which write() does not need */
	(void)!write(STDERR_FILENO, text, (size_t)length);	/* a closed standard error is the application's choice */
	vgpu_guest_leave(guest);
}
