/* libcuda: graphs: their nodes and edges, copies, and order. Nodes of each type are in cuda_graph_nodes.c, running ones in cuda_graph_exec.c. */
#include "cuda_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_graph_memory.h"

enum { GRAPH_MAGIC = 0x47726131, NODE_MAGIC = 0x4e6f6431 };

static CUgraph free_graphs;
static CUgraphNode free_nodes;
static unsigned int last_graph;

CUresult graph_check(CUgraph graph)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return graph && graph->magic == GRAPH_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult node_check(CUgraphNode node)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return node && node->magic == NODE_MAGIC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

bool nodes_add(struct nodes *nodes, CUgraphNode node)
{
	size_t room = nodes->room ? 2 * nodes->room : 4;
	CUgraphNode *more;

	if (nodes->count == nodes->room) {
		more = realloc(nodes->at, room * sizeof *more);
		if (!more)
			return false;
		nodes->at = more;
		nodes->room = room;
	}
	nodes->at[nodes->count++] = node;
	return true;
}

bool nodes_hold(const struct nodes *nodes, CUgraphNode node)
{
	for (size_t i = 0; i < nodes->count; i++)
		if (nodes->at[i] == node)
			return true;
	return false;
}

void nodes_take(struct nodes *nodes, CUgraphNode node)
{
	for (size_t i = 0; i < nodes->count; i++) {
		if (nodes->at[i] != node)
			continue;
		memmove(&nodes->at[i], &nodes->at[i + 1], (nodes->count - i - 1) * sizeof *nodes->at);
		nodes->count--;
		return;
	}
}

CUresult nodes_give(const struct nodes *nodes, CUgraphNode *out, size_t *count)
{
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; out && i < *count; i++)
		out[i] = i < nodes->count ? nodes->at[i] : NULL;
	if (!out || *count > nodes->count)
		*count = nodes->count;
	return CUDA_SUCCESS;
}

CUgraph graph_new(void)
{
	CUgraph graph;

	driver_lock();
	graph = free_graphs;
	if (graph)
		free_graphs = graph->next_free;
	else
		graph = calloc(1, sizeof *graph);
	if (graph)
		*graph = (struct CUgraph_st){.magic = GRAPH_MAGIC, .id = ++last_graph};
	driver_unlock();
	return graph;
}

static CUgraphNode new_node(void)
{
	CUgraphNode node;

	driver_lock();
	node = free_nodes;
	if (node)
		free_nodes = node->next_free;
	else
		node = calloc(1, sizeof *node);
	if (node)
		*node = (struct CUgraphNode_st){.magic = NODE_MAGIC};
	driver_unlock();
	return node;
}

/* What a node's work refers to. */
static bool hold(struct work *work)
{
	if (work->type == WORK_ALLOCATION)
		graph_memory_refer(work->allocation.dptr);
	if (work->type != WORK_GRAPH)
		return true;
	work->graph = graph_copy(work->graph);
	if (work->graph)
		work->graph->inner = true;
	return work->graph;
}

static void let_go(struct work *work)
{
	if (work->type == WORK_ALLOCATION)
		graph_memory_unrefer(work->allocation.dptr);
	if (work->type == WORK_GRAPH)
		graph_end(work->graph);
}

static void free_node(CUgraphNode node)
{
	free(node->before.at);
	free(node->after.at);
	driver_lock();
	node->magic = 0;
	node->next_free = free_nodes;
	free_nodes = node;
	driver_unlock();
}

void node_end(CUgraphNode node)
{
	for (size_t i = 0; i < node->before.count; i++)
		nodes_take(&node->before.at[i]->after, node);
	for (size_t i = 0; i < node->after.count; i++)
		nodes_take(&node->after.at[i]->before, node);
	nodes_take(&node->graph->nodes, node);
	let_go(&node->work);
	free_node(node);
}

void graph_end(CUgraph graph)
{
	while (graph->nodes.count)
		node_end(graph->nodes.at[graph->nodes.count - 1]);
	users_release_all(graph);
	free(graph->nodes.at);
	driver_lock();
	graph->magic = 0;
	graph->next_free = free_graphs;
	free_graphs = graph;
	driver_unlock();
}

