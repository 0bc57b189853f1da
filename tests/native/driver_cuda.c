/*
 * A driver of a few functions, for what a full simulation is not asked: errors on the n-th call, functions that are missing,
 * calls counted, a known truth of memory shared by several processes. Four devices; CUDA lists them in the opposite order of
 * NVML's (driver_nvml.c). Built by the tests as libcuda.so.1; nothing of it is shipped.
 *
 *   STUB_STATE     file that holds the truth: mapped by every process, read by the tests (struct truth)
 *   STUB_FAIL_NTH  the allocation with this number, counted from 1, answers CUDA_ERROR_UNKNOWN
 *   STUB_DELAY_US  time that an allocation or a free takes
 *   STUB_EXPORT    "file": what is exported is a file, which cannot be watched; else a pipe
 */
#include "driver_cuda.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCKS (1u << 20)
#define PROCESSES 4096
#define OBJECTS 1024

typedef struct { char bytes[16]; } CUuuid;

/* Memory that lives as long as any process holds it, or a descriptor for it is open; under the lock of all processes. */
struct object {
	uint64_t bytes;				/* 0: none */
	uint64_t generation;
	int device;
	uint32_t holds, exported;		/* by all; whether there is a file to open */
	uint16_t by[PROCESSES];
};

/* Per process, so that a reader can tell what died with whom. */
struct truth {
	_Atomic uint64_t used[DEVICES], peak[DEVICES];
	struct { _Atomic uint32_t pid; uint32_t pad; _Atomic uint64_t bytes[DEVICES]; } processes[PROCESSES];
	_Atomic uint32_t owner;			/* the process inside the lock; one that has died is robbed of it */
	_Atomic uint32_t exported;		/* objects with a file */
	uint64_t generations;
	struct object objects[OBJECTS];
};

static struct truth *truth;
static unsigned self;
_Atomic int initialised;
static struct context primaries[DEVICES];
static _Atomic int primary_references[DEVICES];
_Thread_local struct context *current;
static _Atomic uint64_t allocations;
static struct { uint64_t bytes; struct context *context; uint32_t object; } blocks[BLOCKS];	/* object: 1 + its index */
static uint32_t free_blocks[BLOCKS];
static uint32_t free_count, next_block = 1;
static pthread_spinlock_t lock;
static long delay_us, fail_nth;

static void drop_all_of(unsigned process);

/* A kernel driver frees what the dead held; here whoever needs memory or a place does it. */
static void sweep(void)
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		uint32_t pid = atomic_load(&truth->processes[i].pid);

		if (!pid || kill((pid_t)pid, 0) == 0 || !atomic_compare_exchange_strong(&truth->processes[i].pid, &pid, UINT32_MAX))
			continue;
		for (int device = 0; device < DEVICES; device++)
			atomic_fetch_sub(&truth->used[device], atomic_exchange(&truth->processes[i].bytes[device], 0));
		drop_all_of(i);
		atomic_store(&truth->processes[i].pid, 0);
	}
}

static void take_place(void)
{
	for (self = 0; self < PROCESSES; self++) {
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&truth->processes[self].pid, &none, (uint32_t)getpid()))
			return;
	}
	abort();
}

static void forget_virtual_memory(void);

/* A forked child may go on here, which a real driver refuses: as a process of its own, which holds nothing. */
static void begin_child(void)
{
	sweep();
	forget_virtual_memory();
	take_place();
}

static void attach(void)
{
	const char *path = getenv("STUB_STATE");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (file >= 0 && ftruncate(file, sizeof(struct truth)) != 0)
		abort();
	if (!truth)
		truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, file < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, file, 0);
	if (file >= 0)
		close(file);
	sweep();
	take_place();
	pthread_spin_init(&lock, 0);
	pthread_atfork(NULL, NULL, begin_child);
	delay_us = getenv("STUB_DELAY_US") ? atol(getenv("STUB_DELAY_US")) : 0;
	fail_nth = getenv("STUB_FAIL_NTH") ? atol(getenv("STUB_FAIL_NTH")) : 0;
}

static void pause_a_while(void)
{
	if (delay_us)
		nanosleep(&(struct timespec){ .tv_nsec = delay_us * 1000 }, NULL);
}

