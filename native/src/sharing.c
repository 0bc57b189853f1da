#include "sharing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pointers.h"
#include "process.h"

#define KEY_MASK ((UINT64_C(1) << 48) - 1)
#define SENTINEL UINT64_C(0x6e676572696d6168)	/* the number that says the watcher is still ours; no caller chooses it */

/* How often this process owns or has opened a key: it takes each lock once. By key, and by key with the bit above it. */
static struct vgpu_pointers held;

#define OPENED (UINT64_C(1) << 48)

uint64_t vgpu_sharing_key(const void *handle, size_t size)
{
	const uint8_t *bytes = handle;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	sum = (sum ^ sum >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	sum = sum >> 16 & KEY_MASK;
	return sum < 2 ? 2 : sum;	/* the table of counts keeps 0 and 1 for itself */
}

/* The count after STEP; the count before is 0 where the key is not known. */
static uint64_t count(uint64_t which, int64_t step)
{
	struct vgpu_pointer value = { 0 }, stale;

	vgpu_pointers_take(&held, which, &value);
	value.bytes += (uint64_t)step;
	if (value.bytes && !vgpu_pointers_add(&held, which, value, &stale))
		return 1;		/* no memory: the lock is taken and never given up, which is too long and never too short */
	return value.bytes;
}

static uint64_t counted(uint64_t which)
{
	struct vgpu_pointer value = { 0 };

	return vgpu_pointers_find(&held, which, &value) ? value.bytes : 0;
}

void vgpu_sharing_own(const struct vgpu_region_file *file, uint64_t key)
{
	if (count(key, 1) == 1)
		vgpu_region_lock_key(file, VGPU_LOCK_OWNED + (int64_t)key);
}

void vgpu_sharing_disown(const struct vgpu_region_file *file, uint64_t key)
{
	if (counted(key) && count(key, -1) == 0)
		vgpu_region_unlock_key(file, VGPU_LOCK_OWNED + (int64_t)key);
}

void vgpu_sharing_open(const struct vgpu_region_file *file, uint64_t key)
{
	if (vgpu_process()->imports++ == 0)
		vgpu_region_join_anonymous(file);
	if (key && count(key | OPENED, 1) == 1)
		vgpu_region_lock_key(file, VGPU_LOCK_OPENED + (int64_t)key);
}

/* A process that has no slot of its own stays: the lock says that it lives, too. */
void vgpu_sharing_close(const struct vgpu_region_file *file, uint64_t key)
{
	struct vgpu_process *process = vgpu_process();

	if (key && counted(key | OPENED) && count(key | OPENED, -1) == 0)
		vgpu_region_unlock_key(file, VGPU_LOCK_OPENED + (int64_t)key);
	if (process->imports && --process->imports == 0 && file->region &&
	    atomic_load_explicit(&process->slot, memory_order_acquire) != &file->region->anonymous)
		vgpu_region_leave_anonymous(file);
}

bool vgpu_sharing_is_owned(const struct vgpu_region_file *file, uint64_t key)
{
	return counted(key) || vgpu_region_is_key_locked(file, VGPU_LOCK_OWNED + (int64_t)key);
}

bool vgpu_sharing_is_open(const struct vgpu_region_file *file, uint64_t key)
{
	return counted(key | OPENED) || vgpu_region_is_key_locked(file, VGPU_LOCK_OPENED + (int64_t)key);
}

/* One line of a set's list, such as "tfd: 5 events: 18 data: 6e67 pos:0 ino:2a sdev:b": its number, or 0 for another line. */
static uint64_t number_in(const char *line)
{
	const char *data = strncmp(line, "tfd:", 4) == 0 ? strstr(line, " data:") : NULL;

	return data ? strtoull(data + strlen(" data:"), NULL, 16) : 0;
}

/*
 * The kernel takes a descriptor out of an epoll set when its last copy is closed, in whatever process, and lists a set in
 * /proc/self/fdinfo, the numbers with it: whether NUMBER is in the set, and whether the set is still the one we made.
 */
static bool look_up(int watcher, uint64_t number, bool *ours)
{
	char path[64], text[1024];
	size_t length = 0;
	bool found = false;
	ssize_t more;
	int list;

	*ours = false;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", watcher);
	list = open(path, O_RDONLY | O_CLOEXEC);
	if (list < 0)
		return false;
	while ((more = read(list, text + length, sizeof(text) - 1 - length)) > 0) {
		char *line = text, *end;

		length += (size_t)more;
		text[length] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			*ours |= number_in(line) == SENTINEL;
			found |= number_in(line) == number;
		}
		length -= (size_t)(line - text);
		memmove(text, line, length);
	}
	close(list);
	return found;
}

static bool add(int watcher, int descriptor, uint64_t number)
{
	struct epoll_event event = { .events = 0, .data = { .u64 = number } };

	return epoll_ctl(watcher, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

/* A program may have closed its standard streams: never take their numbers. */
static int above_standard_streams(int descriptor)
{
	int moved;

	if (descriptor < 0 || descriptor > STDERR_FILENO)
		return descriptor;
	moved = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(descriptor);
	return moved;
}

static bool make_watcher(struct vgpu_process *process)
{
	process->watcher = above_standard_streams(epoll_create1(EPOLL_CLOEXEC));
	process->sentinel = above_standard_streams(eventfd(0, EFD_CLOEXEC));
	if (process->watcher >= 0 && process->sentinel >= 0 && add(process->watcher, process->sentinel, SENTINEL))
		return true;
	close(process->watcher);
	close(process->sentinel);
	return false;
}

/* A program may close all descriptors and open its own under these numbers: into those nothing is added. */
static bool has_watcher(struct vgpu_process *process)
{
	bool ours;

	if (!process->watching)
		process->watching = make_watcher(process);
	return process->watching && look_up(process->watcher, SENTINEL, &ours);
}

bool vgpu_sharing_watch(int descriptor, uint64_t number)
{
	struct vgpu_process *process = vgpu_process();

	return has_watcher(process) && add(process->watcher, descriptor, number);
}

bool vgpu_sharing_may_be_held(uint64_t number)
{
	struct vgpu_process *process = vgpu_process();
	bool ours = false, found = process->watching && look_up(process->watcher, number, &ours);

	return found || !ours;
}

void vgpu_sharing_forget(void)
{
	vgpu_pointers_clear(&held);
}
