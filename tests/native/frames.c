/* Look-ups of kinds that ctypes cannot make: by version, in the global scope, through a chain of preloaded libraries. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *truth(int value)
{
	return value ? "true" : "false";
}

/* A version can be asked only of a library that has versions, which libcuda may have; here the C library stands for it. */
static void by_version(void)
{
	void *driver = dlopen("libcuda.so.1", RTLD_NOW), *c = dlopen("libc.so.6", RTLD_NOW);
	void *plain = dlsym(driver, "cuMemAlloc_v2"), *versioned = dlvsym(driver, "cuMemAlloc_v2", "ANY");

	printf("[%s, %s]\n", truth(!versioned || versioned == plain), truth(dlvsym(c, "getpid", "GLIBC_2.2.5") != NULL));
}

static void by_default_scope(void)
{
	printf("[%s, %s]\n", truth(dlsym(RTLD_DEFAULT, "cuMemAlloc_v2") != NULL), truth(dlsym(RTLD_DEFAULT, "getpid") != NULL));
}

/* chain.c's libraries each put their number before what the next one says. */
static void chain(void)
{
	int (*link)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, "cu_chain_link");
	int said = link ? link(0) : -1;

	printf("[%d, %s]\n", said, truth(getppid() > 0));
}

/* Bound by the loader to whoever exports the name; without a driver that can only be the interposer. */
__attribute__((weak)) int cuInit(unsigned int flags);
__attribute__((weak)) int nvmlDeviceGetCount_v2(unsigned int *count);

static void without_driver(void)
{
	unsigned int count;

	printf("[%d, %d]\n", cuInit ? cuInit(0) : -1, nvmlDeviceGetCount_v2 ? nvmlDeviceGetCount_v2(&count) : -1);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "dlvsym") == 0)
		by_version();
	if (argc == 2 && strcmp(argv[1], "default") == 0)
		by_default_scope();
	if (argc == 2 && strcmp(argv[1], "chain") == 0)
		chain();
	if (argc == 2 && strcmp(argv[1], "weak") == 0)
		without_driver();
	return 0;
}