void count(int device, uint64_t bytes)
{
	uint64_t now = atomic_fetch_add(&truth->used[device], bytes) + bytes, peak = atomic_load(&truth->peak[device]);

	while (peak < now && !atomic_compare_exchange_weak(&truth->peak[device], &peak, now))
		;
	atomic_fetch_add(&truth->processes[self].bytes[device], bytes);
}

void uncount(int device, uint64_t bytes)
{
	atomic_fetch_sub(&truth->processes[self].bytes[device], bytes);
	atomic_fetch_sub(&truth->used[device], bytes);
}

EXPORT int cuInit(unsigned int flags)
{
	if (flags)
		return 1;
	if (!atomic_exchange(&initialised, 1))
		attach();
	return 0;
}

EXPORT int cuDriverGetVersion(int *version)
{
	*version = 13050;
	return 0;
}

EXPORT int cuDeviceGetCount(int *number)
{
	if (!initialised)
		return 3;
	*number = DEVICES;
	return 0;
}

EXPORT int cuDeviceGet(int *device, int ordinal)
{
	if (!initialised)
		return 3;
	if (ordinal < 0 || ordinal >= DEVICES)
		return 101;
	*device = ordinal;
	return 0;
}

/* NVML's number n is CUDA's DEVICES - 1 - n; its UUID ends in n. */
EXPORT int cuDeviceGetUuid_v2(CUuuid *uuid, int device)
{
	memset(uuid, 0, sizeof(*uuid));
	uuid->bytes[15] = (char)(DEVICES - 1 - device);
	return 0;
}

EXPORT int cuDeviceGetByPCIBusId(int *device, const char *bus_id)
{
	*device = DEVICES - 1 - atoi(bus_id);
	return *device >= 0 && *device < DEVICES ? 0 : 101;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
	(void)device;
	*bytes = PHYSICAL;
	return 0;
}

EXPORT int cuDevicePrimaryCtxRetain(struct context **context, int device)
{
	primaries[device] = (struct context){ device, 1 };
	primary_references[device]++;
	*context = &primaries[device];
	return 0;
}

static void release_block(uint32_t block);

static void free_context(struct context *context)
{
	for (uint32_t i = 1; i < next_block; i++)
		if (blocks[i].context == context && blocks[i].bytes) {
			release_block(i);
			blocks[i].bytes = 0;
			free_blocks[free_count++] = i;
		}
	free_arrays(context);
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
	if (primary_references[device] == 0)
		return 201;
	if (--primary_references[device] == 0)
		free_context(&primaries[device]);
	return 0;
}

EXPORT int cuDevicePrimaryCtxReset_v2(int device)
{
	free_context(&primaries[device]);
	primary_references[device] = 0;
	return 0;
}

EXPORT int cuDevicePrimaryCtxGetState(int device, unsigned int *flags, int *active)
{
	*flags = 0;
	*active = primary_references[device] > 0;
	return 0;
}

EXPORT int cuCtxCreate_v2(struct context **context, unsigned int flags, int device)
{
	(void)flags;
	*context = malloc(sizeof(**context));
	**context = (struct context){ device, 0 };
	current = *context;
	return 0;
}

EXPORT int cuCtxDestroy_v2(struct context *context)
{
	if (context->primary)
		return 201;
	free_context(context);
	if (current == context)
		current = NULL;
	free(context);
	return 0;
}

EXPORT int cuCtxSetCurrent(struct context *context)
{
	current = context;
	return 0;
}

EXPORT int cuCtxGetCurrent(struct context **context)
{
	*context = current;
	return 0;
}

static _Thread_local struct context *below[16];
static _Thread_local unsigned depth;

EXPORT int cuCtxPushCurrent_v2(struct context *context)
{
	below[depth++] = current;
	current = context;
	return 0;
}

EXPORT int cuCtxPopCurrent_v2(struct context **context)
{
	*context = current;
	current = below[--depth];
	return 0;
}

EXPORT int cuCtxGetDevice(int *device)
{
	if (!initialised)
		return 3;
	if (!current)
		return 201;
	*device = current->device;
	return 0;
}

int may_allocate(int device)
{
	if (!initialised)
		return 3;
	if (device < 0)
		return 201;
	pause_a_while();
	return fail_nth && (long)atomic_fetch_add(&allocations, 1) + 1 == fail_nth ? 999 : 0;
}

int take(int device, uint64_t bytes)
{
	if (bytes <= PHYSICAL && atomic_load(&truth->used[device]) + bytes > PHYSICAL)
		sweep();
	if (bytes > PHYSICAL || atomic_load(&truth->used[device]) + bytes > PHYSICAL)
		return 2;
	count(device, bytes);
	return 0;
}