CUresult graph_add_edge(CUgraphNode from, CUgraphNode to)
{
	if (from->graph != to->graph || from == to)
		return CUDA_ERROR_INVALID_VALUE;
	if (nodes_hold(&to->before, from))
		return CUDA_ERROR_INVALID_VALUE;
	if (!nodes_add(&from->after, to))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (nodes_add(&to->before, from))
		return CUDA_SUCCESS;
	nodes_take(&from->after, to);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult graph_add(CUgraph graph, const struct work *work, const CUgraphNode *before, size_t count, CUgraphNode *made)
{
	CUgraphNode node;
	CUresult failure = CUDA_SUCCESS;

	for (size_t i = 0; i < count; i++)
		if (!before || node_check(before[i]) || before[i]->graph != graph)
			return CUDA_ERROR_INVALID_VALUE;
	node = new_node();
	if (!node)
		return CUDA_ERROR_OUT_OF_MEMORY;
	node->graph = graph;
	node->id = ++graph->last_node;
	node->work = *work;
	if (!hold(&node->work) || !nodes_add(&graph->nodes, node)) {
		free_node(node);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	for (size_t i = 0; i < count && !failure; i++)
		failure = graph_add_edge(before[i], node);
	if (failure)
		node_end(node);
	else
		*made = node;
	return failure;
}

CUresult node_set(CUgraphNode node, const struct work *work)
{
	struct work fresh = *work;

	if (node->work.type != work->type)
		return CUDA_ERROR_INVALID_VALUE;
	if (!hold(&fresh))
		return CUDA_ERROR_OUT_OF_MEMORY;
	let_go(&node->work);
	node->work = fresh;
	return CUDA_SUCCESS;
}

CUgraphNode graph_find_copy(CUgraph graph, CUgraphNode node)
{
	for (size_t i = 0; i < graph->nodes.count; i++)
		if (graph->nodes.at[i]->origin == node)
			return graph->nodes.at[i];
	return NULL;
}

static size_t place_of(const struct nodes *nodes, CUgraphNode node)
{
	size_t at = 0;

	while (nodes->at[at] != node)
		at++;
	return at;
}

static bool copy_nodes(CUgraph to, CUgraph from)
{
	for (size_t i = 0; i < from->nodes.count; i++) {
		CUgraphNode original = from->nodes.at[i], copy;

		if (graph_add(to, &original->work, NULL, 0, &copy))
			return false;
		copy->origin = original;
		copy->disabled = original->disabled;
	}
	for (size_t i = 0; i < from->nodes.count; i++)
		for (size_t k = 0; k < from->nodes.at[i]->before.count; k++)
			if (graph_add_edge(to->nodes.at[place_of(&from->nodes, from->nodes.at[i]->before.at[k])], to->nodes.at[i]))
				return false;
	return users_copy(to, from);
}

CUgraph graph_copy(CUgraph graph)
{
	CUgraph copy = graph_new();

	if (!copy || copy_nodes(copy, graph))
		return copy;
	graph_end(copy);
	return NULL;
}

static bool is_ready(CUgraphNode node, const struct nodes *done)
{
	for (size_t i = 0; i < node->before.count; i++)
		if (!nodes_hold(done, node->before.at[i]))
			return false;
	return true;
}

/* Nodes are mostly made after what they wait for: one pass does, and edges that were added later take more. */
bool graph_order(CUgraph graph, struct nodes *order)
{
	size_t before;

	do {
		before = order->count;
		for (size_t i = 0; i < graph->nodes.count; i++) {
			CUgraphNode node = graph->nodes.at[i];

			if (!nodes_hold(order, node) && is_ready(node, order) && !nodes_add(order, node))
				return false;
		}
	} while (order->count > before);
	return order->count == graph->nodes.count;
}

CUresult graph_run(CUstream stream, CUgraph graph)
{
	struct nodes order = {0};
	CUresult failure = graph_order(graph, &order) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;

	for (size_t i = 0; i < order.count && !failure; i++)
		if (!order.at[i]->disabled)
			failure = work_run(stream, &order.at[i]->work);
	free(order.at);
	return failure;
}

CUresult cuGraphCreate(CUgraph *graph, unsigned int flags)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!graph || flags)
		return CUDA_ERROR_INVALID_VALUE;
	*graph = graph_new();
	return *graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphDestroy(CUgraph graph)
{
	CUresult failure = graph_check(graph);

	if (failure)
		return failure;
	if (graph->inner)
		return CUDA_ERROR_INVALID_VALUE;
	graph_end(graph);
	return CUDA_SUCCESS;
}

CUresult cuGraphClone(CUgraph *clone, CUgraph original)
{
	CUresult failure = graph_check(original);

	if (failure)
		return failure;
	if (!clone)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < original->nodes.count; i++)
		if (original->nodes.at[i]->work.type == WORK_ALLOCATION || original->nodes.at[i]->work.type == WORK_FREE)
			return CUDA_ERROR_NOT_SUPPORTED;        /* as documented: memory nodes cannot be cloned */
	*clone = graph_copy(original);
	return *clone ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphNodeFindInClone(CUgraphNode *copy, CUgraphNode original, CUgraph clone)
{
	CUresult failure = graph_check(clone);

	if (failure)
		return failure;
	if (!copy || !original)
		return CUDA_ERROR_INVALID_VALUE;
	*copy = graph_find_copy(clone, original);
	return *copy ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphDestroyNode(CUgraphNode node)
{
	CUresult failure = node_check(node);

	if (!failure)
		node_end(node);
	return failure;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
	CUresult failure = graph_check(graph);

	return failure ? failure : nodes_give(&graph->nodes, nodes, count);
}

CUresult cuGraphGetRootNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
	CUresult failure = graph_check(graph);
	struct nodes roots = {0};

	if (failure)
		return failure;
	for (size_t i = 0; i < graph->nodes.count && !failure; i++)
		if (!graph->nodes.at[i]->before.count && !nodes_add(&roots, graph->nodes.at[i]))
			failure = CUDA_ERROR_OUT_OF_MEMORY;
	if (!failure)
		failure = nodes_give(&roots, nodes, count);
	free(roots.at);
	return failure;
}

static void no_data(CUgraphEdgeData *data, size_t count)
{
	if (data)
		memset(data, 0, count * sizeof *data);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
	CUresult failure = node_check(node);

	return failure ? failure : nodes_give(&node->before, nodes, count);
}

CUresult cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *data, size_t *count)
{
	CUresult failure = cuGraphNodeGetDependencies(node, nodes, count);

	if (!failure)
		no_data(data, *count);
	return failure;
}

