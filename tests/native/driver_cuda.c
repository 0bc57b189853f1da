/*
 * A driver of a few functions, for what a full simulation is not asked: errors on the n-th call, functions that are missing,
 * calls counted, a known truth of memory shared by several processes. Four devices; CUDA lists them in the opposite order of
 * NVML's (driver_nvml.c). Built by the tests as libcuda.so.1; nothing of it is shipped.
 *
 *   STUB_STATE     file that holds the truth: mapped by every process, read by the tests (struct truth)
 *   STUB_FAIL_NTH  the allocation with this number, counted from 1, answers CUDA_ERROR_UNKNOWN
 *   STUB_DELAY_US  time that an allocation or a free takes
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEVICES 4
#define PHYSICAL (UINT64_C(16) << 30)
#define BLOCKS (1u << 20)
#define PROCESSES 4096
#define EXPORT __attribute__((visibility("default")))

typedef unsigned long long CUdeviceptr;
typedef struct { char bytes[16]; } CUuuid;
struct context { int device, primary; };

/* Per process, so that a reader can tell what died with whom. */
struct truth {
	_Atomic uint64_t used[DEVICES], peak[DEVICES];
	struct { _Atomic uint32_t pid; uint32_t pad; _Atomic uint64_t bytes[DEVICES]; } processes[PROCESSES];
};

static struct truth *truth;
static unsigned self;
static _Atomic int initialised;
static struct context primaries[DEVICES];
static _Atomic int primary_references[DEVICES];
static _Thread_local struct context *current;
static _Atomic uint64_t allocations;
static struct { uint64_t bytes; struct context *context; } blocks[BLOCKS];
static uint32_t free_blocks[BLOCKS];
static uint32_t free_count, next_block = 1;
static pthread_spinlock_t lock;
static long delay_us, fail_nth;

/* A kernel driver frees what the dead held; here whoever needs memory or a place does it. */
static void sweep(void)
{
	for (unsigned i = 0; i < PROCESSES; i++) {
		uint32_t pid = atomic_load(&truth->processes[i].pid);

		if (!pid || kill((pid_t)pid, 0) == 0 || !atomic_compare_exchange_strong(&truth->processes[i].pid, &pid, UINT32_MAX))
			continue;
		for (int device = 0; device < DEVICES; device++)
			atomic_fetch_sub(&truth->used[device], atomic_exchange(&truth->processes[i].bytes[device], 0));
		atomic_store(&truth->processes[i].pid, 0);
	}
}

static void attach(void)
{
	const char *path = getenv("STUB_STATE");
	int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (file >= 0 && ftruncate(file, sizeof(struct truth)) != 0)
		abort();
	truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, file < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, file, 0);
	if (file >= 0)
		close(file);
	sweep();
	for (self = 0; self < PROCESSES; self++) {
		uint32_t none = 0;

		if (atomic_compare_exchange_strong(&truth->processes[self].pid, &none, (uint32_t)getpid()))
			break;
	}
	if (self == PROCESSES)
		abort();
	pthread_spin_init(&lock, 0);
	delay_us = getenv("STUB_DELAY_US") ? atol(getenv("STUB_DELAY_US")) : 0;
	fail_nth = getenv("STUB_FAIL_NTH") ? atol(getenv("STUB_FAIL_NTH")) : 0;
}

static void pause_a_while(void)
{
	if (delay_us)
		nanosleep(&(struct timespec){ .tv_nsec = delay_us * 1000 }, NULL);
}

static void count(int device, uint64_t bytes)
{
	uint64_t now = atomic_fetch_add(&truth->used[device], bytes) + bytes, peak = atomic_load(&truth->peak[device]);

	while (peak < now && !atomic_compare_exchange_weak(&truth->peak[device], &peak, now))
		;
	atomic_fetch_add(&truth->processes[self].bytes[device], bytes);
}

static void uncount(int device, uint64_t bytes)
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

