#include "grant.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"
#include "log.h"
#include "process.h"

/* The file that rules, as it was when last read. */
struct source {
	char path[PATH_MAX];	/* "": HAMi's variables rule */
	bool fixed;		/* VGPU_LIMITS_PATH: a container, whose processes may run as several users */
	struct stat seen;
};

/* HAMi's variables. 0: not given. */
struct variables {
	uint64_t all;
	uint64_t by_number[VGPU_MAX_DEVICES];
};

/* Under the process' lock; read without it once the state is OPEN, when only `now` still changes. */
static struct source source;
static struct variables variables;
static struct vgpu_limits limits;
static struct vgpu_limits now;		/* the file's latest content; closed: all zero */
static char region_path[PATH_MAX];

static void log_fault(const char *from, const struct vgpu_fault *fault)
{
	char text[VGPU_FAULT_LENGTH + 300];

	if (fault->line)
		snprintf(text, sizeof(text), "no device is granted: %.250s: line %u: %s", from, fault->line, fault->text);
	else
		snprintf(text, sizeof(text), "no device is granted: %.250s: %s", from, fault->text);
	if (vgpu_log_is_news(text))
		VGPU_LOG(VGPU_ERROR, "%s", text);
}

__attribute__((format(printf, 3, 4)))
static void set_fault(struct vgpu_fault *fault, enum vgpu_closed reason, const char *format, ...)
{
	va_list arguments;

	fault->reason = reason;
	fault->line = 0;
	va_start(arguments, format);
	vsnprintf(fault->text, sizeof(fault->text), format, arguments);
	va_end(arguments);
}

/* False and a fault where a variable is malformed: that never means "unlimited". */
static bool read_variable(const char *name, uint64_t *bytes, struct vgpu_fault *fault)
{
	const char *value = secure_getenv(name);

	*bytes = 0;
	if (!value || vgpu_limits_parse_size(value, bytes))
		return true;
	set_fault(fault, VGPU_CLOSED_NUMBER, "%s=%.60s: give bytes as a plain number, at least 1, or one with the suffix k, m "
	          "or g (3000m)", name, value);
	return false;
}

static bool read_variables(struct variables *read, struct vgpu_fault *fault)
{
	char name[sizeof("CUDA_DEVICE_MEMORY_LIMIT_15")];

	if (!read_variable("CUDA_DEVICE_MEMORY_LIMIT", &read->all, fault))
		return false;
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++) {
		snprintf(name, sizeof(name), "CUDA_DEVICE_MEMORY_LIMIT_%u", i);
		if (!read_variable(name, &read->by_number[i], fault))
			return false;
	}
	return true;
}

/* HAMi's rule: the numbered variable wins. 0: neither is given. */
static uint64_t variable_of(unsigned number)
{
	return variables.by_number[number] ? variables.by_number[number] : variables.all;
}

static bool any_variable(void)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (variable_of(i))
			return true;
	return false;
}

