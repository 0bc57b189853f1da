/*
 * libcuda: addresses that programs reserve, and mappings of physical memory (cuda_physical.c) into them.
 *
 * Every reservation has one pointer per 2 MiB to the mapping there, so that any address is found at once. Addresses are given out upwards and not
 * a second time until all above them are free: there are 2^56.
 */
#define _GNU_SOURCE
#include "cuda_virtual.h"

#include <stdlib.h>
#include <string.h>

#include "cuda_physical.h"

#define VIRTUAL_END (1ULL << 56)

struct mapping {
	CUdeviceptr start;
	uint64_t size;
	struct physical *physical;
	uint32_t readable, writable;            /* a bit per device */
};

struct reservation {
	CUdeviceptr start;
	uint64_t size;
	struct mapping **page;
	uint64_t mapped;                        /* bytes of it */
};

static struct reservation *reservations;        /* by address */
static unsigned count, room;
static CUdeviceptr next = VIRTUAL_BASE;

/* The place of the first reservation that ends after ADDRESS. */
static unsigned place_of(CUdeviceptr address)
{
	unsigned low = 0, high = count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (reservations[middle].start + reservations[middle].size > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The reservation that holds all of a range. */
static struct reservation *around(CUdeviceptr address, uint64_t size)
{
	struct reservation *found = &reservations[place_of(address)];

	if (found == reservations + count || address < found->start || size > found->size - (address - found->start))
		return NULL;
	return found;
}

static struct mapping **page_at(struct reservation *reservation, CUdeviceptr address)
{
	return &reservation->page[(address - reservation->start) / VIRTUAL_GRANULE];
}

static struct mapping *mapping_at(CUdeviceptr address)
{
	struct reservation *reservation = count ? around(address, 1) : NULL;

	return reservation ? *page_at(reservation, address) : NULL;
}

bool virtual_range(CUdeviceptr address, struct range *range)
{
	struct mapping *mapping = mapping_at(address);

	if (!mapping)
		return false;
	*range = (struct range){.start = mapping->start,
	                        .size = mapping->size,
	                        .device = mapping->physical->device < 0 ? 0 : mapping->physical->device,
	                        .host = mapping->physical->device < 0};
	return true;
}

bool virtual_is_writable(CUdeviceptr address)
{
	struct mapping *mapping = address < VIRTUAL_BASE ? NULL : mapping_at(address);

	return address < VIRTUAL_BASE || (mapping && mapping->writable);
}

/* A copy may run on any device: one that has access will do. */
bool virtual_place(CUdeviceptr address, bool write, char **place, uint64_t *length)
{
	struct mapping *mapping = mapping_at(address);
	struct physical *physical;

	if (!mapping || !(write ? mapping->writable : mapping->readable))
		return false;
	physical = mapping->physical;
	*length = mapping->size - (address - mapping->start);
	*place = write || physical->shared ? physical_bytes(physical) : physical->bytes;
	if (!*place)
		return !write && !physical->shared;
	*place += address - mapping->start;
	return true;
}

static bool is_free(CUdeviceptr start, uint64_t size)
{
	unsigned at = place_of(start);

	return start >= VIRTUAL_BASE && start + size <= VIRTUAL_END && (at == count || reservations[at].start >= start + size);
}

static bool insert(CUdeviceptr start, uint64_t size)
{
	struct mapping **page = calloc(size / VIRTUAL_GRANULE, sizeof *page);
	unsigned at = place_of(start);

	if (page && count == room) {
		struct reservation *more = realloc(reservations, (room + 64) * sizeof *more);

		if (more) {
			reservations = more;
			room += 64;
		}
	}
	if (!page || count == room) {
		free(page);
		return false;
	}
	memmove(&reservations[at + 1], &reservations[at], (count - at) * sizeof *reservations);
	reservations[at] = (struct reservation){start, size, page, 0};
	count++;
	return true;
}

/* Locked. A wish that cannot be had is only a wish. */
static CUresult reserve(CUdeviceptr *address, uint64_t size, uint64_t alignment, CUdeviceptr wish)
{
	CUdeviceptr start = wish && wish % alignment == 0 && is_free(wish, size) ? wish : (next + alignment - 1) & ~(alignment - 1);

	if (!is_free(start, size) || !insert(start, size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (start + size > next)
		next = start + size;
	*address = start;
	return CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr wish, unsigned long long flags)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!address || !size || size % VIRTUAL_GRANULE || alignment & (alignment - 1) || flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (size > VIRTUAL_END - VIRTUAL_BASE || alignment > VIRTUAL_BASE)
		return CUDA_ERROR_OUT_OF_MEMORY;
	driver_lock();
	failure = reserve(address, size, alignment < VIRTUAL_GRANULE ? VIRTUAL_GRANULE : alignment, wish);
	driver_unlock();
	return failure;
}

/* Locked. */
static CUresult unreserve(CUdeviceptr address, uint64_t size)
{
	struct reservation *found = count ? around(address, size) : NULL;

	if (!found || found->start != address || found->size != size || found->mapped)
		return CUDA_ERROR_INVALID_VALUE;
	free(found->page);
	count--;
	memmove(found, found + 1, (size_t)(reservations + count - found) * sizeof *found);
	next = count ? reservations[count - 1].start + reservations[count - 1].size : VIRTUAL_BASE;
	return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr address, size_t size)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	driver_lock();
	failure = unreserve(address, size);
	driver_unlock();
	return failure;
}

static bool is_unmapped(struct reservation *reservation, CUdeviceptr address, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += VIRTUAL_GRANULE)
		if (*page_at(reservation, address + at))
			return false;
	return true;
}

static void set_pages(struct reservation *reservation, const struct mapping *mapping, struct mapping *to)
{
	for (uint64_t at = 0; at < mapping->size; at += VIRTUAL_GRANULE)
		*page_at(reservation, mapping->start + at) = to;
}

/* Locked. */
static CUresult map(CUdeviceptr address, uint64_t size, struct physical *physical)
{
	struct reservation *reservation = count ? around(address, size) : NULL;
	struct mapping *mapping;

	if (!reservation || !physical || size > physical->size || !is_unmapped(reservation, address, size))
		return CUDA_ERROR_INVALID_VALUE;
	mapping = malloc(sizeof *mapping);
	if (!mapping)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*mapping = (struct mapping){address, size, physical, 0, 0};
	set_pages(reservation, mapping, mapping);
	reservation->mapped += size;
	physical->mappings++;
	return CUDA_SUCCESS;
}

/* An offset into the memory has to be 0, as the interface says of its present form. */
CUresult cuMemMap(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!size || size % VIRTUAL_GRANULE || address % VIRTUAL_GRANULE || offset || flags)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	failure = map(address, size, physical_of(handle));
	driver_unlock();
	return failure;
}

