#include "elf.h"

#include <string.h>

#define HIDDEN_VERSION 0x8000	/* bit 15 of a DT_VERSYM entry: a version kept for old binaries, not the default one */

struct search {
	const char *soname;
	uintptr_t address;
	struct vgpu_elf *found;
};

/* glibc relocates the d_ptr values of a writable dynamic section in place, and leaves those of a read-only one relative. */
static const void *pointer(const struct vgpu_elf *object, ElfW(Addr) value)
{
	return (const void *)(value < object->base ? object->base + value : value);
}

static const void *entry(const struct vgpu_elf *object, ElfW(Sxword) tag)
{
	for (const ElfW(Dyn) *d = object->dynamic; d->d_tag != DT_NULL; d++)
		if (d->d_tag == tag)
			return pointer(object, d->d_un.d_ptr);
	return NULL;
}

const char *vgpu_elf_soname(const struct vgpu_elf *object)
{
	const char *strings = entry(object, DT_STRTAB);

	for (const ElfW(Dyn) *d = object->dynamic; strings && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_SONAME)
			return strings + d->d_un.d_val;
	return "";
}

static bool holds(const struct dl_phdr_info *info, uintptr_t address)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];

		if (segment->p_type == PT_LOAD && address - (info->dlpi_addr + segment->p_vaddr) < segment->p_memsz)
			return true;
	}
	return false;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
	const struct search *search = data;
	struct vgpu_elf object = { info->dlpi_name, info->dlpi_addr, NULL };

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			object.dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	if (!object.dynamic)
		return 0;
	if (search->soname ? strcmp(vgpu_elf_soname(&object), search->soname) != 0 : !holds(info, search->address))
		return 0;
	*search->found = object;
	return 1;
}

bool vgpu_elf_by_soname(const char *soname, struct vgpu_elf *found)
{
	struct search search = { .soname = soname, .found = found };

	return dl_iterate_phdr(visit, &search) != 0;
}

bool vgpu_elf_containing(const void *address, struct vgpu_elf *found)
{
	struct search search = { .address = (uintptr_t)address, .found = found };

	return dl_iterate_phdr(visit, &search) != 0;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t hash = 5381;

	while (*name)
		hash = hash * 33 + (unsigned char)*name++;
	return hash;
}

static void *address_of(const struct vgpu_elf *object, const ElfW(Sym) *symbol)
{
	void *address = (void *)(object->base + symbol->st_value);

	if ((symbol->st_info & 0xf) == STT_GNU_IFUNC)
		return ((void *(*)(void))address)();
	return address;
}

void *vgpu_elf_symbol(const struct vgpu_elf *object, const char *name)
{
	const uint32_t *table = entry(object, DT_GNU_HASH);
	const ElfW(Sym) *symbols = entry(object, DT_SYMTAB);
	const char *strings = entry(object, DT_STRTAB);
	const ElfW(Half) *versions = entry(object, DT_VERSYM);

	if (!table || !symbols || !strings || table[0] == 0)
		return NULL;
	/* Layout: bucket count, first hashed symbol, size of the Bloom filter in words, its shift; filter; buckets; chains. */
	const uint32_t *buckets = table + 4 + table[2] * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
	const uint32_t *chains = buckets + table[0];
	uint32_t hash = gnu_hash(name), i = buckets[hash % table[0]];

	if (i < table[1])
		return NULL;
	for (;; i++) {
		uint32_t link = chains[i - table[1]];

		if ((link | 1) == (hash | 1) && strcmp(strings + symbols[i].st_name, name) == 0 &&
		    symbols[i].st_shndx != SHN_UNDEF && !(versions && versions[i] & HIDDEN_VERSION))
			return address_of(object, &symbols[i]);
		if (link & 1)
			return NULL;
	}
}

void *vgpu_libc_symbol(const char *name)
{
	struct vgpu_elf object;
	void *address = NULL;

	if (vgpu_elf_by_soname("libc.so.6", &object))
		address = vgpu_elf_symbol(&object, name);
	if (!address && vgpu_elf_by_soname("libdl.so.2", &object))
		address = vgpu_elf_symbol(&object, name);
	return address;
}