static int allocate(CUdeviceptr *pointer, uint64_t bytes, unsigned granule)
{
	uint32_t block;
	int code;

	if (initialised && (!pointer || bytes == 0))
		return 1;
	code = may_allocate(current ? current->device : -1);
	if (!code)
		code = take(current->device, bytes);
	if (code)
		return code;
	pthread_spin_lock(&lock);
	block = free_count ? free_blocks[--free_count] : next_block < BLOCKS ? next_block++ : 0;
	blocks[block].bytes = bytes;
	blocks[block].context = current;
	pthread_spin_unlock(&lock);
	if (!block) {
		uncount(current->device, bytes);
		return 2;
	}
	*pointer = (UINT64_C(0x7f) << 40) + (uint64_t)block * granule;
	return 0;
}

EXPORT int cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
	return allocate(pointer, bytes, 512);
}

EXPORT int cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned int flags)
{
	(void)flags;
	return allocate(pointer, bytes, 512);
}

EXPORT int cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height, unsigned int element)
{
	(void)element;
	*pitch = (width + 255) / 256 * 256;	/* finer than the interposer reserves for: it has to correct itself */
	return allocate(pointer, *pitch * height, 512);
}

static uint32_t block_of(CUdeviceptr pointer)
{
	uint64_t block = (pointer - (UINT64_C(0x7f) << 40)) / 512;

	return pointer % 512 == 0 && block > 0 && block < next_block && blocks[block].bytes ? (uint32_t)block : 0;
}

EXPORT int cuMemFree_v2(CUdeviceptr pointer)
{
	uint32_t block;

	if (!initialised)
		return 3;
	if (!pointer)
		return 0;
	pause_a_while();
	if (free_reserved(pointer)) {
		release_unused();
		return 0;
	}
	pthread_spin_lock(&lock);
	block = block_of(pointer);
	if (block)
		release_block(block);		/* before the block can be given out again */
	blocks[block].bytes = 0;
	if (block)
		free_blocks[free_count++] = block;
	pthread_spin_unlock(&lock);
	return block ? 0 : 1;
}

static void look_at_exported(void);

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total)
{
	if (!current)
		return 201;
	sweep();
	look_at_exported();
	if (free)
		*free = PHYSICAL - atomic_load(&truth->used[current->device]);
	if (total)
		*total = PHYSICAL;
	return 0;
}

EXPORT int cuGreenCtxCreate(struct context **context, void *resources, int device, unsigned int flags)
{
	(void)resources;
	return cuCtxCreate_v2(context, flags, device);
}

EXPORT int cuGreenCtxDestroy(struct context *context)
{
	return cuCtxDestroy_v2(context);
}

static struct object *opened_object(CUdeviceptr pointer);

EXPORT int cuCtxFromGreenCtx(struct context **context, struct context *green)
{
	*context = green;
	return 0;
}

/* Wants a context, as the documentation allows. */
EXPORT int cuPointerGetAttribute(void *data, int attribute, CUdeviceptr pointer)
{
	uint32_t block = block_of(pointer);
	const struct object *object = opened_object(pointer);

	if (!current)
		return 201;
	if (!block && !object)
		return 1;
	if (attribute == 1)
		*(struct context **)data = block ? blocks[block].context : NULL;
	else
		*(int *)data = attribute != 9 ? 2 : block ? blocks[block].context->device : object->device;
	return 0;
}

/* ---- Virtual memory. ---------------------------------------------------------------------------------------------------- */

#define GRANULE (UINT64_C(2) << 20)
#define HANDLES 4096
#define MAPPINGS 4096
#define HANDLE_BASE UINT64_C(0x600000000000)
#define OPENED_BASE (UINT64_C(0x7e) << 40)
#define OPENED_STEP (UINT64_C(1) << 32)

struct location { int type, id; };
struct properties { int type, handle_types; struct location location; void *metadata; unsigned char flags[8]; };

/* Of this process. A handle keeps its number while anything is mapped by it. */
static struct { struct object *object; uint32_t references, maps; } handles[HANDLES];
static struct { uint64_t start, size; uint32_t handle; } mappings[MAPPINGS];
static struct { uint64_t handle, at, size; int device; struct object *object; } bindings[64];
static uint32_t opened[OBJECTS];
static uint32_t handles_used, mappings_used;
static CUdeviceptr next_address = UINT64_C(0x100000000000);
static struct object host = { .bytes = 1, .device = -1 };	/* stands for all memory of the host */

