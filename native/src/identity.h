/* Who a process is, and whether it still lives: (pid, start time, PID namespace), read from /proc. Slow paths only. */
#ifndef VGPU_IDENTITY_H
#define VGPU_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_identity {
	uint32_t pid;
	uint64_t start_time;	/* clock ticks since boot; 0: /proc could not be read */
	uint64_t pid_namespace;	/* inode; 0: /proc could not be read */
};

/* Cannot tell is not dead: another PID namespace, hidepid, no /proc. */
enum vgpu_life { VGPU_ALIVE, VGPU_DEAD, VGPU_CANNOT_TELL };

/* The calling process. Reads /proc; no allocation, no lock. */
struct vgpu_identity vgpu_identity_of_self(void);

/*
 * Whether WHO lives, as SELF sees it; of its start time only the bits of START_TIME_MASK are known. One kill(pid, 0), and a
 * file of /proc where that finds somebody.
 */
enum vgpu_life vgpu_identity_life(const struct vgpu_identity *who, const struct vgpu_identity *self,
                                  uint64_t start_time_mask);

/* Whether the number is in use in our PID namespace, by a process or by a zombie. One system call. */
bool vgpu_pid_exists(uint32_t pid);

struct vgpu_stat {
	char state;		/* field 3 */
	uint64_t threads;	/* field 20 */
	uint64_t start_time;	/* field 22 */
};

/*
 * Read LENGTH bytes of a /proc/<pid>/stat. False: it is none. The name in it may hold anything, blanks and brackets included,
 * so fields are counted from the last closing bracket. Pure.
 */
bool vgpu_stat_parse(const char *text, size_t length, struct vgpu_stat *stat);

#endif