static void free_context(struct context *context)
{
	for (uint32_t i = 1; i < next_block; i++)
		if (blocks[i].context == context && blocks[i].bytes) {
			uncount(context->device, blocks[i].bytes);
			blocks[i].bytes = 0;
			free_blocks[free_count++] = i;
		}
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

EXPORT int cuCtxGetDevice(int *device)
{
	if (!initialised)
		return 3;
	if (!current)
		return 201;
	*device = current->device;
	return 0;
}

static int allocate(CUdeviceptr *pointer, uint64_t bytes, unsigned granule)
{
	uint32_t block;

	if (!initialised)
		return 3;
	if (!pointer || bytes == 0)
		return 1;
	if (!current)
		return 201;
	pause_a_while();
	if (fail_nth && (long)atomic_fetch_add(&allocations, 1) + 1 == fail_nth)
		return 999;
	if (atomic_load(&truth->used[current->device]) + bytes > PHYSICAL)
		sweep();
	if (bytes > PHYSICAL || atomic_load(&truth->used[current->device]) + bytes > PHYSICAL)
		return 2;
	count(current->device, bytes);
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

EXPORT int cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, void *stream)
{
	(void)stream;
	return allocate(pointer, bytes, 512);
}

EXPORT int cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *stream)
{
	(void)stream;
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
	uint64_t bytes;
	int device;

	if (!initialised)
		return 3;
	if (!pointer)
		return 0;
	pause_a_while();
	pthread_spin_lock(&lock);
	block = block_of(pointer);
	bytes = blocks[block].bytes;
	device = block ? blocks[block].context->device : 0;
	blocks[block].bytes = 0;
	if (block)
		uncount(device, bytes);		/* before the block can be given out again */
	if (block)
		free_blocks[free_count++] = block;
	pthread_spin_unlock(&lock);
	return block ? 0 : 1;
}

EXPORT int cuMemFreeAsync(CUdeviceptr pointer, void *stream)
{
	(void)stream;
	return cuMemFree_v2(pointer);
}

EXPORT int cuMemFreeAsync_ptsz(CUdeviceptr pointer, void *stream)
{
	(void)stream;
	return cuMemFree_v2(pointer);
}

EXPORT int cuMemGetInfo_v2(size_t *free, size_t *total)
{
	if (!current)
		return 201;
	if (free)
		*free = PHYSICAL - atomic_load(&truth->used[current->device]);
	if (total)
		*total = PHYSICAL;
	return 0;
}

/* Everything below allocates nothing here: what matters is whether it is reached. */
static void *capturing;

EXPORT int cuStreamBeginCapture_v2(void *stream, int mode)
{
	(void)mode;
	capturing = stream;
	return 0;
}

EXPORT int cuStreamIsCapturing(void *stream, int *status)
{
	*status = stream && stream == capturing;
	return 0;
}

EXPORT int cuStreamIsCapturing_ptsz(void *stream, int *status)
{
	return cuStreamIsCapturing(stream, status);
}

EXPORT int cuMemCreate(void *handle, size_t bytes, const void *properties, unsigned long long flags)
{
	(void)handle, (void)bytes, (void)properties, (void)flags;
	return 0;
}

#define CREATES(name) \
	EXPORT int name(void *made, const void *descriptor) \
	{ \
		(void)made, (void)descriptor; \
		return 0; \
	}
CREATES(cuArrayCreate)
CREATES(cuArrayCreate_v2)
CREATES(cuArray3DCreate)
CREATES(cuArray3DCreate_v2)

EXPORT int cuMipmappedArrayCreate(void *made, const void *descriptor, unsigned int levels)
{
	(void)made, (void)descriptor, (void)levels;
	return 0;
}

EXPORT int cuGraphAddMemAllocNode(void *node, void *graph, const void *after, size_t count, void *params)
{
	(void)node, (void)graph, (void)after, (void)count, (void)params;
	return 0;
}

EXPORT int cuGraphAddNode(void *node, void *graph, const void *after, size_t count, const int *params)
{
	(void)node, (void)graph, (void)after, (void)count;
	return params ? 0 : 1;
}

EXPORT int cuGraphAddNode_v2(void *node, void *graph, const void *after, const void *edges, size_t count, const int *params)
{
	(void)edges;
	return cuGraphAddNode(node, graph, after, count, params);
}

EXPORT int cuGraphAddNode_v3(void *node, void *graph, const void *after, const void *edges, size_t count, const int *params)
{
	(void)edges;
	return cuGraphAddNode(node, graph, after, count, params);
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

EXPORT int cuPointerGetAttribute(void *data, int attribute, CUdeviceptr pointer)
{
	uint32_t block = block_of(pointer);

	if (!block)
		return 1;
	*(int *)data = attribute == 9 ? blocks[block].context->device : 2;
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
