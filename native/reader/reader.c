#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"
#include "region.h"
#include "region_file.h"

#define EXPORT __attribute__((visibility("default")))

_Static_assert(HAMI_DEVICES == VGPU_MAX_DEVICES && HAMI_SLOTS == VGPU_MAX_SLOTS, "counts");
_Static_assert(HAMI_MESSAGE == VGPU_FAULT_LENGTH, "message");

/* The bytes of PATH: at most one more than a region has, so that a longer file shows. -1: cannot be read. */
static ssize_t read_file(const char *path, void *bytes)
{
	struct stat status;
	size_t length = 0;
	ssize_t got = 1;
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (file < 0)
		return -1;
	if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(file);
		errno = EINVAL;
		return -1;
	}
	while (got > 0 && length <= VGPU_REGION_SIZE) {
		got = pread(file, (char *)bytes + length, VGPU_REGION_SIZE + 1 - length, (off_t)length);
		length += got > 0 ? (size_t)got : 0;
	}
	close(file);
	return got < 0 ? -1 : (ssize_t)length;
}

static void copy_devices(const struct vgpu_region *from, struct hami_region *to)
{
	for (uint32_t i = 0; i < to->device_count; i++) {
		memcpy(to->devices[i].uuid, from->devices[i].uuid, sizeof(to->devices[i].uuid));
		to->devices[i].used = atomic_load(&from->devices[i].used);
		to->devices[i].peak = atomic_load(&from->devices[i].peak);
		to->devices[i].refused = atomic_load(&from->devices[i].refused);
		to->unnamed[i] = atomic_load(&from->anonymous.used[i]);
	}
}

static void copy_processes(const struct vgpu_region *from, struct hami_region *to)
{
	for (unsigned i = 0; i < VGPU_MAX_SLOTS; i++) {
		const struct vgpu_region_slot *slot = &from->slots[i];
		struct hami_process *process = &to->processes[to->process_count];

		if ((atomic_load(&slot->state) & VGPU_SLOT_STATE_MASK) != VGPU_SLOT_LIVE)
			continue;
		process->pid = slot->pid;
		process->start_time = slot->start_time;
		process->pid_namespace = slot->pid_namespace;
		for (uint32_t device = 0; device < to->device_count; device++) {
			process->used[device] = atomic_load(&slot->used[device]);
			process->context[device] = atomic_load(&slot->context[device]);
		}
		to->process_count++;
	}
}

EXPORT int hami_region_read(const char *path, struct hami_region *region, char message[HAMI_MESSAGE])
{
	struct vgpu_region *bytes = aligned_alloc(_Alignof(max_align_t), VGPU_REGION_SIZE + _Alignof(max_align_t));
	ssize_t length = bytes ? read_file(path, bytes) : -1;
	const char *fault = NULL;

	memset(region, 0, sizeof(*region));
	if (length < 0)
		snprintf(message, HAMI_MESSAGE, "cannot read region %.150s: %s", path, strerror(errno));
	else if ((fault = vgpu_region_fault(bytes, (size_t)length, NULL)))
		snprintf(message, HAMI_MESSAGE, "%.150s is no region: %s", path, fault);
	else {
		memcpy(region->grant, bytes->header.grant, sizeof(region->grant));
		region->device_count = bytes->header.device_count;
		copy_devices(bytes, region);
		copy_processes(bytes, region);
	}
	free(bytes);
	return length < 0 || fault ? -1 : 0;
}

EXPORT int hami_limits_parse(const char *text, size_t length, struct hami_limits *limits, uint32_t *line,
                             char message[HAMI_MESSAGE])
{
	struct vgpu_limits parsed;
	struct vgpu_fault fault;
	enum vgpu_closed closed = vgpu_limits_parse(text, length, &parsed, &fault);

	memset(limits, 0, sizeof(*limits));
	memcpy(limits->grant, parsed.grant, sizeof(limits->grant));
	limits->device_count = parsed.device_count;
	limits->policy = (uint32_t)parsed.policy;
	limits->priority = parsed.priority;
	limits->oom = (uint32_t)parsed.oom;
	for (uint32_t i = 0; i < parsed.device_count; i++) {
		const struct vgpu_limits_device *from = &parsed.devices[i];
		struct hami_limits_device *to = &limits->devices[i];

		memcpy(to->uuid, from->uuid, sizeof(to->uuid));
		to->memory = from->memory;
		to->physical = from->physical;
		to->context = from->context;
		to->cores = from->cores;
	}
	*line = fault.line;
	memcpy(message, fault.text, HAMI_MESSAGE);
	return (int)closed;
}

EXPORT long hami_region_offset(const char *field)
{
#define COMPARE(type, name, offset) \
	if (strcmp(field, #type "." #name) == 0) \
		return (offset);
	VGPU_REGION_LAYOUT(COMPARE)
#undef COMPARE
	return -1;
}

EXPORT size_t hami_sizeof(const char *structure)
{
	static const struct {
		const char *name;
		size_t size;
	} sizes[] = {
		{ "hami_device", sizeof(struct hami_device) },
		{ "hami_process", sizeof(struct hami_process) },
		{ "hami_region", sizeof(struct hami_region) },
		{ "hami_limits_device", sizeof(struct hami_limits_device) },
		{ "hami_limits", sizeof(struct hami_limits) },
	};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		if (strcmp(structure, sizes[i].name) == 0)
			return sizes[i].size;
	return 0;
}
