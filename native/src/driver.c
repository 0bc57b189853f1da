#include "driver.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "elf.h"
#include "wrappers.h"

struct vgpu_cuda vgpu_cuda;
struct vgpu_nvml vgpu_nvml;

struct row {
	const char *symbol, *base;
	int version;
	cuuint64_t flags;
	void **real;		/* into vgpu_cuda or vgpu_nvml */
	void *wrapper;		/* NULL: called by us, not hooked */
};

static const struct row cuda_rows[] = {
#define CUDA_HOOK(symbol, base, version, flags, parameters, arguments) \
	{ #symbol, #base, version, flags, (void **)&vgpu_cuda.symbol, (void *)vgpu_##symbol },
#define CUDA_CALL(symbol, parameters) { #symbol, NULL, 0, 0, (void **)&vgpu_cuda.symbol, NULL },
#include "hooks.def"
};

static const struct row nvml_rows[] = {
#define NVML_HOOK(symbol, parameters, arguments) \
	{ #symbol, NULL, 0, 0, (void **)&vgpu_nvml.symbol, (void *)vgpu_##symbol },
#define NVML_CALL(symbol, parameters) { #symbol, NULL, 0, 0, (void **)&vgpu_nvml.symbol, NULL },
#include "hooks.def"
};

#define ROWS(rows) (sizeof(rows) / sizeof(*(rows)))
#define MAP_ENTRIES 1024u	/* a power of two; each row has at most two addresses, so it stays less than half full */
_Static_assert(2 * (ROWS(cuda_rows) + ROWS(nvml_rows)) <= MAP_ENTRIES / 2, "the address map is too small");

struct map {
	struct {
		void *address, *wrapper;
	} entries[MAP_ENTRIES];
};

enum { ABSENT, FILLING, READY };

struct library {
	const char *soname;
	const struct row *rows;
	size_t count;
	_Atomic int state;
	_Atomic pid_t filler;		/* the thread that fills, to tell a call back from the driver from another thread */
	_Atomic pid_t filler_process;	/* a child forked meanwhile has no such thread, and begins again */
	struct map map;
};

static struct library cuda_library = { .soname = "libcuda.so.1", .rows = cuda_rows, .count = ROWS(cuda_rows) };
static struct library nvml_library = { .soname = "libnvidia-ml.so.1", .rows = nvml_rows, .count = ROWS(nvml_rows) };

static unsigned place_of(const void *address)
{
	return (unsigned)(((uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15)) >> 32) % MAP_ENTRIES;
}

static void *map_find(const struct map *map, void *address)
{
	for (unsigned i = place_of(address);; i = (i + 1) % MAP_ENTRIES) {
		if (map->entries[i].address == address)
			return map->entries[i].wrapper;
		if (!map->entries[i].address)
			return NULL;
	}
}

/* The first entry for an address stays: exported names go in before what cuGetProcAddress answers. */
static void map_add(struct map *map, void *address, void *wrapper)
{
	unsigned i = place_of(address);

	if (!address || map_find(map, address))
		return;
	while (map->entries[i].address)
		i = (i + 1) % MAP_ENTRIES;
	map->entries[i].wrapper = wrapper;
	map->entries[i].address = address;
}

/* The driver's cuGetProcAddress, whichever of its two forms there is, asked for one row. NULL: it does not know it. */
static void *proc_address(const struct row *row)
{
	void *address = NULL;
	int status = 0;
	CUresult result = CUDA_ERROR_NOT_FOUND;

	if (vgpu_cuda.cuGetProcAddress_v2)
		result = vgpu_cuda.cuGetProcAddress_v2(row->base, &address, row->version, row->flags, &status);
	else if (vgpu_cuda.cuGetProcAddress)
		result = vgpu_cuda.cuGetProcAddress(row->base, &address, row->version, row->flags);
	return result == CUDA_SUCCESS ? address : NULL;
}

static void fill(struct library *library, const struct vgpu_elf *object)
{
	for (size_t i = 0; i < library->count; i++)
		*library->rows[i].real = vgpu_elf_symbol(object, library->rows[i].symbol);
	for (size_t i = 0; i < library->count; i++)
		if (library->rows[i].wrapper)
			map_add(&library->map, *library->rows[i].real, library->rows[i].wrapper);
	for (size_t i = 0; i < library->count; i++) {
		const struct row *row = &library->rows[i];
		void *address = row->base ? proc_address(row) : NULL;

		if (!*row->real && address && !map_find(&library->map, address))
			*row->real = address;
		if (*row->real)
			map_add(&library->map, address, row->wrapper);
	}
}

/* Whether this thread is to fill. False: the library is READY, or this very thread is filling it already. */
static bool begin_filling(struct library *library)
{
	pid_t thread = (pid_t)syscall(SYS_gettid), process = getpid();

	for (;;) {
		int absent = ABSENT;

		if (atomic_compare_exchange_strong_explicit(&library->state, &absent, FILLING, memory_order_acquire,
		                                            memory_order_acquire))
			break;
		if (absent == READY || atomic_load(&library->filler) == thread)
			return false;
		if (atomic_load(&library->filler_process) && atomic_load(&library->filler_process) != process)
			break;
		sched_yield();		/* a hundred look-ups of another thread: microseconds, once in a process */
	}
	atomic_store(&library->filler, thread);
	atomic_store(&library->filler_process, process);
	return true;
}

/*
 * The tables hold its addresses for ever, so a driver that was loaded once stays. It is loaded, so no file is opened. dlopen
 * is found like dlsym rather than linked: before glibc 2.34 that would load libdl.so.2 into every process.
 */
static void pin(const struct vgpu_elf *object)
{
	void *(*open)(const char *, int) = vgpu_libc_symbol("dlopen");

	if (open)
		(void)open(object->name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

static void resolve(struct library *library, const struct vgpu_elf *object)
{
	if (!begin_filling(library))
		return;
	if (atomic_load_explicit(&library->state, memory_order_relaxed) == READY)
		return;
	pin(object);
	fill(library, object);
	atomic_store(&library->filler, 0);
	atomic_store_explicit(&library->state, READY, memory_order_release);
}

static bool is_ready(struct library *library)
{
	return atomic_load_explicit(&library->state, memory_order_acquire) == READY;
}

static bool has(struct library *library)
{
	struct vgpu_elf object;

	if (__builtin_expect(is_ready(library), 1))
		return true;
	if (vgpu_elf_by_soname(library->soname, &object))
		resolve(library, &object);
	return is_ready(library);
}

bool vgpu_has_cuda(void)
{
	return has(&cuda_library);
}

bool vgpu_has_nvml(void)
{
	return has(&nvml_library);
}

static struct library *library_of(const char *name)
{
	if (strncmp(name, "cu", 2) == 0)
		return &cuda_library;
	return strncmp(name, "nvml", 4) == 0 ? &nvml_library : NULL;
}

void *vgpu_wrapper_of(void *address, const char *name)
{
	struct library *library = library_of(name);
	struct vgpu_elf object;
	void *wrapper;

	if (!address || !library)
		return address;
	if (!is_ready(library) && vgpu_elf_containing(address, &object) &&
	    strcmp(vgpu_elf_soname(&object), library->soname) == 0)
		resolve(library, &object);
	wrapper = is_ready(library) ? map_find(&library->map, address) : NULL;
	return wrapper ? wrapper : address;
}

enum vgpu_export vgpu_export_of(const char *name)
{
	struct library *library = library_of(name);

	for (size_t i = 0; library && i < library->count; i++)
		if (library->rows[i].wrapper && strcmp(library->rows[i].symbol, name) == 0)
			return has(library) && *library->rows[i].real ? VGPU_EXPORT_PRESENT : VGPU_EXPORT_ABSENT;
	return VGPU_NOT_EXPORTED;
}