static void forget_virtual_memory(void)
{
	memset(handles, 0, sizeof(handles));
	memset(mappings, 0, sizeof(mappings));
	memset(bindings, 0, sizeof(bindings));
	memset(opened, 0, sizeof(opened));
}

static void enter(void)
{
	for (;;) {
		uint32_t none = 0, owner;

		if (atomic_compare_exchange_strong(&truth->owner, &none, (uint32_t)getpid()))
			return;
		owner = none;
		if (kill((pid_t)owner, 0) != 0)
			atomic_compare_exchange_strong(&truth->owner, &owner, 0);
		else
			sched_yield();
	}
}

static void leave(void)
{
	atomic_store(&truth->owner, 0);
}

static void name_file(const struct object *object, char name[256])
{
	snprintf(name, 256, "%s.memory.%ld.%lu", getenv("STUB_STATE"), (long)(object - truth->objects),
	         (unsigned long)object->generation);
}

static int is_of_files(void)
{
	return getenv("STUB_EXPORT") && strcmp(getenv("STUB_EXPORT"), "file") == 0;
}

/* A pipe that nobody has open for reading cannot be opened for writing; a file that somebody has locked cannot be locked. */
static int has_descriptor(const struct object *object)
{
	char name[256];
	int file, open_somewhere;

	name_file(object, name);
	file = open(name, (is_of_files() ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC);
	open_somewhere = file >= 0 && (!is_of_files() || flock(file, LOCK_EX | LOCK_NB) != 0);
	if (file >= 0)
		close(file);
	return open_somewhere;
}

static void free_if_gone(struct object *object)
{
	uint64_t bytes;
	char name[256];

	if (object == &host || !object->bytes || object->holds || (object->exported && has_descriptor(object)))
		return;
	if (object->exported) {
		name_file(object, name);
		unlink(name);
		atomic_fetch_sub(&truth->exported, 1);
	}
	bytes = object->bytes;
	object->exported = 0;
	object->bytes = 0;		/* a death here leaves too much in the books, as the tests of kills expect */
	atomic_signal_fence(memory_order_seq_cst);
	atomic_fetch_sub(&truth->used[object->device], bytes);
}

static void hold(struct object *object)
{
	if (object == &host)
		return;
	object->by[self]++;
	object->holds++;
}

static void let_go(struct object *object)
{
	if (object == &host)
		return;
	object->by[self]--;
	object->holds--;
	free_if_gone(object);
}

static void drop_all_of(unsigned process)
{
	enter();
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct object *object = &truth->objects[i];

		if (!object->bytes)
			continue;
		object->by[process] = 0;	/* counted anew: it may have died between the two numbers */
		object->holds = 0;
		for (unsigned other = 0; other < PROCESSES; other++)
			object->holds += object->by[other];
		free_if_gone(object);
	}
	leave();
}

static void look_at_exported(void)
{
	if (!atomic_load(&truth->exported))
		return;
	enter();
	for (unsigned i = 0; i < OBJECTS; i++)
		free_if_gone(&truth->objects[i]);
	leave();
}

/* Under the lock: an object that this process holds once. Its bytes are counted already where COUNTED. */
static struct object *new_object(uint64_t bytes, int device, int counted)
{
	uint64_t now, peak;

	for (unsigned i = 0; i < OBJECTS; i++) {
		struct object *object = &truth->objects[i];

		if (object->bytes)
			continue;
		object->device = device;
		object->generation = ++truth->generations;
		now = counted ? 0 : atomic_fetch_add(&truth->used[device], bytes) + bytes;
		atomic_signal_fence(memory_order_seq_cst);
		object->bytes = bytes;
		hold(object);
		peak = atomic_load(&truth->peak[device]);
		while (peak < now && !atomic_compare_exchange_weak(&truth->peak[device], &peak, now))
			;
		return object;
	}
	return NULL;
}

/* Under the lock: a handle for what this process holds already once more for it. 0: none left. */
static uint64_t new_handle(struct object *object)
{
	for (uint32_t i = 0; i < HANDLES; i++) {
		if (handles[i].object)
			continue;
		handles[i].object = object;
		handles[i].references = 1;
		handles[i].maps = 0;
		if (i >= handles_used)
			handles_used = i + 1;
		return HANDLE_BASE + 16 * (uint64_t)i;
	}
	return 0;
}

