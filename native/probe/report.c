#include "report.h"

#include <stdio.h>
#include <unistd.h>

#include "drivers.h"

#define SHORT_UUID 12		/* "GPU-" and eight digits: for people; machines get all of it */

static const char *mib(uint64_t bytes, char text[48])
{
	if (bytes % (1 << 20) == 0)
		sprintf(text, "%llu MiB", (unsigned long long)bytes >> 20);
	else
		sprintf(text, "%.3f MiB", (double)bytes / (1 << 20));
	return text;
}

void show_seen(const char *by, const struct seen *seen, int count)
{
	char size[48];

	for (int i = 0; i < count; i++)
		printf("  %s device %d: %s, %s, %.*s\n", by, i, seen[i].name, mib(seen[i].total, size), SHORT_UUID, seen[i].uuid);
	if (count == 0)
		printf("  %s: no device\n", by);
}

void show_filled(int ordinal, const struct filled *filled)
{
	char size[48];

	printf("device %d: held %s (%llu bytes); one byte more: %s\n", ordinal, mib(filled->held, size),
	       (unsigned long long)filled->held, code_name(filled->refusal));
}

static void json_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	putchar('"');
}

static void json_seen(const char *by, const struct seen *seen, int count)
{
	printf("\"%s\": [", by);
	for (int i = 0; i < count; i++) {
		printf("%s{\"uuid\": ", i ? ", " : "");
		json_text(seen[i].uuid);
		printf(", \"name\": ");
		json_text(seen[i].name);
		printf(", \"total\": %llu}", (unsigned long long)seen[i].total);
	}
	printf("]");
}

void json_all(const struct seen *by_cuda, const struct filled *filled, int cuda_count, const struct seen *by_nvml,
                     int nvml_count, bool coherent)
{
	printf("{\"v\": 1, \"pid\": %d, ", (int)getpid());
	json_seen("cuda", by_cuda, cuda_count);
	printf(", ");
	json_seen("nvml", by_nvml, nvml_count);
	printf(", \"filled\": [");
	for (int i = 0; i < cuda_count; i++)
		printf("%s{\"uuid\": \"%s\", \"free_before\": %llu, \"held\": %llu, \"pieces\": %u, \"free_at_limit\": %llu, "
		       "\"free_after\": %llu, \"refusal\": %d, \"refusal_name\": \"%s\"}", i ? ", " : "", by_cuda[i].uuid,
		       (unsigned long long)filled[i].free_before, (unsigned long long)filled[i].held, filled[i].pieces,
		       (unsigned long long)filled[i].free_at_limit, (unsigned long long)filled[i].free_after, filled[i].refusal,
		       code_name(filled[i].refusal));
	printf("], \"coherent\": %s}\n", coherent ? "true" : "false");
}