CUresult cuGraphNodeGetDependentNodes(CUgraphNode node, CUgraphNode *nodes, size_t *count)
{
	CUresult failure = node_check(node);

	return failure ? failure : nodes_give(&node->after, nodes, count);
}

CUresult cuGraphNodeGetDependentNodes_v2(CUgraphNode node, CUgraphNode *nodes, CUgraphEdgeData *data, size_t *count)
{
	CUresult failure = cuGraphNodeGetDependentNodes(node, nodes, count);

	if (!failure)
		no_data(data, *count);
	return failure;
}

CUresult cuGraphGetEdges(CUgraph graph, CUgraphNode *from, CUgraphNode *to, size_t *count)
{
	CUresult failure = graph_check(graph);
	struct nodes starts = {0}, ends = {0};

	if (failure)
		return failure;
	if (!count || !from != !to)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < graph->nodes.count; i++)
		for (size_t k = 0; k < graph->nodes.at[i]->after.count; k++)
			if (!nodes_add(&starts, graph->nodes.at[i]) || !nodes_add(&ends, graph->nodes.at[i]->after.at[k]))
				failure = CUDA_ERROR_OUT_OF_MEMORY;
	if (!failure) {
		size_t room = *count;

		nodes_give(&starts, from, &room);
		failure = nodes_give(&ends, to, count);
	}
	free(starts.at);
	free(ends.at);
	return failure;
}

