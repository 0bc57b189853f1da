/* What the three files about contexts share. */
#ifndef HAMI_MOCK_CUDA_CONTEXT_H
#define HAMI_MOCK_CUDA_CONTEXT_H

#include "cuda_driver.h"

enum { CONTEXT_MAGIC = 0x43747831 };

/* The calling thread's stack: put on top, take off the top (there must be one), look at the top (NULL: empty). */
CUresult context_push(CUcontext context);
void context_pop(void);
CUcontext context_top(void);

/* Locked. Take the overhead of a context on its device; give it back with whatever was allocated in the context. */
CUresult context_begin(CUcontext context, CUdevice device);
void context_end(CUcontext context);

#endif
