/* libnvidia-ml: where a GPU sits in its host: processors and memory near it. Node n has the processors 16 n to 16 n + 15. */
#include "nvml_driver.h"

#include <string.h>

enum { WORD = 8 * sizeof(unsigned long) };

/* The NUMA node, if it is known; SET is empty then. */
static nvmlReturn_t begin(nvmlDevice_t device, unsigned int size, unsigned long *set, unsigned int *node)
{
	nvmlReturn_t failure;
	const struct mock_chip *chip = nvml_chip(device, &failure);

	if (!chip)
		return failure;
	if (!size || !set)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (chip->numa < 0)
		return NVML_ERROR_NOT_SUPPORTED;
	memset(set, 0, size * sizeof *set);
	*node = (unsigned int)chip->numa;
	return NVML_SUCCESS;
}

static void add(unsigned long *set, unsigned int size, unsigned int bit)
{
	if (bit / WORD < size)
		set[bit / WORD] |= 1UL << bit % WORD;
}

nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int size, unsigned long *set)
{
	unsigned int node;
	nvmlReturn_t failure = begin(device, size, set, &node);

	for (unsigned int cpu = 0; !failure && cpu < NVML_NODE_CPUS; cpu++)
		add(set, size, node * NVML_NODE_CPUS + cpu);
	return failure;
}

/* A node is a socket here: scopes do not differ. */
nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned int size, unsigned long *set, nvmlAffinityScope_t scope)
{
	(void)scope;
	return nvmlDeviceGetCpuAffinity(device, size, set);
}

nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int size, unsigned long *set, nvmlAffinityScope_t scope)
{
	unsigned int node;
	nvmlReturn_t failure = begin(device, size, set, &node);

	(void)scope;
	if (!failure)
		add(set, size, node);
	return failure;
}
