/* libcuda: executable graphs: made, changed, launched, destroyed. The branches of a graph run one after another, in one of the orders allowed. */
#include "cuda_graph_exec.h"

#include <stdlib.h>

#include "cuda_graph_memory.h"

enum { EXEC_MAGIC = 0x45786531, AUTO_FREE = 1, UPLOAD = 2, FLAGS = 15 };
enum { UPDATED = 0, TOPOLOGY_CHANGED = 2, TYPE_CHANGED = 3 };

/* Records are never freed, so a stale handle is recognised. */
struct CUgraphExec_st {
	uint32_t magic;
	unsigned int id;
	uint64_t flags;
	CUgraph graph;
};

static _Atomic unsigned int last_id;

static CUresult check(CUgraphExec exec)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return exec && exec->magic == EXEC_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult exec_node(CUgraphExec exec, CUgraphNode node, CUgraphNode *own)
{
	CUresult failure = check(exec);

	if (failure)
		return failure;
	*own = node ? graph_find_copy(exec->graph, node) : NULL;
	return *own ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult check_order(CUgraph graph)
{
	struct nodes order = {0};
	bool possible = graph_order(graph, &order);

	free(order.at);
	return possible ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, uint64_t flags)
{
	CUcontext context;
	CUresult failure = graph_check(graph);

	if (!failure)
		failure = current_context(&context);
	if (failure)
		return failure;
	if (!exec || flags & ~(uint64_t)FLAGS)
		return CUDA_ERROR_INVALID_VALUE;
	failure = check_order(graph);
	if (failure)
		return failure;
	*exec = malloc(sizeof **exec);
	if (!*exec)
		return CUDA_ERROR_OUT_OF_MEMORY;
	**exec = (struct CUgraphExec_st){EXEC_MAGIC, ++last_id, flags, graph_copy(graph)};
	if ((*exec)->graph)
		return CUDA_SUCCESS;
	free(*exec);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
	return instantiate(exec, graph, flags);
}

/* Of the older forms the last three say what went wrong where: nothing does. */
CUresult cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *wrong, char *log, size_t size)
{
	if (wrong)
		*wrong = NULL;
	if (log && size)
		*log = '\0';
	return instantiate(exec, graph, 0);
}

CUresult cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *wrong, char *log, size_t size)
{
	return cuGraphInstantiate_v2(exec, graph, wrong, log, size);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *given)
{
	CUresult failure;

	if (!given)
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE;
	failure = instantiate(exec, graph, given->flags);
	given->hErrNode_out = NULL;
	given->result_out = failure ? 1 : 0;
	return failure;
}

CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *given)
{
	return cuGraphInstantiateWithParams(exec, graph, given);
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
	CUresult failure = check(exec);

	if (failure)
		return failure;
	exec->magic = 0;
	graph_end(exec->graph);
	return CUDA_SUCCESS;
}

CUresult cuGraphExecGetFlags(CUgraphExec exec, cuuint64_t *flags)
{
	CUresult failure = check(exec);

	if (failure)
		return failure;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	*flags = exec->flags;
	return CUDA_SUCCESS;
}

CUresult cuGraphExecGetId(CUgraphExec exec, unsigned int *id)
{
	CUresult failure = check(exec);

	if (failure)
		return failure;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = exec->id;
	return CUDA_SUCCESS;
}

/* The same nodes in the same order with the same edges; what they do may differ. */
static int compare(CUgraph have, CUgraph want, CUgraphNode *where)
{
	if (have->nodes.count != want->nodes.count)
		return TOPOLOGY_CHANGED;
	for (size_t i = 0; i < want->nodes.count; i++) {
		*where = want->nodes.at[i];
		if (have->nodes.at[i]->work.type != want->nodes.at[i]->work.type)
			return TYPE_CHANGED;
		if (have->nodes.at[i]->before.count != want->nodes.at[i]->before.count)
			return TOPOLOGY_CHANGED;
	}
	*where = NULL;
	return UPDATED;
}

/* The copies now stand for the nodes of the new graph. */
static CUresult take_over(CUgraph have, CUgraph want)
{
	CUresult failure = CUDA_SUCCESS;

	for (size_t i = 0; i < want->nodes.count && !failure; i++) {
		failure = node_set(have->nodes.at[i], &want->nodes.at[i]->work);
		have->nodes.at[i]->origin = want->nodes.at[i];
	}
	return failure;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
	CUresult failure = check(exec);
	CUgraphNode where = NULL;
	int result;

	if (!failure)
		failure = graph_check(graph);
	if (failure)
		return failure;
	if (!info)
		return CUDA_ERROR_INVALID_VALUE;
	result = compare(exec->graph, graph, &where);
	*info = (CUgraphExecUpdateResultInfo){.result = result, .errorNode = where};
	return result ? CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE : take_over(exec->graph, graph);
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *wrong, CUgraphExecUpdateResult *result)
{
	CUgraphExecUpdateResultInfo info = {0};
	CUresult failure = result ? cuGraphExecUpdate_v2(exec, graph, &info) : CUDA_ERROR_INVALID_VALUE;

	if (wrong)
		*wrong = info.errorNode;
	if (result)
		*result = info.result;
	return failure;
}

/* What an earlier launch left allocated goes first, if the graph was made so. */
static void free_leftovers(CUgraph graph)
{
	for (size_t i = 0; i < graph->nodes.count; i++) {
		CUgraphNode node = graph->nodes.at[i];

		if (node->work.type == WORK_ALLOCATION && graph_memory_is_there(node->work.allocation.dptr))
			graph_memory_end(node->work.allocation.dptr);
	}
}

static CUresult launch(CUgraphExec exec, CUstream handle, enum stream_kind kind)
{
	CUstream stream;
	struct work work = {.type = WORK_GRAPH};
	CUresult failure = check(exec);

	if (!failure)
		failure = stream_find(handle, kind, &stream);
	if (failure)
		return failure;
	if (exec->flags & AUTO_FREE)
		free_leftovers(exec->graph);
	work.graph = exec->graph;
	return work_submit(handle, kind, &work);
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
	return launch(exec, stream, LEGACY_STREAM);
}

CUresult cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream)
{
	return launch(exec, stream, THREAD_STREAM);
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream handle)
{
	CUstream stream;
	CUresult failure = check(exec);

	return failure ? failure : stream_find(handle, LEGACY_STREAM, &stream);
}

CUresult cuGraphUpload_ptsz(CUgraphExec exec, CUstream stream)
{
	return cuGraphUpload(exec, stream);
}
