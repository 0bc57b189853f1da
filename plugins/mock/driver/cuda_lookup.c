/* libcuda: functions by name and version, for programs that look up everything here instead of by the dynamic linker. */
#include "cuda_driver.h"

#include <string.h>

enum stream { LEGACY, PER_THREAD };

enum { FOUND = 0, NOT_FOUND = 1, TOO_OLD = 2 };         /* CUdriverProcAddressQueryResult */
enum { FLAG_PER_THREAD = 2, FLAGS_KNOWN = 3 };

struct symbol {
	const char *base;
	const char *name;
	void *function;
	int version;
	enum stream stream;
};

/* Programs get what the dynamic linker would give them: the entries, not the functions behind them (entry.h). */
#define SYMBOL(base, name, version, stream) extern const char entry_##name[] __asm__(#name);
#include "symbols.def"
#undef SYMBOL

static const struct symbol symbols[] = {
#define SYMBOL(base, name, version, stream) {#base, #name, (void *)entry_##name, version, stream},
#include "symbols.def"
#undef SYMBOL
};

enum { SYMBOLS = sizeof symbols / sizeof symbols[0] };

/* The newest entry of BASE that is not newer than VERSION; *known tells whether there is any of another age. */
static void *newest(const char *base, int version, enum stream stream, bool *known)
{
	void *found = NULL;

	for (int i = 0; i < SYMBOLS; i++) {
		const struct symbol *symbol = &symbols[i];

		if (strcmp(symbol->base, base) != 0)
			continue;
		if (entry_is_missing(driver.state, symbol->name))
			continue;
		*known = true;
		if (symbol->stream == stream && symbol->version <= version)
			found = symbol->function;       /* they are sorted by version */
	}
	return found;
}

static void *find(const char *base, int version, cuuint64_t flags, bool *known)
{
	void *found = flags & FLAG_PER_THREAD ? newest(base, version, PER_THREAD, known) : NULL;

	return found ? found : newest(base, version, LEGACY, known);
}

/* Works before cuInit. What is not found is no error: NULL, and why in the status. */
CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult *status)
{
	bool known = false;

	if (!symbol || !function || flags & ~(cuuint64_t)FLAGS_KNOWN)
		return CUDA_ERROR_INVALID_VALUE;
	if (driver_open())
		return CUDA_ERROR_SYSTEM_NOT_READY;
	if (version > (int)driver.state->facts.cuda_version)
		return CUDA_ERROR_INVALID_VALUE;
	*function = find(symbol, version, flags, &known);
	if (status)
		*status = *function ? FOUND : known ? TOO_OLD : NOT_FOUND;
	return CUDA_SUCCESS;
}

/* The first ABI has no place for a status, and made an unknown name an error. */
CUresult cuGetProcAddress(const char *symbol, void **function, int version, cuuint64_t flags)
{
	CUresult failure = cuGetProcAddress_v2(symbol, function, version, flags, NULL);

	if (!failure && !*function)
		return CUDA_ERROR_NOT_FOUND;
	return failure;
}