CUresult cuGraphGetEdges_v2(CUgraph graph, CUgraphNode *from, CUgraphNode *to, CUgraphEdgeData *data, size_t *count)
{
	CUresult failure = cuGraphGetEdges(graph, from, to, count);

	if (!failure)
		no_data(data, *count);
	return failure;
}

static CUresult check_edges(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count)
{
	CUresult failure = graph_check(graph);

	if (failure)
		return failure;
	if (count && (!from || !to))
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count; i++)
		if (node_check(from[i]) || node_check(to[i]) || from[i]->graph != graph || to[i]->graph != graph)
			return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count)
{
	CUresult failure = check_edges(graph, from, to, count);

	for (size_t i = 0; i < count && !failure; i++)
		failure = graph_add_edge(from[i], to[i]);
	return failure;
}

CUresult cuGraphAddDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *data, size_t count)
{
	(void)data;
	return cuGraphAddDependencies(graph, from, to, count);
}

CUresult cuGraphRemoveDependencies(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, size_t count)
{
	CUresult failure = check_edges(graph, from, to, count);

	for (size_t i = 0; i < count && !failure; i++)
		if (!nodes_hold(&to[i]->before, from[i]))
			failure = CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; i < count && !failure; i++) {
		nodes_take(&to[i]->before, from[i]);
		nodes_take(&from[i]->after, to[i]);
	}
	return failure;
}

CUresult cuGraphRemoveDependencies_v2(CUgraph graph, const CUgraphNode *from, const CUgraphNode *to, const CUgraphEdgeData *data, size_t count)
{
	(void)data;
	return cuGraphRemoveDependencies(graph, from, to, count);
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
	CUresult failure = node_check(node);

	if (failure)
		return failure;
	if (!type)
		return CUDA_ERROR_INVALID_VALUE;
	*type = node->work.type;
	return CUDA_SUCCESS;
}

CUresult cuGraphGetId(CUgraph graph, unsigned int *id)
{
	CUresult failure = graph_check(graph);

	if (failure)
		return failure;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = graph->id;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetLocalId(CUgraphNode node, unsigned int *id)
{
	CUresult failure = node_check(node);

	if (failure)
		return failure;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = node->id;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetToolsId(CUgraphNode node, unsigned long long *id)
{
	CUresult failure = node_check(node);

	if (failure)
		return failure;
	if (!id)
		return CUDA_ERROR_INVALID_VALUE;
	*id = (unsigned long long)node->graph->id << 32 | node->id;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetContainingGraph(CUgraphNode node, CUgraph *graph)
{
	CUresult failure = node_check(node);

	if (failure)
		return failure;
	if (!graph)
		return CUDA_ERROR_INVALID_VALUE;
	*graph = node->graph;
	return CUDA_SUCCESS;
}

/* In the language of Graphviz: nodes by number and type, and their edges. */
CUresult cuGraphDebugDotPrint(CUgraph graph, const char *path, unsigned int flags)
{
	static const char *const types[] = {"kernel", "memcpy", "memset", "host", "graph", "empty", "wait event", "event record",
	                                    "", "", "mem alloc", "mem free"};
	CUresult failure = graph_check(graph);
	FILE *file;

	(void)flags;
	if (failure)
		return failure;
	file = path ? fopen(path, "we") : NULL;
	if (!file)
		return path ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_ERROR_INVALID_VALUE;
	fprintf(file, "digraph graph_%u {\n", graph->id);
	for (size_t i = 0; i < graph->nodes.count; i++) {
		CUgraphNode node = graph->nodes.at[i];

		fprintf(file, "\tn%u [label=\"%u: %s\"];\n", node->id, node->id, types[node->work.type]);
		for (size_t k = 0; k < node->after.count; k++)
			fprintf(file, "\tn%u -> n%u;\n", node->id, node->after.at[k]->id);
	}
	fprintf(file, "}\n");
	return fclose(file) ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}
