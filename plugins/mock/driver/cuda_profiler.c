/* libcuda: start and stop of a profiler that is not there, which is no mistake. */
#include "cuda_driver.h"

static CUresult nothing(void)
{
	CUcontext context;

	return current_context(&context);
}

CUresult cuProfilerStart(void)
{
	return nothing();
}

CUresult cuProfilerStop(void)
{
	return nothing();
}

CUresult cuProfilerInitialize(const char *settings, const char *output, CUoutput_mode mode)
{
	(void)settings;
	(void)output;
	(void)mode;
	return nothing();
}
