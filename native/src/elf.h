/*
 * Loaded ELF objects and their exported symbols, read from memory. Needed because we stand in front of dlsym and dlvsym: the
 * real ones can be found neither by linking (the loader binds us to ourselves) nor by asking themselves; and because an
 * internal look-up that fails must leave the thread's dlerror text alone. Nothing here loads, opens, allocates or keeps a lock.
 */
#ifndef VGPU_ELF_H
#define VGPU_ELF_H

#include <link.h>
#include <stdbool.h>

struct vgpu_elf {
	const char *name;	/* the path it was loaded by; the loader's own string */
	uintptr_t base;
	const ElfW(Dyn) *dynamic;
};

/* Find the object whose SONAME is given, in load order. False: not loaded; *FOUND is then untouched. Any thread. */
bool vgpu_elf_by_soname(const char *soname, struct vgpu_elf *found);

/* Find the object that holds an address. */
bool vgpu_elf_containing(const void *address, struct vgpu_elf *found);

/* The SONAME of an object, or "". */
const char *vgpu_elf_soname(const struct vgpu_elf *object);

/* The address of a symbol that OBJECT itself exports, in its default version, or NULL. */
void *vgpu_elf_symbol(const struct vgpu_elf *object, const char *name);

/* A function of the dynamic loader's interface: in libc.so.6 from glibc 2.34, before that in libdl.so.2, if that is loaded. */
void *vgpu_libc_symbol(const char *name);

#endif
