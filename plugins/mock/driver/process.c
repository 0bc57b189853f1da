/* See process.h. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fields of /proc/<pid>/stat, counted from the state, which follows the last ')': a name may hold blanks and brackets (proc(5)). */
enum { FIELD_THREADS = 17, FIELD_START = 19 };

struct stat_line {
	char state;
	long threads;
	uint64_t start_time;
};

static bool parse(const char *text, struct stat_line *line)
{
	const char *at = strrchr(text, ')');

	if (!at || at[1] != ' ')
		return false;
	at += 2;
	line->state = *at;
	for (int field = 0; field < FIELD_START; field++) {
		if (field == FIELD_THREADS)
			line->threads = strtol(at, NULL, 10);
		at = strchr(at, ' ');
		if (!at)
			return false;
		at++;
	}
	line->start_time = strtoull(at, NULL, 10);
	return true;
}

static bool read_stat(int32_t pid, struct stat_line *line)
{
	char path[32], text[1024];
	ssize_t size;
	int file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	size = read(file, text, sizeof text - 1);
	close(file);
	if (size <= 0)
		return false;
	text[size] = '\0';
	return parse(text, line);
}

struct identity process_self(void)
{
	struct identity self = {.pid = getpid()};
	struct stat_line line;
	struct stat namespace;
	int saved = errno;

	if (read_stat(self.pid, &line))
		self.start_time = line.start_time;
	if (stat("/proc/self/ns/pid", &namespace) == 0)
		self.pid_namespace = namespace.st_ino;
	errno = saved;
	return self;
}

bool process_is_gone(const struct identity *who, const struct identity *self)
{
	struct stat_line line;
	int saved = errno;
	bool gone = false;

	if (!who->start_time || !who->pid_namespace || who->pid_namespace != self->pid_namespace)
		return false;
	if (kill(who->pid, 0) < 0 && errno == ESRCH)
		gone = true;
	else if (read_stat(who->pid, &line))
		gone = line.start_time != who->start_time || ((line.state == 'Z' || line.state == 'X') && line.threads <= 1);
	errno = saved;
	return gone;
}

bool process_program(int32_t pid, char *path, size_t size)
{
	char link[32];
	int saved = errno;
	ssize_t length;

	snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
	length = readlink(link, path, size - 1);
	errno = saved;
	if (length < 0)
		return false;
	path[length] = '\0';
	return true;
}
