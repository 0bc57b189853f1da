/*
 * Lines on standard error, in HAMi-core's form: [HAMI-core <level>(<pid>:<thread>:<file>:<line>)]: <text>.
 * LIBCUDA_LOG_LEVEL as there: unset, 0 or 1 errors only; 2 warnings and messages; 3 information; 4 debugging.
 */
#ifndef VGPU_LOG_H
#define VGPU_LOG_H

#include <stdbool.h>

enum vgpu_level {
	VGPU_ERROR = 1,
	VGPU_MESSAGE = 2,
	VGPU_INFO = 3,
	VGPU_DEBUG = 4,
};

/* One line by one write(2), cut at 1 KiB. Any thread; no lock, no allocation; errno is left as found. */
__attribute__((format(printf, 4, 5)))
void vgpu_log_line(enum vgpu_level level, const char *file, int line, const char *format, ...);

/* Whether the level is asked for. */
bool vgpu_log_wants(enum vgpu_level level);

/* True the first time this process says TEXT, of the last few texts it said: errors come once per cause. */
bool vgpu_log_is_news(const char *text);

#define VGPU_LOG(level, ...) \
	do { \
		if (vgpu_log_wants(level)) \
			vgpu_log_line(level, __FILE_NAME__, __LINE__, __VA_ARGS__); \
	} while (0)

#endif
