/* What the probe says, for people and for machines. What it does is probe.c's. */
#ifndef HAMI_REPORT_H
#define HAMI_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#define NAME 96
#define UUID_TEXT 96		/* NVML_DEVICE_UUID_V2_BUFFER_SIZE */

struct seen {
	char name[NAME], uuid[UUID_TEXT];
	uint64_t total;
};

struct filled {
	uint64_t free_before, held, free_at_limit, free_after;
	unsigned pieces;
	int refusal;			/* the code that one byte more was answered with */
};

void show_seen(const char *by, const struct seen *seen, int count);
void show_filled(int ordinal, const struct filled *filled);

/* Everything as one line of JSON; "v": 1. */
void json_all(const struct seen *by_cuda, const struct filled *filled, int cuda_count, const struct seen *by_nvml,
              int nvml_count, bool coherent);

#endif
