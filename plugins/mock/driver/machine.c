/* See machine.h. */
#define _GNU_SOURCE
#include "machine.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool is_valid(const struct state *state, off_t size)
{
	return state->magic == STATE_MAGIC && state->version == STATE_VERSION && state->size == sizeof *state
	    && size == (off_t)sizeof *state && state->facts.chips <= STATE_DEVICES;
}

static int map(int file, struct state **state)
{
	struct stat about;
	void *at;

	if (fstat(file, &about) < 0)
		return errno;
	if (about.st_size != (off_t)sizeof **state)
		return EINVAL;
	at = mmap(NULL, sizeof **state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (at == MAP_FAILED)
		return errno;
	if (!is_valid(at, about.st_size)) {
		munmap(at, sizeof **state);
		return EINVAL;
	}
	*state = at;
	return 0;
}

int machine_open(struct machine *machine, const char *path)
{
	int failure;

	machine->file = open(path, O_RDWR | O_CLOEXEC);
	if (machine->file < 0)
		return errno;
	failure = map(machine->file, &machine->state);
	if (failure) {
		close(machine->file);
		machine->file = -1;
		return failure;
	}
	machine->pid = getpid();
	return 0;
}

void machine_close(struct machine *machine)
{
	munmap(machine->state, sizeof *machine->state);
	close(machine->file);
	machine->file = -1;
}

/* "<folder>/lib/libcuda.so.1" becomes "<folder>/lib/../state". */
int machine_open_own(struct machine *machine)
{
	static const char beside[] = "/../state";
	char path[PATH_MAX];
	const char *slash;
	Dl_info library;
	size_t length;

	if (!dladdr((void *)machine_open_own, &library) || !library.dli_fname)
		return ENOENT;
	slash = strrchr(library.dli_fname, '/');
	length = slash ? (size_t)(slash - library.dli_fname) : 0;
	if (!slash || length + sizeof beside > sizeof path)
		return ENOENT;
	memcpy(path, library.dli_fname, length);
	memcpy(path + length, beside, sizeof beside);
	return machine_open(machine, path);
}

void machine_sleep(uint64_t nanoseconds)
{
	struct timespec left = {.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
	int saved = errno;

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
	errno = saved;
}
