/* Work in stream order: one form for what is done at once, what is captured, and what the nodes of a graph do. */
#ifndef HAMI_MOCK_CUDA_WORK_H
#define HAMI_MOCK_CUDA_WORK_H

#include "cuda_stream.h"

/* The numbers are CUgraphNodeType's. */
enum work_type {
	WORK_KERNEL = 0,
	WORK_COPY = 1,
	WORK_FILL = 2,
	WORK_HOST = 3,
	WORK_GRAPH = 4,
	WORK_EMPTY = 5,
	WORK_EVENT_WAIT = 6,
	WORK_EVENT_RECORD = 7,
	WORK_ALLOCATION = 10,
	WORK_FREE = 11,
};

struct work {
	enum work_type type;
	union {
		CUDA_KERNEL_NODE_PARAMS_v2 kernel;
		CUDA_MEMCPY3D copy;
		CUDA_MEMSET_NODE_PARAMS_v2 fill;
		CUDA_HOST_NODE_PARAMS_v1 host;
		CUgraph graph;                  /* the node's own */
		CUevent event;
		CUDA_MEM_ALLOC_NODE_PARAMS_v1 allocation;
		CUdeviceptr address;
	};
};

/* Do work in a stream, or record it if the stream is being captured. */
CUresult work_submit(CUstream handle, enum stream_kind kind, const struct work *work);

/* Do it. */
CUresult work_run(CUstream stream, const struct work *work);

/* A copy as one piece of work: BYTES in a row. */
struct work work_copy(CUdeviceptr to, CUdeviceptr from, size_t bytes);

/* Copies and fills (cuda_copy.c). */
CUresult copy_run(const CUDA_MEMCPY3D *copy);
CUresult fill_run(const CUDA_MEMSET_NODE_PARAMS_v2 *fill);

/* A kernel's duration in simulated time, and whether it can be launched (cuda_function.c). */
uint64_t function_duration(CUfunction function);
CUresult launch_check(const CUDA_KERNEL_NODE_PARAMS_v2 *launch);

#endif
