/*
 * hami-probe: what does this process see of its devices, and where does its memory end?
 *
 * Lists the devices by CUDA and by NVML, allocates on each in ever smaller pieces until one byte more is refused, says how much
 * it held, and gives everything back. The libraries are opened at run time, as any framework does, so the program starts
 * without them. It knows nothing of limits or of the interposer: it is the workload.
 *
 *   hami-probe [--json] [--hold [SECONDS]] [--barrier FOLDER COUNT]
 *
 * HAMI_PROBE_BARRIER="FOLDER COUNT" stands for --barrier where that is not given: for pods, whose command is the manifest's.
 *
 * Exit status: 0 when all it saw agrees; 1 when it does not, or no device is there; 2 for a wrong command line.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers.h"
#include "rendezvous.h"
#include "report.h"

#define MOST_DEVICES 64
#define MOST_PIECES 65536
#define FIRST_PIECE (UINT64_C(64) << 20)

struct options {
	bool json, hold;
	int hold_s;			/* -1: until standard input closes or SIGTERM comes */
	const char *folder;		/* of the rendezvous; NULL: none */
	int parties;
};

static void format_uuid(const CUuuid *uuid, char *text)
{
	const unsigned char *b = (const unsigned char *)uuid->bytes;

	sprintf(text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5],
	        b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static int list_cuda(struct seen *seen)
{
	int count;
	CUresult code = cuda.cuInit(0);

	if (code == CUDA_ERROR_NO_DEVICE)
		return 0;
	must(code, "cuInit");
	must(cuda.cuDeviceGetCount(&count), "cuDeviceGetCount");
	for (int i = 0; i < count && i < MOST_DEVICES; i++) {
		CUdevice device;
		CUuuid uuid;
		size_t total;

		must(cuda.cuDeviceGet(&device, i), "cuDeviceGet");
		must(cuda.cuDeviceGetName(seen[i].name, NAME, device), "cuDeviceGetName");
		must(cuda.cuDeviceGetUuid(&uuid, device), "cuDeviceGetUuid");
		must(cuda.cuDeviceTotalMem_v2(&total, device), "cuDeviceTotalMem");
		format_uuid(&uuid, seen[i].uuid);
		seen[i].total = total;
	}
	return count < MOST_DEVICES ? count : MOST_DEVICES;
}

static int list_nvml(struct seen *seen)
{
	unsigned int count = 0;

	if (nvml.nvmlInit_v2() != NVML_SUCCESS || nvml.nvmlDeviceGetCount_v2(&count) != NVML_SUCCESS)
		give_up("NVML does not start");
	for (unsigned int i = 0; i < count && i < MOST_DEVICES; i++) {
		nvmlDevice_t device;
		nvmlMemory_t memory;

		if (nvml.nvmlDeviceGetHandleByIndex_v2(i, &device) != NVML_SUCCESS ||
		    nvml.nvmlDeviceGetName(device, seen[i].name, NAME) != NVML_SUCCESS ||
		    nvml.nvmlDeviceGetUUID(device, seen[i].uuid, sizeof(seen[i].uuid)) != NVML_SUCCESS ||
		    nvml.nvmlDeviceGetMemoryInfo(device, &memory) != NVML_SUCCESS)
			give_up("NVML does not tell of device %u", i);
		seen[i].total = memory.total;
	}
	nvml.nvmlShutdown();
	return count < MOST_DEVICES ? (int)count : MOST_DEVICES;
}

static uint64_t free_now(void)
{
	size_t free, total;

	must(cuda.cuMemGetInfo_v2(&free, &total), "cuMemGetInfo");
	return free;
}

static void make_current(int ordinal)
{
	CUdevice device;
	CUcontext context;

	must(cuda.cuDeviceGet(&device, ordinal), "cuDeviceGet");
	must(cuda.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
	must(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent");
}

/* Halving the piece at every refusal ends at one byte: what is held then is the share, down to the byte. */
static void fill(struct filled *filled, CUdeviceptr *pieces)
{
	filled->free_before = free_now();
	for (uint64_t piece = FIRST_PIECE; piece > 0;) {
		if (filled->pieces == MOST_PIECES)
			give_up("%u pieces and still no end", MOST_PIECES);
		filled->refusal = cuda.cuMemAlloc_v2(&pieces[filled->pieces], piece);
		if (filled->refusal != CUDA_SUCCESS) {
			piece /= 2;
			continue;
		}
		filled->held += piece;
		filled->pieces++;
	}
	filled->free_at_limit = free_now();
}

static void give_back(int ordinal, struct filled *filled, const CUdeviceptr *pieces)
{
	CUdevice device;

	make_current(ordinal);
	for (unsigned i = 0; i < filled->pieces; i++)
		must(cuda.cuMemFree_v2(pieces[i]), "cuMemFree");
	filled->free_after = free_now();
	must(cuda.cuDeviceGet(&device, ordinal), "cuDeviceGet");
	for (int references = 0; references < 2; references++)		/* make_current took one here, and one before fill */
		must(cuda.cuDevicePrimaryCtxRelease_v2(device), "cuDevicePrimaryCtxRelease");
}

/* Without a limit CUDA tells less than NVML, which counts what the driver keeps for itself; never more. */
static bool same_devices(const struct seen *by_cuda, int cuda_count, const struct seen *by_nvml, int nvml_count)
{
	int matched = 0;

	for (int i = 0; i < cuda_count; i++)
		for (int j = 0; j < nvml_count; j++)
			matched += strcmp(by_cuda[i].uuid, by_nvml[j].uuid) == 0 && by_cuda[i].total <= by_nvml[j].total;
	return cuda_count == nvml_count && matched == cuda_count;
}

/* Neighbours on the device may take what is free meanwhile, so held may fall short of the total, but never exceed it. */
static bool agrees(const struct seen *seen, const struct filled *filled)
{
	return filled->refusal == CUDA_ERROR_OUT_OF_MEMORY && filled->held > 0 && filled->held <= seen->total &&
	       filled->free_after >= filled->free_at_limit;
}

static int usage(const char *wrong)
{
	fprintf(stderr, "hami-probe: %s\nusage: hami-probe [--json] [--hold [SECONDS]] [--barrier FOLDER COUNT]\n", wrong);
	exit(2);
}

/* A whole decimal number from 1 to 1,000,000, or 0. */
static int number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && value >= 1 && value <= 1000000 ? (int)value : 0;
}

/* "FOLDER COUNT"; the folder's name may hold blanks. */
static void read_environment(struct options *options)
{
	static char folder[4096];
	const char *value = getenv("HAMI_PROBE_BARRIER"), *blank = value ? strrchr(value, ' ') : NULL;

	if (!value || options->folder)
		return;
	options->parties = blank ? number(blank + 1) : 0;
	if (!options->parties || blank == value || (size_t)(blank - value) >= sizeof(folder))
		usage("HAMI_PROBE_BARRIER takes a folder, a blank and a number of at least 1");
	snprintf(folder, sizeof(folder), "%.*s", (int)(blank - value), value);
	options->folder = folder;
}

static void read_options(struct options *options, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			options->json = true;
		} else if (strcmp(argv[i], "--hold") == 0) {
			options->hold = true;
			options->hold_s = i + 1 < argc && number(argv[i + 1]) ? number(argv[++i]) : -1;
		} else if (strcmp(argv[i], "--barrier") == 0 && i + 2 < argc && number(argv[i + 2])) {
			options->folder = argv[++i];
			options->parties = number(argv[++i]);
		} else {
			usage(strcmp(argv[i], "--barrier") == 0 ? "--barrier takes a folder and a number of at least 1"
			                                        : "unknown argument");
		}
	}
	read_environment(options);
}

