#include "region_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "slots.h"

#define ATTEMPTS 100			/* of attaching, while others create, replace or lock */
#define PAUSE_NS 10000000		/* between two; all attempts together take one second */

#ifndef F_OFD_SETLK			/* Linux 3.15; newer than the glibc that we build for */
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

/* A fault like others, but pids and times in such a region prove nothing. */
static const char *const from_before = "it is from before the machine's last start";

/* What one attempt came to. */
enum outcome { ATTACHED, AGAIN, REFUSED };

static int lock_byte(int file, short type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(file, F_OFD_SETLK, &lock);
}

/* An application may have closed its standard streams: never take their numbers, it would write into the region. */
static int above_standard_streams(int file)
{
	int moved;

	if (file < 0 || file > STDERR_FILENO)
		return file;
	moved = fcntl(file, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(file);
	return moved;
}

static int open_region(const char *path, int flags)
{
	return above_standard_streams(open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600));
}

/* The kernel's boot id; all zero where /proc does not tell. */
static void read_boot_id(uint8_t id[16])
{
	char text[sizeof("GPU-") - 1 + 36] = "GPU-";	/* the parser reads a UUID with its prefix */
	int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(id, 0, 16);
	if (file < 0)
		return;
	if (read(file, text + 4, 36) != 36 || !vgpu_limits_parse_uuid(text, sizeof(text), id))
		memset(id, 0, 16);
	close(file);
}

/* Whether the region is from before the last start of the machine: then no pid or time in it means anything. */
static bool is_of_another_boot(const struct vgpu_region *region)
{
	static const uint8_t unknown[16];
	uint8_t id[16];

	read_boot_id(id);
	return memcmp(id, unknown, sizeof(id)) != 0 && memcmp(region->header.boot_id, unknown, sizeof(id)) != 0 &&
	       memcmp(region->header.boot_id, id, sizeof(id)) != 0;
}

static bool write_header(int file, const struct vgpu_limits *limits)
{
	/* Static: the devices alone would be a page and a half on a thread's stack. Its content depends only on LIMITS, and
	 * the callers hold the process' lock. */
	static struct {
		struct vgpu_region_header header;
		struct vgpu_region_device devices[VGPU_MAX_DEVICES];
	} head;

	memset(&head, 0, sizeof(head));
	head.header.magic = VGPU_REGION_MAGIC;
	head.header.version = VGPU_REGION_VERSION;
	head.header.device_count = limits->device_count;
	head.header.size = VGPU_REGION_SIZE;
	head.header.checksum = vgpu_layout_checksum();
	memcpy(head.header.grant, limits->grant, sizeof(head.header.grant));
	read_boot_id(head.header.boot_id);
	for (uint32_t i = 0; i < limits->device_count; i++)
		memcpy(head.devices[i].uuid, limits->devices[i].uuid, sizeof(head.devices[i].uuid));
	return pwrite(file, &head, sizeof(head), 0) == (ssize_t)sizeof(head);
}

/* A complete new region under a name of its own. Its blocks are allocated: a full disk shows here, not as SIGBUS later. */
static bool create_temporary(const char *path, char temporary[PATH_MAX], unsigned mode, const struct vgpu_limits *limits)
{
	int length = snprintf(temporary, PATH_MAX, "%s.%d.new", path, (int)getpid()), file;
	bool made;

	if (length < 0 || length >= PATH_MAX)
		return false;
	unlink(temporary);		/* a former process of this number may have died here */
	file = open_region(temporary, O_CREAT | O_EXCL);
	if (file < 0)
		return false;
	/* fchmod, as the umask is the application's and stays untouched. */
	made = posix_fallocate(file, 0, VGPU_REGION_SIZE) == 0 && fchmod(file, mode) == 0 && write_header(file, limits);
	close(file);
	if (!made)
		unlink(temporary);
	return made;
}

/* Give the region its name unless somebody else was faster, which is as good. */
static enum outcome create(const char *path, unsigned mode, const struct vgpu_limits *limits, char *reason)
{
	char temporary[PATH_MAX];
	bool named;

	if (!create_temporary(path, temporary, mode, limits)) {
		snprintf(reason, VGPU_FAULT_LENGTH, "cannot create region %.150s: %s", path, strerror(errno));
		return REFUSED;
	}
	named = link(temporary, path) == 0 || errno == EEXIST;
	if (!named)
		snprintf(reason, VGPU_FAULT_LENGTH, "cannot name region %.150s: %s", path, strerror(errno));
	unlink(temporary);
	return named ? AGAIN : REFUSED;
}

static bool is_still_named(int file, const char *path)
{
	struct stat opened, named;

	return fstat(file, &opened) == 0 && lstat(path, &named) == 0 && opened.st_dev == named.st_dev &&
	       opened.st_ino == named.st_ino;
}

/*
 * Whether a process that lives has a slot in FILE, whatever else is wrong with that. Read, not mapped: it may be short.
 */
static bool has_living_user(int file, const struct vgpu_identity *self)
{
	struct {
		uint64_t state;
		uint32_t pid, reserved;
		uint64_t start_time, pid_namespace;
	} slot;

	_Static_assert(sizeof(slot) == offsetof(struct vgpu_region_slot, reserved_b), "the beginning of a slot");
	for (off_t i = 0; i < VGPU_MAX_SLOTS; i++) {
		off_t at = (off_t)offsetof(struct vgpu_region, slots) + i * (off_t)sizeof(struct vgpu_region_slot);
		struct vgpu_identity who;

		if (pread(file, &slot, sizeof(slot), at) != (ssize_t)sizeof(slot))
			return false;
		who = (struct vgpu_identity){ slot.pid, slot.start_time, slot.pid_namespace };
		if ((slot.state & VGPU_SLOT_STATE_MASK) == VGPU_SLOT_LIVE && slot.pid != self->pid &&
		    vgpu_identity_life(&who, self, UINT64_MAX) == VGPU_ALIVE)
			return true;
	}
	return false;
}

