/*
 * What Python reads: regions and limits, as flat copies. hami_native/abi.py declares the same structures for cffi; a test
 * compares the two. Plain types only. Trusts no byte of a file: sizes and counts are checked, texts are terminated.
 */
#ifndef HAMI_READER_H
#define HAMI_READER_H

#include <stddef.h>
#include <stdint.h>

#define HAMI_DEVICES 16
#define HAMI_SLOTS 512
#define HAMI_MESSAGE 240

struct hami_device {
	char uuid[96];
	uint64_t used;			/* bytes */
	uint64_t peak;
	uint64_t refused;		/* allocations that the limit refused */
};

struct hami_process {
	uint32_t pid;
	uint32_t reserved;		/* 0 */
	uint64_t start_time;		/* clock ticks since boot */
	uint64_t pid_namespace;		/* inode */
	uint64_t used[HAMI_DEVICES];	/* bytes */
	uint64_t context[HAMI_DEVICES];	/* the part of used that is contexts */
};

struct hami_region {
	char grant[256];
	uint32_t device_count;
	uint32_t process_count;
	uint64_t unnamed[HAMI_DEVICES];	/* bytes of processes that found no slot */
	struct hami_device devices[HAMI_DEVICES];
	struct hami_process processes[HAMI_SLOTS];
};

struct hami_limits_device {
	char uuid[96];
	uint64_t memory, physical, context;	/* bytes */
	uint32_t cores;				/* percent */
	uint32_t reserved;			/* 0 */
};

struct hami_limits {
	char grant[256];
	uint32_t device_count;
	uint32_t policy, priority, oom;		/* as in limits.h */
	struct hami_limits_device devices[HAMI_DEVICES];
};

/*
 * Copy the region of PATH. 0, or -1 and one sentence in MESSAGE. The file is read, never mapped: one that shrinks meanwhile
 * is a short read, not SIGBUS. Allocates for the time of the call.
 */
int hami_region_read(const char *path, struct hami_region *region, char message[HAMI_MESSAGE]);

/* Parse a limits text. 0 (VGPU_OPEN), or the reason it is closed, with its line (0: the whole) and a sentence. Pure. */
int hami_limits_parse(const char *text, size_t length, struct hami_limits *limits, uint32_t *line, char message[HAMI_MESSAGE]);

/* The offset of "structure.field" in the shared region's layout, or -1. */
long hami_region_offset(const char *field);

/* Size of one of the structures above by its name, or 0. */
size_t hami_sizeof(const char *structure);

#endif
