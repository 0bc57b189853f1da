/* Memory that nodes of graphs allocate: its address is there with the node, the memory only between its allocation and its free. */
#ifndef HAMI_MOCK_CUDA_GRAPH_MEMORY_H
#define HAMI_MOCK_CUDA_GRAPH_MEMORY_H

#include "cuda_memory.h"
#include "cuda_stream.h"

/* An address for a node, of one reference; more; and one less. */
CUresult graph_memory_reserve(CUdevice device, uint64_t bytes, CUdeviceptr *address);
void graph_memory_refer(CUdeviceptr address);
void graph_memory_unrefer(CUdeviceptr address);

/* The work of the two kinds of node. Memory that is there cannot be allocated again, and what is not there cannot be freed. */
CUresult graph_memory_begin(CUdeviceptr address);
CUresult graph_memory_end(CUdeviceptr address);
bool graph_memory_is_there(CUdeviceptr address);

/* Locked. As graph_memory_end(), for cuMemFree and its kin. */
bool graph_memory_free(struct block *block);

/* What cuMemAllocAsync and cuMemFreeAsync are in a stream that is being captured. */
CUresult graph_capture_allocation(CUstream stream, enum stream_kind kind, uint64_t bytes, CUmemoryPool pool, CUdeviceptr *address);
CUresult graph_capture_free(CUstream stream, enum stream_kind kind, CUdeviceptr address);

#endif
