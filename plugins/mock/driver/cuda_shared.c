/* See cuda_shared.h. */
#define _GNU_SOURCE
#include "cuda_shared.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lock.h"

enum { PAGE = 4096 };

static struct shared *all;

static struct shared *add(uint64_t id, int file, CUdevice device, uint64_t size, uint64_t requested)
{
	struct shared *shared = malloc(sizeof *shared);

	if (!shared)
		return NULL;
	*shared = (struct shared){id, size, requested, device, file, all};
	all = shared;
	return shared;
}

static char *map(struct shared *shared, char *at)
{
	void *found = mmap(at, shared->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0), shared->file, 0);

	return found == MAP_FAILED ? NULL : found;
}

/* Only what is not zero: memory that was never written takes no room. */
static bool save(int file, const char *bytes, uint64_t size)
{
	static const char zeros[PAGE];

	for (uint64_t at = 0; at < size; at += PAGE) {
		size_t length = size - at < PAGE ? size - at : PAGE;

		if (memcmp(bytes + at, zeros, length) != 0 && pwrite(file, bytes + at, length, (off_t)at) != (ssize_t)length)
			return false;
	}
	return true;
}

static void close_file(uint64_t id, int file)
{
	close(file);
	sharing_close(driver.state, driver.machine.file, driver.row, id);
}

struct shared *shared_publish(CUdevice device, const struct change *held, uint64_t size, char **bytes)
{
	struct shared *shared;
	int file;
	uint64_t id;

	if (!driver_join())
		return NULL;
	id = sharing_publish(driver.state, driver.machine.file, driver.row, index_of(device), held, size, &file);
	if (!id)
		return NULL;
	shared = add(id, file, device, size, (uint64_t)held->requested);
	if (!shared || (*bytes && (!save(file, *bytes, size) || !map(shared, *bytes)))) {
		if (shared)
			shared_close(shared);
		else
			close_file(id, file);
		return NULL;
	}
	return shared;
}

static struct shared *lent(const struct shared_memory *about, int file)
{
	struct shared *shared = NULL;
	CUdevice device = device_at(about->device);

	if (device >= 0)
		shared = add(about->id, file, device, about->size, about->requested);
	if (!shared)
		close_file(about->id, file);
	return shared;
}

struct shared *shared_open(uint64_t id)
{
	struct shared_memory about;
	int file = sharing_open(driver.state, driver.machine.file, id, &about);

	return file < 0 ? NULL : lent(&about, file);
}

struct shared *shared_recognise(int given)
{
	struct shared_memory about;
	int file;

	if (!sharing_recognise(driver.state, driver.machine.file, given, &about))
		return NULL;
	file = fcntl(given, F_DUPFD_CLOEXEC, 0);
	if (file < 0)
		return NULL;
	lock_memory(file);                              /* it may have been opened anew, by /proc say */
	return lent(&about, file);
}

int shared_export(const struct shared *shared)
{
	return fcntl(shared->file, F_DUPFD_CLOEXEC, 0);
}

char *shared_bytes(struct shared *shared, char **bytes)
{
	if (!*bytes)
		*bytes = map(shared, NULL);
	return *bytes;
}

static void drop(struct shared *shared)
{
	struct shared **at = &all;

	while (*at != shared)
		at = &(*at)->next;
	*at = shared->next;
	close(shared->file);
	free(shared);
}

void shared_close(struct shared *shared)
{
	uint64_t id = shared->id;

	drop(shared);
	sharing_close(driver.state, driver.machine.file, driver.row, id);
}

void shared_close_copy(struct shared *shared)
{
	drop(shared);
}

void shared_forget_all(void)
{
	for (struct shared *shared = all; shared; shared = shared->next)
		close(shared->file);
}
