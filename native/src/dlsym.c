#include "dlsym.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "driver.h"
#include "elf.h"

typedef void *dlsym_function(void *, const char *);
typedef void *dlvsym_function(void *, const char *, const char *);

/* Looked for again as long as it is not there: before glibc 2.34 libdl.so.2 may come later. */
static void *find_real(const char *name, void *_Atomic *found)
{
	void *function = atomic_load_explicit(found, memory_order_relaxed);

	if (!function) {
		function = vgpu_libc_symbol(name);
		atomic_store_explicit(found, function, memory_order_relaxed);
	}
	return function;
}

static dlsym_function *real_dlsym(void)
{
	static void *_Atomic found;

	return (dlsym_function *)find_real("dlsym", &found);
}

static dlvsym_function *real_dlvsym(void)
{
	static void *_Atomic found;

	return (dlvsym_function *)find_real("dlvsym", &found);
}

/* A driver's name? Decides whether we look at all, never what is returned: curl_ and cups_ begin so too. */
static bool may_be_driver_name(const char *name)
{
	return (name[0] == 'c' && name[1] == 'u') || strncmp(name, "nvml", 4) == 0;
}

static bool is_ours(void *address)
{
	struct vgpu_elf ours, object;

	return vgpu_elf_containing((void *)is_ours, &ours) && vgpu_elf_containing(address, &object) && ours.base == object.base;
}

/*
 * Left to the real function: names no driver has; RTLD_NEXT, whose answer depends on the caller; and RTLD_DEFAULT, which
 * finds our exports by scope order, unless the driver that they stand for is absent.
 */
static bool is_passed_on(void *handle, const char *name)
{
	if (!name || !may_be_driver_name(name) || handle == RTLD_NEXT)
		return true;
	return handle == RTLD_DEFAULT && vgpu_export_of(name) != VGPU_EXPORT_ABSENT;
}

/* With a handle of the whole program the loader may answer with our export even where the driver lacks the function. */
static bool stands_for_nothing(void *handle, const char *name, void *address)
{
	return handle == RTLD_DEFAULT || (address && vgpu_export_of(name) == VGPU_EXPORT_ABSENT && is_ours(address));
}

void *vgpu_dlsym_decide(void *handle, const char *name, void **answer)
{
	dlsym_function *real = real_dlsym();
	void *address = NULL;

	*answer = NULL;
	if (!real || is_passed_on(handle, name))
		return (void *)real;
	if (handle != RTLD_DEFAULT)
		address = real(handle, name);
	if (stands_for_nothing(handle, name, address))
		*answer = real(RTLD_NEXT, name);	/* seen from here: all objects but us; sets the error text of a miss */
	else
		*answer = vgpu_wrapper_of(address, name);
	return NULL;
}

void *vgpu_dlvsym_decide(void *handle, const char *name, const char *version, void **answer)
{
	dlvsym_function *real = real_dlvsym();

	*answer = NULL;
	if (!real || !name || !may_be_driver_name(name) || handle == RTLD_NEXT || handle == RTLD_DEFAULT)
		return (void *)real;
	*answer = vgpu_wrapper_of(real(handle, name, version), name);
	return NULL;
}