static uint32_t number_of(uint64_t handle)
{
	uint64_t number = (handle - HANDLE_BASE) / 16;

	return handle >= HANDLE_BASE && number < handles_used && handles[number].object ? (uint32_t)number : HANDLES;
}

static void settle_handle(uint32_t number)
{
	struct object *object = handles[number].object;

	if (handles[number].references + handles[number].maps == 0)
		handles[number].object = NULL;
	let_go(object);
}

EXPORT int cuMemGetAllocationGranularity(size_t *granularity, const struct properties *properties, int option)
{
	(void)properties, (void)option;
	*granularity = GRANULE;
	return 0;
}

/* STUB_LATER_PLACE: a kind of place on a device that no header of today knows. */
static bool is_on_a_device(int type)
{
	const char *later = getenv("STUB_LATER_PLACE");

	return type == 1 || type == 6 || (later && atoi(later) == type);
}

EXPORT int cuMemCreate(uint64_t *handle, size_t bytes, const struct properties *properties, unsigned long long flags)
{
	struct object *object = &host;
	bool on_a_device;
	int device;

	if (!initialised)
		return 3;
	if (!handle || !properties || flags || !bytes || bytes % GRANULE)
		return 1;
	device = properties->location.type == 6 ? properties->location.id & 0xff : properties->location.id;
	on_a_device = is_on_a_device(properties->location.type);
	pause_a_while();
	if (fail_nth && (long)atomic_fetch_add(&allocations, 1) + 1 == fail_nth)
		return 999;
	if (!on_a_device && (properties->location.type < 2 || properties->location.type > 4))
		return 1;
	enter();
	if (on_a_device) {
		if (device < 0 || device >= DEVICES) {
			leave();
			return 101;
		}
		if (bytes > PHYSICAL || atomic_load(&truth->used[device]) + bytes > PHYSICAL) {
			leave();
			sweep();
			enter();
		}
		object = NULL;
		if (bytes <= PHYSICAL && atomic_load(&truth->used[device]) + bytes <= PHYSICAL)
			object = new_object(bytes, device, 0);
	}
	*handle = object ? new_handle(object) : 0;
	if (object && !*handle)
		let_go(object);
	leave();
	return *handle ? 0 : 2;
}

EXPORT int cuMemRelease(uint64_t handle)
{
	uint32_t number;
	int found;

	if (!initialised)
		return 3;
	pause_a_while();
	enter();
	number = number_of(handle);
	found = number < HANDLES && handles[number].references;
	if (found) {
		handles[number].references--;
		settle_handle(number);
	}
	leave();
	return found ? 0 : 1;
}

EXPORT int cuMemAddressReserve(CUdeviceptr *pointer, size_t size, size_t alignment, CUdeviceptr hint, unsigned long long flags)
{
	(void)alignment, (void)hint, (void)flags;
	enter();
	*pointer = next_address;
	next_address += (size + GRANULE - 1) / GRANULE * GRANULE;
	leave();
	return 0;
}

EXPORT int cuMemAddressFree(CUdeviceptr pointer, size_t size)
{
	(void)pointer, (void)size;
	return 0;
}

EXPORT int cuMemSetAccess(CUdeviceptr pointer, size_t size, const void *access, size_t count)
{
	(void)pointer, (void)size, (void)access, (void)count;
	return 0;
}

static uint32_t mapping_at(uint64_t address)
{
	for (uint32_t i = 0; i < mappings_used; i++)
		if (mappings[i].size && address >= mappings[i].start && address - mappings[i].start < mappings[i].size)
			return i;
	return MAPPINGS;
}

static int map(CUdeviceptr pointer, size_t size, uint32_t number)
{
	for (uint32_t i = 0; i < mappings_used; i++)
		if (mappings[i].size && mappings[i].start < pointer + size && pointer < mappings[i].start + mappings[i].size)
			return 1;
	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (!mappings[i].size) {
			mappings[i].start = pointer;
			mappings[i].size = size;
			mappings[i].handle = number;
			if (i >= mappings_used)
				mappings_used = i + 1;
			handles[number].maps++;
			hold(handles[number].object);
			return 0;
		}
	return 2;
}

