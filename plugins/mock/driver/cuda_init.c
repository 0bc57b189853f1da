/* libcuda: start, driver version, errors. */
#include "cuda_shared.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

struct driver driver = {.machine.file = -1};

/* A forked child opens the file anew: locks on the parent's would be the parent's. */
int driver_open(void)
{
	struct machine *machine = &driver.machine;
	int failure = 0;

	driver_lock();
	if (machine->file < 0 || machine->pid != getpid()) {
		if (machine->file >= 0)
			machine_close(machine);
		failure = machine_open_own(machine);
		driver.state = failure ? NULL : machine->state;
	}
	driver_unlock();
	return failure;
}

/* A child of fork has the parent's records but is another process: the driver refuses it everything, cuInit too, as a real one does. */
static bool forked;

static void after_fork(void)
{
	if (driver.ready) {
		forked = true;
		shared_forget_all();
	}
	driver.ready = false;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, after_fork);
}

CUresult cuInit(unsigned int flags)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int failure;

	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (forked)
		return CUDA_ERROR_NOT_INITIALIZED;
	failure = driver_open();
	if (failure)
		return failure == ENOENT ? CUDA_ERROR_NO_DEVICE : CUDA_ERROR_SYSTEM_NOT_READY;
	if (!driver.ready)
		driver_see_devices();
	if (!driver.devices || fault_driver_is_away(driver.state))
		return CUDA_ERROR_NO_DEVICE;
	pthread_once(&once, watch_forks);
	driver.ready = true;
	return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version)
{
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	if (driver_open())
		return CUDA_ERROR_SYSTEM_NOT_READY;
	*version = (int)driver.state->facts.cuda_version;
	return CUDA_SUCCESS;
}

CUresult driver_device(CUdevice device)
{
	if (!driver.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	return is_device(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

bool driver_join(void)
{
	if (!driver.row) {
		struct identity self = process_self();

		driver.row = account_join(driver.state, driver.machine.file, &self);
	}
	return driver.row;
}

bool driver_charge(CUdevice device, const struct change *change)
{
	if (!driver_join())
		return false;
	if (account_change(driver.state, driver.row, index_of(device), change))
		return true;
	account_drop_dead(driver.state, driver.machine.file, driver.row);
	return account_change(driver.state, driver.row, index_of(device), change);
}

struct error {
	CUresult code;
	const char *name;
	const char *text;
};

static const struct error errors[] = {
#define ERROR(code, name, text) {code, #name, text},
#include "cuda_errors.def"
#undef ERROR
};

static const struct error *find_error(CUresult code)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].code == code)
			return &errors[i];
	return NULL;
}

CUresult cuGetErrorName(CUresult error, const char **name)
{
	const struct error *found = find_error(error);

	if (!name)
		return CUDA_ERROR_INVALID_VALUE;
	*name = found ? found->name : NULL;
	return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
	const struct error *found = find_error(error);

	if (!text)
		return CUDA_ERROR_INVALID_VALUE;
	*text = found ? found->text : NULL;
	return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Private tables stay unanswered: nothing undocumented is imitated. */
CUresult cuGetExportTable(const void **table, const CUuuid *id)
{
	if (!table || !id)
		return CUDA_ERROR_INVALID_VALUE;
	*table = NULL;
	return CUDA_ERROR_NOT_FOUND;
}
