/* See lock.h. A lock is a byte of the file: byte 0 for the table, byte 1 + n for row n. Nothing is stored in them. */
#define _GNU_SOURCE
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#ifndef F_OFD_GETLK                             /* Linux 3.15; glibc names them from 2.20 on */
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif

enum { QUICK = 100, TRIES = 2100 };

static bool ask(int file, int command, short type, off_t byte, struct flock *answer)
{
	int saved = errno;
	int result;

	do {
		*answer = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
		result = fcntl(file, command, answer);
	} while (result < 0 && errno == EINTR);
	errno = saved;
	return result == 0;
}

bool lock_table(int file)
{
	struct timespec pause = {.tv_nsec = 20000};
	struct flock answer;

	for (int i = 0; i < TRIES; i++) {
		if (ask(file, F_OFD_SETLK, F_WRLCK, 0, &answer))
			return true;
		if (i >= QUICK)
			pause.tv_nsec = 1000000;
		nanosleep(&pause, NULL);
	}
	return false;
}

void unlock_table(int file)
{
	struct flock answer;

	ask(file, F_OFD_SETLK, F_UNLCK, 0, &answer);
}

bool lock_row(int file, unsigned row)
{
	struct flock answer;

	return ask(file, F_OFD_SETLK, F_WRLCK, 1 + (off_t)row, &answer);
}

void unlock_row(int file, unsigned row)
{
	struct flock answer;

	ask(file, F_OFD_SETLK, F_UNLCK, 1 + (off_t)row, &answer);
}

bool row_is_locked(int file, unsigned row)
{
	struct flock answer;

	return !ask(file, F_OFD_GETLK, F_WRLCK, 1 + (off_t)row, &answer) || answer.l_type != F_UNLCK;
}

bool lock_memory(int memory)
{
	struct flock answer;

	return ask(memory, F_OFD_SETLK, F_RDLCK, 0, &answer);
}

bool memory_is_locked(int memory)
{
	struct flock answer;

	return !ask(memory, F_OFD_GETLK, F_WRLCK, 0, &answer) || answer.l_type != F_UNLCK;
}