EXPORT int cuMemMap(CUdeviceptr pointer, size_t size, size_t offset, uint64_t handle, unsigned long long flags)
{
	uint32_t number;
	int result = 1;

	enter();
	number = number_of(handle);
	if (number < HANDLES && !flags && !offset && size && size % GRANULE == 0 && pointer % GRANULE == 0 &&
	    (handles[number].object == &host || size <= handles[number].object->bytes))
		result = map(pointer, size, number);
	leave();
	return result;
}

/* Whole mappings that follow each other, or nothing. */
EXPORT int cuMemUnmap(CUdeviceptr pointer, size_t size)
{
	uint64_t end = pointer + size, at;
	int fits = 1;

	enter();
	for (at = pointer; at < end && fits;) {
		uint32_t i = mapping_at(at);

		fits = i < MAPPINGS && mappings[i].start == at && mappings[i].size <= end - at;
		at += fits ? mappings[i].size : 0;
	}
	for (at = pointer; fits && at < end;) {
		uint32_t i = mapping_at(at), number = mappings[i].handle;

		at += mappings[i].size;
		mappings[i].size = 0;
		handles[number].maps--;
		settle_handle(number);
	}
	leave();
	return fits ? 0 : 1;
}

EXPORT int cuMemRetainAllocationHandle(uint64_t *handle, void *address)
{
	uint32_t i;

	enter();
	i = mapping_at((uintptr_t)address);
	if (i < MAPPINGS) {
		*handle = HANDLE_BASE + 16 * (uint64_t)mappings[i].handle;
		handles[mappings[i].handle].references++;
		hold(handles[mappings[i].handle].object);
	}
	leave();
	return i < MAPPINGS ? 0 : 1;
}

EXPORT int cuMemGetAllocationPropertiesFromHandle(struct properties *properties, uint64_t handle)
{
	uint32_t number = number_of(handle);

	if (number == HANDLES)
		return 1;
	*properties = (struct properties){ 1, 0, { handles[number].object == &host ? 2 : 1, handles[number].object->device }, NULL, { 0 } };
	return 0;
}

/* Held by the array for good: no test unmaps it. */
EXPORT int cuMemMapArrayAsync(const unsigned char (*list)[96], unsigned int count, void *stream)
{
	(void)stream;
	enter();
	for (unsigned int i = 0; i < count; i++) {
		uint64_t handle;

		memcpy(&handle, &list[i][64], sizeof(handle));
		if (list[i][56] == 1 && number_of(handle) < HANDLES)
			hold(handles[number_of(handle)].object);
	}
	leave();
	return 0;
}

EXPORT int cuMemMapArrayAsync_ptsz(const unsigned char (*list)[96], unsigned int count, void *stream)
{
	return cuMemMapArrayAsync(list, count, stream);
}

/* A multicast object is its number; what is bound to it is held. */
EXPORT int cuMulticastAddDevice(uint64_t multicast, int device)
{
	(void)multicast, (void)device;
	return 0;
}

static int bind(uint64_t multicast, int device, size_t at, struct object *object, size_t size)
{
	for (unsigned i = 0; i < 64; i++)
		if (!bindings[i].object) {
			bindings[i].handle = multicast;
			bindings[i].at = at;
			bindings[i].size = size;
			bindings[i].device = device;
			bindings[i].object = object;
			hold(object);
			return 0;
		}
	return 2;
}

EXPORT int cuMulticastBindMem_v2(uint64_t multicast, int device, size_t at, uint64_t memory, size_t offset, size_t size,
                                 unsigned long long flags)
{
	uint32_t number;
	int result = 1;

	enter();
	number = number_of(memory);
	if (number < HANDLES && !offset && !flags)
		result = bind(multicast, device < 0 ? handles[number].object->device : device, at, handles[number].object, size);
	leave();
	return result;
}

EXPORT int cuMulticastBindMem(uint64_t multicast, size_t at, uint64_t memory, size_t offset, size_t size, unsigned long long flags)
{
	return cuMulticastBindMem_v2(multicast, -1, at, memory, offset, size, flags);
}

EXPORT int cuMulticastBindAddr_v2(uint64_t multicast, int device, size_t at, CUdeviceptr pointer, size_t size,
                                  unsigned long long flags)
{
	uint32_t i = mapping_at(pointer);

	return i < MAPPINGS ? cuMulticastBindMem_v2(multicast, device, at, HANDLE_BASE + 16 * (uint64_t)mappings[i].handle, 0, size, flags)
	                    : 1;
}