/* Locked. Whether a range consists of whole mappings, be it in reservations that lie side by side. */
static bool is_whole(CUdeviceptr address, uint64_t size)
{
	for (CUdeviceptr at = address; at < address + size;) {
		struct mapping *mapping = mapping_at(at);

		if (!mapping || mapping->start != at || mapping->size > address + size - at)
			return false;
		at += mapping->size;
	}
	return size;
}

static void unmap(struct mapping *mapping)
{
	struct physical *physical = mapping->physical;
	struct reservation *reservation = around(mapping->start, mapping->size);

	set_pages(reservation, mapping, NULL);
	reservation->mapped -= mapping->size;
	free(mapping);
	physical->mappings--;
	physical_settle(physical);
}

CUresult cuMemUnmap(CUdeviceptr address, size_t size)
{
	CUresult failure = driver_ready();
	bool whole;

	if (failure)
		return failure;
	machine_delay(driver.state);
	driver_lock();
	whole = is_whole(address, size);
	for (CUdeviceptr at = address; whole && at < address + size;) {
		struct mapping *mapping = mapping_at(at);

		at += mapping->size;
		unmap(mapping);
	}
	driver_unlock();
	return whole ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static void give_access(struct mapping *mapping, const CUmemAccessDesc *access)
{
	uint32_t bit = (int)access->location.type == LOCATION_DEVICE ? 1u << access->location.id : 0;

	mapping->readable = (int)access->flags & ACCESS_READ ? mapping->readable | bit : mapping->readable & ~bit;
	mapping->writable = (int)access->flags == ACCESS_READ_WRITE ? mapping->writable | bit : mapping->writable & ~bit;
}

static bool is_access(const CUmemAccessDesc *access)
{
	int where = (int)access->location.type, flags = (int)access->flags;

	if (flags != ACCESS_NONE && flags != ACCESS_READ && flags != ACCESS_READ_WRITE)
		return false;
	return where == LOCATION_DEVICE ? is_device(access->location.id) : where == LOCATION_HOST || where == LOCATION_HOST_NUMA;
}

CUresult cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t descriptions)
{
	CUresult failure = driver_ready();
	bool whole;

	if (failure)
		return failure;
	if (!access || !descriptions)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < descriptions; i++)
		if (!is_access(&access[i]))
			return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	whole = is_whole(address, size);
	for (CUdeviceptr at = address; whole && at < address + size;) {
		struct mapping *mapping = mapping_at(at);

		for (size_t i = 0; i < descriptions; i++)
			give_access(mapping, &access[i]);
		at += mapping->size;
	}
	driver_unlock();
	return whole ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr address)
{
	CUresult failure = driver_ready();
	struct mapping *mapping;
	uint32_t bit;

	if (failure)
		return failure;
	if (!flags || !location || (int)location->type != LOCATION_DEVICE || !is_device(location->id))
		return CUDA_ERROR_INVALID_VALUE;
	bit = 1u << location->id;
	driver_lock();
	mapping = mapping_at(address);
	if (mapping)
		*flags = mapping->writable & bit ? ACCESS_READ_WRITE : mapping->readable & bit ? ACCESS_READ : ACCESS_NONE;
	driver_unlock();
	return mapping ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
	CUresult failure = driver_ready();
	struct mapping *mapping;

	if (failure)
		return failure;
	if (!handle)
		return CUDA_ERROR_INVALID_VALUE;
	driver_lock();
	mapping = mapping_at((CUdeviceptr)(uintptr_t)address);
	if (mapping) {
		mapping->physical->references++;
		*handle = physical_handle(mapping->physical);
	}
	driver_unlock();
	return mapping ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
