/* Executable graphs, as the other files of libcuda see them. */
#ifndef HAMI_MOCK_CUDA_GRAPH_EXEC_H
#define HAMI_MOCK_CUDA_GRAPH_EXEC_H

#include "cuda_graph.h"

/* The executable's own copy of a node of the graph that it was made of. */
CUresult exec_node(CUgraphExec exec, CUgraphNode node, CUgraphNode *own);

#endif