/* Put a fresh region in the place of a damaged one that nobody uses. The exclusive lock keeps others out meanwhile. */
static enum outcome replace(int file, const char *path, unsigned mode, const struct vgpu_limits *limits,
                            const struct vgpu_identity *self, const char *fault, char *reason)
{
	char temporary[PATH_MAX];

	snprintf(reason, VGPU_FAULT_LENGTH, "region %.150s: %s", path, fault);
	if (lock_byte(file, F_WRLCK, VGPU_LOCK_USERS) != 0 || !is_still_named(file, path))
		return AGAIN;
	if (fault != from_before && has_living_user(file, self))
		return REFUSED;
	if (!create_temporary(path, temporary, mode, limits))
		return REFUSED;
	if (rename(temporary, path) == 0)
		return AGAIN;
	unlink(temporary);
	return REFUSED;
}

/* Map FILE and check it. The size is checked before anything is touched: what lies beyond a file's end is SIGBUS. */
static const char *map_checked(int file, const struct vgpu_limits *limits, struct vgpu_region **region)
{
	struct stat status;
	const char *fault;
	void *mapped;

	if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
		return "it is no regular file";
	if (status.st_size != VGPU_REGION_SIZE)
		return "its size is not that of a region";
	mapped = mmap(NULL, VGPU_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (mapped == MAP_FAILED)
		return "it cannot be mapped";
	fault = vgpu_region_fault(mapped, VGPU_REGION_SIZE, limits);
	if (!fault && is_of_another_boot(mapped))
		fault = from_before;
	if (fault)
		munmap(mapped, VGPU_REGION_SIZE);
	else
		*region = mapped;
	return fault;
}

/*
 * What a container leaves that was started anew: slots of its former PID namespace, which nobody can look into. That nobody
 * holds the lock shows that they are dead, unless somebody is seen to live without it. The caller's shared lock comes after.
 */
static void clear_former_namespaces(int file, const char *path, struct vgpu_region *region, const struct vgpu_identity *self)
{
	if (vgpu_slots_have_foreign(region, self) && lock_byte(file, F_WRLCK, VGPU_LOCK_USERS) == 0 &&
	    is_still_named(file, path))
		vgpu_slots_clear_foreign(region, self, vgpu_identity_life);
}

static enum outcome attach_once(const char *path, unsigned mode, const struct vgpu_limits *limits,
                                const struct vgpu_identity *self, struct vgpu_region_file *attached, char *reason)
{
	int file = open_region(path, 0);
	enum outcome outcome;
	const char *fault;

	if (file < 0 && errno == ENOENT)
		return create(path, mode, limits, reason);
	if (file < 0) {
		snprintf(reason, VGPU_FAULT_LENGTH, "cannot open region %.150s: %s", path, strerror(errno));
		return REFUSED;
	}
	fault = map_checked(file, limits, &attached->region);
	if (fault) {
		outcome = replace(file, path, mode, limits, self, fault, reason);
		close(file);
		return outcome;
	}
	clear_former_namespaces(file, path, attached->region, self);
	if (lock_byte(file, F_RDLCK, VGPU_LOCK_USERS) == 0 && is_still_named(file, path)) {
		attached->file = file;
		return ATTACHED;
	}
	snprintf(reason, VGPU_FAULT_LENGTH, "region %.150s is being replaced", path);
	munmap(attached->region, VGPU_REGION_SIZE);
	close(file);
	return AGAIN;
}

int vgpu_region_attach(const char *path, unsigned mode, const struct vgpu_limits *limits, const struct vgpu_identity *self,
                       struct vgpu_region_file *attached, char reason[VGPU_FAULT_LENGTH])
{
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		enum outcome outcome = attach_once(path, mode, limits, self, attached, reason);

		if (outcome != AGAIN)
			return outcome == ATTACHED;
		if (i > 2)		/* after creating or replacing the next attempt is the last; beyond that somebody holds a lock */
			nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return 0;
}

void vgpu_region_join_anonymous(const struct vgpu_region_file *attached)
{
	for (unsigned i = 0; i < ATTEMPTS && lock_byte(attached->file, F_RDLCK, VGPU_LOCK_ANONYMOUS) != 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);	/* somebody is emptying the slot */
}

void vgpu_region_leave_anonymous(const struct vgpu_region_file *attached)
{
	lock_byte(attached->file, F_UNLCK, VGPU_LOCK_ANONYMOUS);
}

int vgpu_region_lock_key(const struct vgpu_region_file *attached, int64_t byte)
{
	return lock_byte(attached->file, F_RDLCK, byte) == 0;
}

void vgpu_region_unlock_key(const struct vgpu_region_file *attached, int64_t byte)
{
	lock_byte(attached->file, F_UNLCK, byte);
}

/* Through the process' own description, with which its own locks do not conflict. */
int vgpu_region_is_key_locked(const struct vgpu_region_file *attached, int64_t byte)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(attached->file, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void vgpu_region_reap_anonymous(const char *path, const struct vgpu_region_file *attached)
{
	int file = open_region(path, 0);	/* a description of its own: locks through ATTACHED's never collide with its own */

	if (file < 0)
		return;
	if (is_still_named(attached->file, path) && lock_byte(file, F_WRLCK, VGPU_LOCK_ANONYMOUS) == 0)
		vgpu_slots_clear_anonymous(attached->region);
	close(file);
}
