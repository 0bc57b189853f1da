/*
 * Processes that run for the same share, for the tests of races and of crashes. Everything is reached as a framework reaches it.
 *
 *   race rounds PROCESSES ROUNDS BLOCK_BYTES LIMIT_BYTES
 *       Released together in each round, each process allocates blocks until it is refused; when all are refused, all free. One
 *       more process asks for more than the whole share all the time. Says what was found: rounds that ended over the limit,
 *       rounds that left room for a block, and the fewest blocks that any process got over all rounds.
 *   race kill KILLS LIMIT_BYTES SEED
 *       Starts `race victim`, kills it at a random moment, and asks at once for the whole share: says how long it took until it
 *       got it, at worst, and how often the victim had come to allocating.
 *   race steps EVERY LIMIT_BYTES WARM
 *       Forks a child that allocates and frees once, runs it instruction by instruction, and kills it after the n-th, for every
 *       EVERY-th n until it gets to its end; after each asks for the whole share. WARM: the child is attached already. Says how
 *       many instructions there were and after how many of the kills the share was not back at the first asking. The driver
 *       must allow a forked child to allocate.
 *   race victim LIMIT_BYTES SEED
 *       Allocates and frees at random for ever, in two threads.
 *
 *   RACE_BY   "virtual": by cuMemCreate, mapped and held by its mapping alone; "pool": in the order of a stream that is
 *             synchronised after each free; "array": as an array; "graph": by a launch, and trimmed after the free; else by
 *             cuMemAlloc
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_BLOCKS 4096
#define RECOVERY_S 10		/* after so long a share that does not come back is lost */

static int (*allocate)(unsigned long long *, size_t);
static int (*release)(unsigned long long);

/* Virtual memory. */
#define GRANULE ((size_t)2 << 20)
#define RANGE ((size_t)1 << 32)		/* of addresses for each allocation; its number among these tells its size */
#define RANGES 65536u

static struct {
	int (*create)(unsigned long long *, size_t, const void *, unsigned long long);
	int (*release)(unsigned long long);
	int (*reserve)(unsigned long long *, size_t, size_t, unsigned long long, unsigned long long);
	int (*forget)(unsigned long long, size_t);
	int (*map)(unsigned long long, size_t, size_t, unsigned long long, unsigned long long);
	int (*unmap)(unsigned long long, size_t);
	int device;
	size_t sizes[RANGES];
} by;

static int allocate_virtual(unsigned long long *pointer, size_t bytes)
{
	struct { int type, handle_types, location, id; void *metadata; unsigned char flags[8]; } properties = {
		1, 0, 1, by.device, NULL, { 0 } };
	size_t size = (bytes + GRANULE - 1) / GRANULE * GRANULE;
	unsigned long long handle;
	int result = by.create(&handle, size, &properties, 0);

	if (result)
		return result;
	if (by.reserve(pointer, RANGE, 0, 0, 0) || by.map(*pointer, size, 0, handle, 0) || by.release(handle))
		_exit(6);
	by.sizes[*pointer / RANGE % RANGES] = size;
	return 0;
}

static int release_virtual(unsigned long long pointer)
{
	int result = by.unmap(pointer, by.sizes[pointer / RANGE % RANGES]);

	return result ? result : by.forget(pointer, RANGE);
}

static void use_virtual(void *driver, int device)
{
	by.create = (int (*)(unsigned long long *, size_t, const void *, unsigned long long))dlsym(driver, "cuMemCreate");
	by.release = (int (*)(unsigned long long))dlsym(driver, "cuMemRelease");
	by.reserve = (int (*)(unsigned long long *, size_t, size_t, unsigned long long, unsigned long long))dlsym(
		driver, "cuMemAddressReserve");
	by.forget = (int (*)(unsigned long long, size_t))dlsym(driver, "cuMemAddressFree");
	by.map = (int (*)(unsigned long long, size_t, size_t, unsigned long long, unsigned long long))dlsym(driver, "cuMemMap");
	by.unmap = (int (*)(unsigned long long, size_t))dlsym(driver, "cuMemUnmap");
	by.device = device;
	allocate = allocate_virtual;
	release = release_virtual;
}