static int stopped_by;		/* the read end of a pipe that SIGTERM writes to */
static int stop_with;

static void on_sigterm(int signal)
{
	(void)signal;
	(void)!write(stop_with, "", 1);
}

/* Installed before the first word is said: who reads it may send the signal at once. */
static void listen_for_sigterm(void)
{
	int ends[2];
	struct sigaction action = { .sa_handler = on_sigterm };

	if (pipe(ends) != 0)
		give_up("no pipe: %s", strerror(errno));
	stopped_by = ends[0];
	stop_with = ends[1];
	sigaction(SIGTERM, &action, NULL);
}

/* Standard input counts only without a number of seconds: a pod's is closed from the start. */
static void hold(int seconds)
{
	struct pollfd ends[2] = { { .fd = stopped_by, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
	char scrap[256];

	for (;;) {
		int ready = poll(ends, seconds < 0 ? 2 : 1, seconds < 0 ? -1 : seconds * 1000);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0 || ends[0].revents || read(STDIN_FILENO, scrap, sizeof(scrap)) <= 0)
			return;
	}
}

static void stay(const struct options *options)
{
	if (options->folder && !rendezvous(options->folder, "held", options->parties))
		give_up("the others did not come to %s: %d were to hold their memory at the same time", options->folder,
		        options->parties);
	if (options->folder && !options->json)
		printf("all %d hold their memory at this moment\n", options->parties);
	fflush(stdout);
	if (options->hold)
		hold(options->hold_s);
	if (options->folder && !rendezvous(options->folder, "seen", options->parties))
		give_up("the others did not come to %s a second time", options->folder);
}

int main(int argc, char **argv)
{
	static struct seen by_cuda[MOST_DEVICES], by_nvml[MOST_DEVICES];
	static struct filled filled[MOST_DEVICES];
	static CUdeviceptr pieces[MOST_DEVICES][MOST_PIECES];
	struct options options = { .hold_s = -1 };
	int cuda_count, nvml_count;
	bool coherent;

	read_options(&options, argc, argv);
	listen_for_sigterm();
	open_drivers();
	cuda_count = list_cuda(by_cuda);
	nvml_count = list_nvml(by_nvml);
	coherent = cuda_count > 0 && same_devices(by_cuda, cuda_count, by_nvml, nvml_count);
	if (!options.json) {
		printf("process %d sees\n", (int)getpid());
		show_seen("CUDA", by_cuda, cuda_count);
		show_seen("NVML", by_nvml, nvml_count);
	}
	for (int i = 0; i < cuda_count; i++) {
		make_current(i);
		fill(&filled[i], pieces[i]);
		if (!options.json)
			show_filled(i, &filled[i]);
	}
	stay(&options);
	for (int i = 0; i < cuda_count; i++) {
		give_back(i, &filled[i], pieces[i]);
		coherent = coherent && agrees(&by_cuda[i], &filled[i]);
	}
	if (options.json)
		json_all(by_cuda, filled, cuda_count, by_nvml, nvml_count, coherent);
	else if (cuda_count == 0 && nvml_count == 0)
		printf("no device is here\n");
	else
		printf("everything is given back; %s\n", coherent ? "CUDA, NVML and the allocations agree"
		                                                  : "what was seen does NOT agree");
	return coherent ? 0 : 1;
}