EXPORT int cuMulticastBindAddr(uint64_t multicast, size_t at, CUdeviceptr pointer, size_t size, unsigned long long flags)
{
	return cuMulticastBindAddr_v2(multicast, -1, at, pointer, size, flags);
}

EXPORT int cuMulticastUnbind(uint64_t multicast, int device, size_t at, size_t size)
{
	int result = 1;

	enter();
	for (unsigned i = 0; i < 64; i++)
		if (bindings[i].object && bindings[i].handle == multicast && bindings[i].device == device && bindings[i].at == at &&
		    bindings[i].size == size) {
			let_go(bindings[i].object);
			bindings[i].object = NULL;
			result = 0;
		}
	leave();
	return result;
}

/* ---- Memory of others. -------------------------------------------------------------------------------------------------- */

struct shared_handle { uint64_t magic, object, generation; unsigned char rest[40]; };
#define FABRIC UINT64_C(0xfab71c)
#define IPC UINT64_C(0x1bc)

static int export_descriptor(struct object *object)
{
	char name[256];
	int file;

	if (object == &host || !getenv("STUB_STATE"))
		return -1;
	name_file(object, name);
	if (!object->exported) {
		if (is_of_files() ? close(open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) : mkfifo(name, 0600))
			return -1;
		object->exported = 1;
		atomic_fetch_add(&truth->exported, 1);
	}
	file = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (file >= 0 && is_of_files())
		flock(file, LOCK_SH);
	return file;
}

EXPORT int cuMemExportToShareableHandle(void *shareable, uint64_t handle, int type, unsigned long long flags)
{
	uint32_t number;
	int result = 1;

	enter();
	number = number_of(handle);
	if (number < HANDLES && type == 1 && !flags) {
		*(int *)shareable = export_descriptor(handles[number].object);
		result = *(int *)shareable < 0 ? 801 : 0;
	} else if (number < HANDLES && type == 8 && !flags && handles[number].object != &host) {
		*(struct shared_handle *)shareable = (struct shared_handle){
			FABRIC, (uint64_t)(handles[number].object - truth->objects), handles[number].object->generation, { 0 } };
		result = 0;
	}
	leave();
	return result;
}

/* Under the lock: the living object that a handle of bytes tells, or NULL. */
static struct object *find_object(const struct shared_handle *shared, uint64_t magic)
{
	struct object *object = &truth->objects[shared->object % OBJECTS];

	return shared->magic == magic && object->bytes && object->generation == shared->generation ? object : NULL;
}

static struct object *object_of_descriptor(int file)
{
	char link[64], name[256], *tail;
	struct shared_handle shared = { FABRIC, 0, 0, { 0 } };
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	length = readlink(link, name, sizeof(name) - 1);
	if (length < 0)
		return NULL;
	name[length] = '\0';
	tail = strstr(name, ".memory.");
	if (!tail || sscanf(tail, ".memory.%lu.%lu", (unsigned long *)&shared.object, (unsigned long *)&shared.generation) != 2)
		return NULL;
	return find_object(&shared, FABRIC);
}

EXPORT int cuMemImportFromShareableHandle(uint64_t *handle, void *shareable, int type)
{
	struct object *object;

	enter();
	object = type == 1 ? object_of_descriptor((int)(intptr_t)shareable) : type == 8 ? find_object(shareable, FABRIC) : NULL;
	*handle = object ? new_handle(object) : 0;
	if (*handle)
		hold(object);
	leave();
	return *handle ? 0 : 1;
}

/* What a block's memory is once it can be opened elsewhere: an object, which the block holds. */
static void release_block(uint32_t block)
{
	if (blocks[block].object) {
		enter();
		let_go(&truth->objects[blocks[block].object - 1]);
		leave();
		blocks[block].object = 0;
		return;
	}
	uncount(blocks[block].context->device, blocks[block].bytes);
}

EXPORT int cuIpcGetMemHandle(struct shared_handle *handle, CUdeviceptr pointer)
{
	uint32_t block = block_of(pointer);
	struct object *object = NULL;

	if (!current)
		return 201;
	if (!block)
		return 1;
	enter();
	if (blocks[block].object)
		object = &truth->objects[blocks[block].object - 1];
	else if ((object = new_object(blocks[block].bytes, blocks[block].context->device, 1))) {
		blocks[block].object = 1 + (uint32_t)(object - truth->objects);
		atomic_fetch_sub(&truth->processes[self].bytes[object->device], object->bytes);
	}
	if (object)
		*handle = (struct shared_handle){ IPC, (uint64_t)(object - truth->objects), object->generation, { 0 } };
	leave();
	return object ? 0 : 2;
}