/* Pools, arrays and graphs. */
static struct {
	int (*allocate)(unsigned long long *, size_t, void *);
	int (*free)(unsigned long long, void *);
	int (*synchronise)(void *);
	int (*create)(void **, const void *);
	int (*destroy)(void *);
	int (*make)(void **, unsigned);
	int (*unmake)(void *);
	int (*add)(void **, void *, const void *, size_t, void *);
	int (*instantiate)(void **, void *, unsigned long long);
	int (*launch)(void *, void *);
	int (*drop)(void *);
	int (*trim)(int);
	int device;
} reserved;

static int allocate_pooled(unsigned long long *pointer, size_t bytes)
{
	return reserved.allocate(pointer, bytes, NULL);
}

static int release_pooled(unsigned long long pointer)
{
	int result = reserved.free(pointer, NULL);

	return result ? result : reserved.synchronise(NULL);
}

/* Rows of 512 bytes. */
static int allocate_array(unsigned long long *pointer, size_t bytes)
{
	struct { size_t width, height, depth; int format; unsigned channels, flags; } shape = { 512, (bytes + 511) / 512, 0, 1, 1, 0 };
	void *array;
	int result = reserved.create(&array, &shape);

	*pointer = (uintptr_t)array;
	return result;
}

static int release_array(unsigned long long pointer)
{
	return reserved.destroy((void *)(uintptr_t)pointer);
}

static int allocate_by_graph(unsigned long long *pointer, size_t bytes)
{
	struct { int type, handles, location, id; char rest[72]; void *access; size_t accesses, bytes; unsigned long long pointer; }
		params = { 1, 0, 1, reserved.device, { 0 }, NULL, 0, bytes, 0 };
	void *graph, *node, *exec = NULL;
	int result;

	if (reserved.make(&graph, 0) || reserved.add(&node, graph, NULL, 0, &params))
		_exit(6);
	result = reserved.instantiate(&exec, graph, 0);
	if (!result) {
		result = reserved.launch(exec, NULL);
		*pointer = params.pointer;
		if (reserved.drop(exec))
			_exit(6);
	}
	reserved.unmake(graph);
	return result;
}

static int release_of_graph(unsigned long long pointer)
{
	int result = reserved.free(pointer, NULL);

	return result ? result : reserved.trim(reserved.device);
}

static void use_reserved(void *driver, int device, const char *how)
{
	*(void **)&reserved.allocate = dlsym(driver, "cuMemAllocAsync");
	*(void **)&reserved.free = dlsym(driver, "cuMemFreeAsync");
	*(void **)&reserved.synchronise = dlsym(driver, "cuStreamSynchronize");
	*(void **)&reserved.create = dlsym(driver, "cuArray3DCreate_v2");
	*(void **)&reserved.destroy = dlsym(driver, "cuArrayDestroy");
	*(void **)&reserved.make = dlsym(driver, "cuGraphCreate");
	*(void **)&reserved.unmake = dlsym(driver, "cuGraphDestroy");
	*(void **)&reserved.add = dlsym(driver, "cuGraphAddMemAllocNode");
	*(void **)&reserved.instantiate = dlsym(driver, "cuGraphInstantiateWithFlags");
	*(void **)&reserved.launch = dlsym(driver, "cuGraphLaunch");
	*(void **)&reserved.drop = dlsym(driver, "cuGraphExecDestroy");
	*(void **)&reserved.trim = dlsym(driver, "cuDeviceGraphMemTrim");
	reserved.device = device;
	allocate = *how == 'p' ? allocate_pooled : *how == 'a' ? allocate_array : allocate_by_graph;
	release = *how == 'p' ? release_pooled : *how == 'a' ? release_array : release_of_graph;
}

