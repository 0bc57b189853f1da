/* Device memory of this process that other processes may hold too, or that they lent to this one: its bytes are a file (sharing.h). */
#ifndef HAMI_MOCK_CUDA_SHARED_H
#define HAMI_MOCK_CUDA_SHARED_H

#include "cuda_driver.h"
#include "sharing.h"

/* One piece. Reached from the record of the memory, and listed so that a forked child can close its copy of the file. */
struct shared {
	uint64_t id;
	uint64_t size;                          /* of the file */
	uint64_t requested;
	CUdevice device;
	int file;
	struct shared *next;
};

/*
 * Share out memory of this process on DEVICE, whose bytes, if there are any, lie at *BYTES in a mapping of SIZE: they become the file's, at the
 * same address. HELD is its charge, which is the machine's from then on. Locked. NULL if there is no room.
 */
struct shared *shared_publish(CUdevice device, const struct change *held, uint64_t size, char **bytes);

/* Open by id, or from a descriptor that another process exported. Locked. NULL: no such memory, or on a device that is not visible here. */
struct shared *shared_open(uint64_t id);
struct shared *shared_recognise(int file);

/* A new descriptor for somebody else to import; -1 if there is none. */
int shared_export(const struct shared *shared);

/* The bytes, at the same address as before if *BYTES is set. Locked. */
char *shared_bytes(struct shared *shared, char **bytes);

/* This process no longer holds it; its bytes are unmapped by whoever has them. Locked. */
void shared_close(struct shared *shared);

/* The same, of a second record of memory that this process holds by another one. */
void shared_close_copy(struct shared *shared);

/* In a child of fork: the files are the parent's. */
void shared_forget_all(void);

#endif
