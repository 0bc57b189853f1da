#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_BYTES 1024		/* 52 numbers of at most 20 digits, and a name of 64 */

static const char *skip_fields(const char *at, const char *end, unsigned count)
{
	while (count && at < end)
		if (*at++ == ' ')
			count--;
	return at;
}

static uint64_t number_at(const char *at, const char *end)
{
	uint64_t value = 0;

	for (; at < end && *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

bool vgpu_stat_parse(const char *text, size_t length, struct vgpu_stat *stat)
{
	const char *end = text + length, *at = length ? memrchr(text, ')', length) : NULL;

	if (!at || end - at < 4 || at[1] != ' ')
		return false;
	stat->state = at[2];
	stat->threads = number_at(skip_fields(at, end, 18), end);
	stat->start_time = number_at(skip_fields(at, end, 20), end);
	return stat->start_time != 0;	/* only the boot itself has 0 */
}

/* 1: read; 0: no such process; -1: cannot tell. */
static int read_stat(const char *path, struct vgpu_stat *stat)
{
	char text[STAT_BYTES];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (file < 0)
		return errno == ENOENT ? 0 : -1;
	length = read(file, text, sizeof(text));
	if (length < 0 && errno == ESRCH)
		length = 0;
	close(file);
	if (length == 0)
		return 0;
	return length > 0 && vgpu_stat_parse(text, (size_t)length, stat) ? 1 : -1;
}

struct vgpu_identity vgpu_identity_of_self(void)
{
	struct vgpu_identity self = { .pid = (uint32_t)getpid() };
	struct vgpu_stat stat;
	struct stat namespace;

	if (read_stat("/proc/self/stat", &stat) == 1)
		self.start_time = stat.start_time;
	if (self.start_time && fstatat(AT_FDCWD, "/proc/self/ns/pid", &namespace, 0) == 0)
		self.pid_namespace = namespace.st_ino;
	return self;
}

bool vgpu_pid_exists(uint32_t pid)
{
	return kill((pid_t)pid, 0) == 0 || errno != ESRCH;
}

enum vgpu_life vgpu_identity_life(const struct vgpu_identity *who, const struct vgpu_identity *self,
                                  uint64_t start_time_mask)
{
	char path[32];
	struct vgpu_stat stat;

	if (!who->pid_namespace || (!who->start_time && start_time_mask == UINT64_MAX) || who->pid_namespace != self->pid_namespace)
		return VGPU_CANNOT_TELL;
	if (!vgpu_pid_exists(who->pid))
		return VGPU_DEAD;
	snprintf(path, sizeof(path), "/proc/%u/stat", who->pid);
	switch (read_stat(path, &stat)) {
	case 0:
		return vgpu_pid_exists(who->pid) ? VGPU_CANNOT_TELL : VGPU_DEAD;
	case -1:
		return VGPU_CANNOT_TELL;
	}
	if ((stat.start_time ^ who->start_time) & start_time_mask)
		return VGPU_DEAD;
	/* A main thread that left by pthread_exit shows Z as well, but with the threads that remain. */
	return (stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1 ? VGPU_DEAD : VGPU_ALIVE;
}