/* cuInit and a current context on the first device. */
static void start(void)
{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context;
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(driver, "cuInit");
	int (*get)(int *, int) = (int (*)(int *, int))dlsym(driver, "cuDeviceGet");
	int (*retain)(void **, int) = (int (*)(void **, int))dlsym(driver, "cuDevicePrimaryCtxRetain");
	int (*current)(void *) = (int (*)(void *))dlsym(driver, "cuCtxSetCurrent");
	int device;

	allocate = (int (*)(unsigned long long *, size_t))dlsym(driver, "cuMemAlloc_v2");
	release = (int (*)(unsigned long long))dlsym(driver, "cuMemFree_v2");
	if (init(0) || get(&device, 0) || retain(&context, device) || current(context)) {
		fprintf(stderr, "race: the driver does not start\n");
		_exit(3);
	}
	if (getenv("RACE_BY") && strcmp(getenv("RACE_BY"), "virtual") == 0)
		use_virtual(driver, device);
	else if (getenv("RACE_BY"))
		use_reserved(driver, device, getenv("RACE_BY"));
}

struct shared {
	_Atomic uint32_t arrived, turn;
	_Atomic uint32_t stop;
	_Atomic uint64_t held;			/* blocks, by all, in this round */
	uint64_t over, unfilled;
	uint64_t got[64];			/* by process, over all rounds */
};

static void wait_for_all(struct shared *shared, uint32_t parties)
{
	uint32_t turn = atomic_load(&shared->turn);

	if (atomic_fetch_add(&shared->arrived, 1) + 1 == parties) {
		atomic_store(&shared->arrived, 0);
		atomic_store(&shared->turn, turn + 1);
		syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
		return;
	}
	while (atomic_load(&shared->turn) == turn)
		syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, NULL, NULL, 0);
}

static void run_rounds(struct shared *shared, unsigned me, unsigned parties, unsigned rounds, uint64_t block, uint64_t limit)
{
	static unsigned long long held[MOST_BLOCKS];

	start();
	for (unsigned round = 0; round < rounds; round++) {
		unsigned count = 0;

		wait_for_all(shared, parties);
		while (count < MOST_BLOCKS && allocate(&held[count], block) == 0)
			count++;
		atomic_fetch_add(&shared->held, count);
		shared->got[me] += count;
		wait_for_all(shared, parties);
		if (me == 0) {
			uint64_t bytes = atomic_exchange(&shared->held, 0) * block;

			shared->over += bytes > limit;
			shared->unfilled += bytes + block <= limit;
		}
		while (count > 0)
			if (release(held[--count]) != 0)
				_exit(4);
		wait_for_all(shared, parties);
	}
	_exit(0);
}

static void be_greedy(struct shared *shared, uint64_t limit)
{
	unsigned long long pointer;

	start();
	while (!atomic_load(&shared->stop))
		if (allocate(&pointer, limit + 1) == 0)
			_exit(5);
	_exit(0);
}

static int rounds(unsigned parties, unsigned count, uint64_t block, uint64_t limit)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t fewest = UINT64_MAX;
	pid_t pids[64], greedy;
	int status, failed = 0;

	for (unsigned i = 0; i < parties; i++)
		if ((pids[i] = fork()) == 0)
			run_rounds(shared, i, parties, count, block, limit);
	if ((greedy = fork()) == 0)
		be_greedy(shared, limit);
	for (unsigned i = 0; i < parties; i++) {
		waitpid(pids[i], &status, 0);
		failed += status != 0;
		fewest = shared->got[i] < fewest ? shared->got[i] : fewest;
	}
	atomic_store(&shared->stop, 1);
	waitpid(greedy, &status, 0);
	failed += status != 0;
	printf("{\"over\": %llu, \"unfilled\": %llu, \"fewest\": %llu, \"failed\": %d}\n", (unsigned long long)shared->over,
	       (unsigned long long)shared->unfilled, (unsigned long long)fewest, failed);
	return failed;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct play {
	uint64_t limit;
	unsigned seed;
};

static void *play(void *data)
{
	struct play *play = data;
	unsigned long long held[16] = { 0 };

	start();
	for (;;) {
		unsigned i = (unsigned)rand_r(&play->seed) % 16;

		if (held[i] && release(held[i]) == 0)
			held[i] = 0;
		else
			(void)!(allocate(&held[i], 1 + (size_t)rand_r(&play->seed) % (play->limit / 12)) && (held[i] = 0));
	}
	return NULL;
}