/* Read the file that rules. The status is taken before the text: a change in between is seen the next time. */
static enum vgpu_closed read_limits(struct vgpu_limits *into, struct vgpu_fault *fault)
{
	static char text[VGPU_LIMITS_TEXT_MAX + 1];	/* one more than allowed, to tell what is too long; under the lock */
	size_t length = 0;
	ssize_t got = 1;
	int file = open(source.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	memset(&source.seen, 0, sizeof(source.seen));
	if (file < 0 || fstat(file, &source.seen) != 0)
		got = -1;
	while (got > 0 && length < sizeof(text)) {
		got = read(file, text + length, sizeof(text) - length);
		length += got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		set_fault(fault, VGPU_CLOSED_UNREADABLE, "cannot read it: %s", strerror(errno));
	if (file >= 0)
		close(file);
	if (got >= 0)
		return vgpu_limits_parse(text, length, into, fault);
	memset(into, 0, sizeof(*into));
	return VGPU_CLOSED_UNREADABLE;
}

/* A relative path is made absolute while the working directory is still the one it was meant in. */
static void set_path(const char *path)
{
	char folder[PATH_MAX];

	if (path[0] == '/' || !getcwd(folder, sizeof(folder)))
		snprintf(source.path, sizeof(source.path), "%s", path);
	else if (snprintf(source.path, sizeof(source.path), "%s/%s", folder, path) >= PATH_MAX)
		snprintf(source.path, sizeof(source.path), "%s", path);
}

static void find_source(void)
{
	const char *named = secure_getenv("HAMI_LIMITS");
	struct stat status;

	source.path[0] = '\0';
	source.fixed = lstat(VGPU_LIMITS_PATH, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
	if (source.fixed)
		set_path(VGPU_LIMITS_PATH);
	else if (named)
		set_path(named);
}

/* The grant id names the file, after each '/' has become '_': an id is one name, not a path. */
static void set_region_path(void)
{
	char name[VGPU_GRANT_LENGTH];
	const char *slash = strrchr(source.path, '/');
	int folder = slash ? (int)(slash - source.path) : 0;

	snprintf(name, sizeof(name), "%s", limits.grant);
	for (char *c = name; *c; c++)
		if (*c == '/')
			*c = '_';
	if (source.fixed)
		snprintf(region_path, sizeof(region_path), "%s/%s", VGPU_REGION_FOLDER, name);
	else
		snprintf(region_path, sizeof(region_path), "%.*s/%s", folder, source.path, name);
}

static void publish(struct vgpu_process *process)
{
	for (unsigned i = 0; i < limits.device_count; i++)
		atomic_store_explicit(&process->limit_bytes[i], vgpu_grant_memory(i), memory_order_relaxed);
	atomic_store_explicit(&process->device_count, limits.device_count, memory_order_release);
}

static enum vgpu_grant_state load(struct vgpu_process *process)
{
	struct vgpu_fault fault = { .reason = VGPU_OPEN };

	find_source();
	if (!read_variables(&variables, &fault)) {
		log_fault("environment", &fault);
		return VGPU_GRANT_CLOSED;
	}
	if (!source.path[0] && any_variable())
		return VGPU_GRANT_UNBOUND;
	if (!source.path[0]) {
		set_fault(&fault, VGPU_CLOSED_ABSENT, "there is no such file, and neither HAMI_LIMITS nor "
		          "CUDA_DEVICE_MEMORY_LIMIT is set");
		log_fault(VGPU_LIMITS_PATH, &fault);
		return VGPU_GRANT_CLOSED;
	}
	if (read_limits(&now, &fault)) {
		log_fault(source.path, &fault);
		return VGPU_GRANT_CLOSED;
	}
	limits = now;
	set_region_path();
	publish(process);
	return VGPU_GRANT_OPEN;
}

enum vgpu_grant_state vgpu_grant_load(void)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest;
	enum vgpu_grant_state state;

	if (atomic_load_explicit(&process->device_count, memory_order_acquire))
		return VGPU_GRANT_OPEN;
	guest = vgpu_guest_enter();
	pthread_mutex_lock(&process->lock);
	if (process->grant_state == VGPU_GRANT_CLOSED) {
		if (vgpu_log_is_news("Initializing....."))
			VGPU_LOG(VGPU_MESSAGE, "Initializing.....");
		process->grant_state = load(process);
	}
	state = (enum vgpu_grant_state)process->grant_state;
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return state;
}

const struct vgpu_limits *vgpu_grant_limits(void)
{
	return &limits;
}

static void format_uuid(const uint8_t bytes[16], char text[VGPU_UUID_LENGTH])
{
	const uint8_t *b = bytes;

	snprintf(text, VGPU_UUID_LENGTH, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
	         b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/*
 * Without a file the grant is "the devices this user's processes see": one region for each such set, so that two programs with
 * different visible devices do not take each other's region for damaged.
 */
static void name_variables_grant(void)
{
	const char *named = secure_getenv("CUDA_DEVICE_MEMORY_SHARED_CACHE");
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < limits.device_count; i++)
		for (unsigned j = 0; j < 16; j++)
			sum = (sum ^ limits.devices[i].uuid_bytes[j]) * UINT64_C(0x100000001b3);
	snprintf(limits.grant, sizeof(limits.grant), "variables/%u-%016llx", (unsigned)geteuid(), (unsigned long long)sum);
	if (named && named[0])
		snprintf(region_path, sizeof(region_path), "%s", named);
	else
		snprintf(region_path, sizeof(region_path), "/tmp/hami-%u-%016llx", (unsigned)geteuid(), (unsigned long long)sum);
}

static enum vgpu_grant_state bind(struct vgpu_process *process, const uint8_t (*uuids)[16], unsigned count)
{
	struct vgpu_fault fault;

	memset(&limits, 0, sizeof(limits));
	limits.priority = 1;
	for (unsigned i = 0; i < count && i < VGPU_MAX_DEVICES; i++) {
		struct vgpu_limits_device *device = &limits.devices[limits.device_count];

		if (!variable_of(i))
			continue;
		memcpy(device->uuid_bytes, uuids[i], sizeof(device->uuid_bytes));
		format_uuid(uuids[i], device->uuid);
		device->memory = variable_of(i);
		limits.device_count++;
	}
	if (!limits.device_count) {
		set_fault(&fault, VGPU_CLOSED_DEVICES, "CUDA_DEVICE_MEMORY_LIMIT_<number>: none names a device that exists");
		log_fault("environment", &fault);
		return VGPU_GRANT_CLOSED;
	}
	now = limits;
	name_variables_grant();
	publish(process);
	return VGPU_GRANT_OPEN;
}

enum vgpu_grant_state vgpu_grant_bind(const uint8_t (*uuids)[16], unsigned count)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest = vgpu_guest_enter();
	enum vgpu_grant_state state;

	pthread_mutex_lock(&process->lock);
	if (process->grant_state == VGPU_GRANT_UNBOUND)
		process->grant_state = bind(process, uuids, count);
	state = (enum vgpu_grant_state)process->grant_state;
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return state;
}

static const struct vgpu_limits_device *latest(const struct vgpu_limits_device *device)
{
	for (uint32_t i = 0; i < now.device_count; i++)
		if (memcmp(now.devices[i].uuid_bytes, device->uuid_bytes, sizeof(device->uuid_bytes)) == 0)
			return &now.devices[i];
	return NULL;
}

uint64_t vgpu_grant_memory(unsigned index)
{
	const struct vgpu_limits_device *device = latest(&limits.devices[index]);
	uint64_t bytes = device ? device->memory : 0, tightened = source.path[0] ? variable_of(index) : 0;

	return tightened && tightened < bytes ? tightened : bytes;
}

static bool is_whole(void)
{
	for (uint32_t i = 0; i < limits.device_count; i++)
		if (!limits.devices[i].physical || vgpu_grant_memory(i) < limits.devices[i].physical)
			return false;
	return true;
}

bool vgpu_grant_is_whole(void)
{
	struct vgpu_process *process = vgpu_process();
	struct vgpu_guest guest = vgpu_guest_enter();
	bool whole;

	pthread_mutex_lock(&process->lock);
	vgpu_grant_follow();
	whole = is_whole();
	pthread_mutex_unlock(&process->lock);
	vgpu_guest_leave(guest);
	return whole;
}

const char *vgpu_grant_region_path(void)
{
	return region_path;
}

/* Processes of a container may run as several users; a local grant is one user's. */
unsigned vgpu_grant_region_mode(void)
{
	return source.fixed ? 0666 : 0600;
}

static bool has_changed(void)
{
	struct stat status;

	if (stat(source.path, &status) != 0)
		return true;
	return status.st_dev != source.seen.st_dev || status.st_ino != source.seen.st_ino ||
	       status.st_size != source.seen.st_size || status.st_mtim.tv_sec != source.seen.st_mtim.tv_sec ||
	       status.st_mtim.tv_nsec != source.seen.st_mtim.tv_nsec;
}

static bool has_same_devices(void)
{
	for (uint32_t i = 0; i < limits.device_count; i++)
		if (!latest(&limits.devices[i]))
			return false;
	return now.device_count == limits.device_count;
}

/* What was read is not for this process: it has nothing until the file is right again. */
static void close_now(const struct vgpu_fault *fault)
{
	memset(&now, 0, sizeof(now));
	log_fault(source.path, fault);
}

void vgpu_grant_follow(void)
{
	struct vgpu_fault fault;

	if (!source.path[0] || !has_changed())
		return;
	if (read_limits(&now, &fault))
		log_fault(source.path, &fault);
	else if (strcmp(now.grant, limits.grant) != 0) {
		set_fault(&fault, VGPU_CLOSED_GRANT, "it is now of grant %.80s; this process began under %.80s", now.grant,
		          limits.grant);
		close_now(&fault);
	} else if (!has_same_devices()) {
		set_fault(&fault, VGPU_CLOSED_DEVICES, "its devices are no longer those that this process began with");
		close_now(&fault);
	}
	publish(vgpu_process());
}

int vgpu_grant_find(const uint8_t uuid[16])
{
	for (uint32_t i = 0; i < limits.device_count; i++)
		if (memcmp(limits.devices[i].uuid_bytes, uuid, 16) == 0)
			return (int)i;
	return -1;
}