static struct object *opened_object(CUdeviceptr pointer)
{
	uint64_t number = (pointer - OPENED_BASE) / OPENED_STEP;

	return pointer >= OPENED_BASE && number < OBJECTS && opened[number] ? &truth->objects[number] : NULL;
}

EXPORT int cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, struct shared_handle handle, unsigned int flags)
{
	struct object *object;

	(void)flags;
	if (!initialised)
		return 3;
	enter();
	object = find_object(&handle, IPC);
	if (object && opened[handle.object]++ == 0)
		hold(object);
	leave();
	*pointer = OPENED_BASE + handle.object * OPENED_STEP;
	return object ? 0 : 400;
}

EXPORT int cuIpcOpenMemHandle(CUdeviceptr *pointer, struct shared_handle handle, unsigned int flags)
{
	return cuIpcOpenMemHandle_v2(pointer, handle, flags);
}

EXPORT int cuIpcCloseMemHandle(CUdeviceptr pointer)
{
	struct object *object = opened_object(pointer);

	if (!object)
		return 1;
	enter();
	if (--opened[object - truth->objects] == 0)
		let_go(object);
	leave();
	return 0;
}

EXPORT int cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *size, CUdeviceptr pointer)
{
	const struct object *object = opened_object(pointer);
	uint32_t block = block_of(pointer);

	if (!object && !block)
		return 1;
	if (base)
		*base = object ? OPENED_BASE + (uint64_t)(object - truth->objects) * OPENED_STEP : pointer;
	if (size)
		*size = object ? object->bytes : blocks[block].bytes;
	return 0;
}

/* What cuGetProcAddress knows: base name, version, per-thread flavour. A subset, in the header's numbering. */
static const struct { const char *base; int version; int per_thread; void *function; } rows[] = {
	{ "cuInit", 2000, 0, cuInit },
	{ "cuDeviceGetCount", 2000, 0, cuDeviceGetCount },
	{ "cuDeviceGet", 2000, 0, cuDeviceGet },
	{ "cuMemAlloc", 3020, 0, cuMemAlloc_v2 },
	{ "cuMemFree", 3020, 0, cuMemFree_v2 },
	{ "cuMemGetInfo", 3020, 0, cuMemGetInfo_v2 },
	{ "cuMemAllocAsync", 11020, 0, cuMemAllocAsync },
	{ "cuMemAllocAsync", 11020, 1, cuMemAllocAsync_ptsz },
	{ "cuMemFreeAsync", 11020, 0, cuMemFreeAsync },
	{ "cuMemFreeAsync", 11020, 1, cuMemFreeAsync_ptsz },
	{ "cuCtxSetCurrent", 4000, 0, cuCtxSetCurrent },
	{ "cuDriverGetVersion", 2020, 0, cuDriverGetVersion },
};

EXPORT int cuGetProcAddress(const char *symbol, void **pfn, int version, uint64_t flags);

EXPORT int cuGetProcAddress_v2(const char *symbol, void **pfn, int version, uint64_t flags, int *status)
{
	const void *best = NULL;
	int newest = -1, known = 0;

	if (!symbol || !pfn || version > 13050)
		return 1;
	if (strcmp(symbol, "cuGetProcAddress") == 0) {
		best = version >= 12000 ? (void *)cuGetProcAddress_v2 : version >= 11030 ? (void *)cuGetProcAddress : NULL;
		known = 1;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (strcmp(rows[i].base, symbol) != 0)
			continue;
		known = 1;
		/* A per-thread request takes the twin where there is one, the plain function otherwise. */
		if (rows[i].version <= version && rows[i].version * 2 + rows[i].per_thread > newest &&
		    (!rows[i].per_thread || flags == 2)) {
			newest = rows[i].version * 2 + rows[i].per_thread;
			best = rows[i].function;
		}
	}
	*pfn = (void *)best;
	if (status)
		*status = best ? 0 : known ? 2 : 1;
	return 0;
}

EXPORT int cuGetProcAddress(const char *symbol, void **pfn, int version, uint64_t flags)
{
	return cuGetProcAddress_v2(symbol, pfn, version, flags, NULL);
}