static int victim(uint64_t limit, unsigned seed)
{
	struct play plays[2] = { { limit, seed }, { limit, seed + 1 } };
	pthread_t thread;

	start();
	(void)!write(STDOUT_FILENO, "!", 1);
	pthread_create(&thread, NULL, play, &plays[0]);
	play(&plays[1]);
	return 0;
}

/* A victim whose first word comes through READY_END. */
static pid_t spawn_victim(char *program, char *limit, unsigned seed, int *ready_end)
{
	extern char **environ;
	posix_spawn_file_actions_t actions;
	char text[16];
	char *arguments[] = { program, "victim", limit, text, NULL };
	int ends[2];
	pid_t pid;

	snprintf(text, sizeof(text), "%u", seed);
	if (pipe(ends) != 0)
		exit(1);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	posix_spawn_file_actions_addclose(&actions, ends[1]);
	if (posix_spawn(&pid, program, &actions, NULL, arguments, environ) != 0)
		exit(1);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*ready_end = ends[0];
	return pid;
}

/* Half are killed while they start, half while they play. The sleep is the random moment, not a wait for anything. */
static int kill_at_random(pid_t pid, int ready_end, unsigned *seed)
{
	char word;
	int came = 0;

	if (rand_r(seed) % 2)
		came = read(ready_end, &word, 1) == 1;
	nanosleep(&(struct timespec){ .tv_nsec = rand_r(seed) % (came ? 2000000 : 8000000) }, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	came = came || read(ready_end, &word, 1) == 1;
	close(ready_end);
	return came;
}

static int kills(char *program, unsigned count, char *limit_text, unsigned seed)
{
	uint64_t limit = strtoull(limit_text, NULL, 10);
	double worst = 0;
	unsigned came = 0, lost = 0;

	start();
	for (unsigned i = 0; i < count && !lost; i++) {
		int ready_end;
		pid_t pid = spawn_victim(program, limit_text, seed + i, &ready_end);
		unsigned long long pointer;
		double begin;

		came += (unsigned)kill_at_random(pid, ready_end, &seed);
		begin = now_s();
		while (allocate(&pointer, limit) != 0 && !lost)
			lost = now_s() - begin > RECOVERY_S;
		worst = now_s() - begin > worst ? now_s() - begin : worst;
		if (!lost && release(pointer) != 0)
			return 4;
	}
	printf("{\"lost\": %u, \"worst_s\": %.6f, \"came\": %u}\n", lost, worst, came);
	return 0;
}

static void be_stepped(int warm)
{
	unsigned long long pointer;

	if (warm && (allocate(&pointer, 4096) || release(pointer)))
		_exit(4);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	_exit(allocate(&pointer, 4096) || release(pointer));
}

/* Whether the child came to its own end within COUNT instructions. */
static int step_and_kill(pid_t pid, unsigned long count)
{
	int status;

	waitpid(pid, &status, 0);
	for (unsigned long i = 0; i < count; i++) {
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		waitpid(pid, &status, 0);
		if (WIFEXITED(status))
			return 1;
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return 0;
}

static int steps(unsigned long every, uint64_t limit, int warm)
{
	unsigned long count = 0, late = 0;
	unsigned long long pointer;
	int ended = 0;

	start();
	if (allocate(&pointer, limit) || release(pointer))
		return 4;
	for (; !ended; count += every) {
		pid_t pid = fork();

		if (pid == 0)
			be_stepped(warm);
		ended = step_and_kill(pid, count);
		if (allocate(&pointer, limit) != 0)
			late++;
		else if (release(pointer) != 0)
			return 4;
	}
	printf("{\"instructions\": %lu, \"late\": %lu}\n", count, late);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "rounds") == 0)
		return rounds((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
	if (argc == 5 && strcmp(argv[1], "kill") == 0)
		return kills(argv[0], (unsigned)atoi(argv[2]), argv[3], (unsigned)atoi(argv[4]));
	if (argc == 5 && strcmp(argv[1], "steps") == 0)
		return steps(strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), atoi(argv[4]));
	if (argc == 4 && strcmp(argv[1], "victim") == 0)
		return victim(strtoull(argv[2], NULL, 10), (unsigned)atoi(argv[3]));
	return 2;
}
