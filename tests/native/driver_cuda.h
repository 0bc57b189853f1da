/* What the two files of the small driver share: driver_cuda.c has devices, contexts and linear memory, driver_reserves.c the rest. */
#ifndef DRIVER_CUDA_H
#define DRIVER_CUDA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICES 4
#define PHYSICAL (UINT64_C(16) << 30)
#define EXPORT __attribute__((visibility("default")))

typedef unsigned long long CUdeviceptr;
struct context { int device, primary; };

extern _Atomic int initialised;
extern _Thread_local struct context *current;

/* The code that an allocation on DEVICE (-1: there is none) answers before it has looked at its arguments, or 0. */
int may_allocate(int device);

/* Take memory of a device, or code 2; give it back. */
int take(int device, uint64_t bytes);
void count(int device, uint64_t bytes);
void uncount(int device, uint64_t bytes);

/* The free of a pool's or a graph's allocation. False: it is none. */
bool free_reserved(CUdeviceptr pointer);

/* What a synchronisation does: pools give back what they hold above their threshold. */
void release_unused(void);

/* Functions of driver_reserves.c that cuGetProcAddress knows. */
int cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, void *stream);
int cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *stream);
int cuMemFreeAsync(CUdeviceptr pointer, void *stream);
int cuMemFreeAsync_ptsz(CUdeviceptr pointer, void *stream);

/* The end of all arrays of a context. */
void free_arrays(const struct context *context);

#endif
