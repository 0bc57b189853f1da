/* Who a process is, and whether it still lives. Reads /proc; allocates nothing; keeps errno. */
#ifndef HAMI_MOCK_PROCESS_H
#define HAMI_MOCK_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct identity {
	int32_t pid;
	uint64_t start_time;                    /* 0: /proc cannot be read */
	uint64_t pid_namespace;                 /* 0: the same */
};

struct identity process_self(void);

/*
 * Whether that process is surely gone: no such pid, a pid with another start time, or a zombie without threads. (A process whose main
 * thread ended while others run shows "Z" too, with more than one thread.) A process of another PID namespace is never surely gone.
 */
bool process_is_gone(const struct identity *who, const struct identity *self);

/* The program's path as `readlink /proc/<pid>/exe` gives it, cut to SIZE. Returns false if that cannot be read. */
bool process_program(int32_t pid, char *path, size_t size);

#endif
