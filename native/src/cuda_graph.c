/*
 * Memory of graphs. A node that allocates takes nothing when it is added or captured; the driver backs it when the graph is
 * instantiated, uploaded or launched, from a reserve that all graphs of a process share on a device, and keeps that until it is
 * trimmed. So each of these three calls, for a graph that has such nodes, may make that reserve grow by what its nodes of one
 * device come to together, each in granules of 2 MiB: more is never taken, since a graph does not run beside itself. The rule of
 * cuda_reserve.h holds: where that does not fit, and the reserve has not as much unused, the call answers
 * CUDA_ERROR_OUT_OF_MEMORY and the driver is not asked. Only the graph that was launched last needs nothing to be launched again:
 * what it had is still there, in use or not. Whatever ends the allocations (a node, another graph, a free by the
 * program, the next launch with CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH), the reserve stays what is charged.
 */
#include <sys/mman.h>

#include "charge.h"
#include "cuda_device.h"
#include "cuda_reserve.h"
#include "driver.h"
#include "guest.h"
#include "wrappers.h"

#define GRANULE (UINT64_C(2) << 20)	/* what the driver maps at a time */
#define DEEPEST 16u			/* child graphs in child graphs that are looked into */

/* Bytes that a graph's nodes allocate, by index in the grant. */
struct needs {
	uint64_t bytes[VGPU_MAX_DEVICES];
};

static void saturating_add(uint64_t *sum, uint64_t bytes)
{
	if (bytes > UINT64_MAX - GRANULE || __builtin_add_overflow(*sum, (bytes + GRANULE - 1) / GRANULE * GRANULE, sum))
		*sum = UINT64_MAX;
}

static void add_node(CUgraphNode node, struct needs *needs)
{
	CUDA_MEM_ALLOC_NODE_PARAMS params;
	int index = -1;

	if (vgpu_cuda.cuGraphMemAllocNodeGetParams && vgpu_cuda.cuGraphMemAllocNodeGetParams(node, &params) == CUDA_SUCCESS &&
	    vgpu_cuda_location(&params.poolProps.location, &index) == CUDA_SUCCESS && index >= 0)
		saturating_add(&needs->bytes[index], params.bytesize);
}

static bool add_graph(CUgraph graph, unsigned depth, struct needs *needs);

static bool add_any(CUgraphNode node, unsigned depth, struct needs *needs)
{
	CUgraphNodeType type;
	CUgraph child;

	if (vgpu_cuda.cuGraphNodeGetType(node, &type) != CUDA_SUCCESS)
		return true;
	if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
		add_node(node, needs);
	if (type != CU_GRAPH_NODE_TYPE_GRAPH || !vgpu_cuda.cuGraphChildGraphNodeGetGraph ||
	    vgpu_cuda.cuGraphChildGraphNodeGetGraph(node, &child) != CUDA_SUCCESS)
		return true;
	return depth < DEEPEST && add_graph(child, depth + 1, needs);
}

/* False: there is no memory to look at it, or it is too deep. A graph that the driver does not know is the driver's affair. */
static bool add_graph(CUgraph graph, unsigned depth, struct needs *needs)
{
	size_t count = 0, bytes;
	CUgraphNode *nodes;
	bool whole = true;

	if (vgpu_cuda.cuGraphGetNodes(graph, NULL, &count) != CUDA_SUCCESS || !count)
		return true;
	bytes = count * sizeof(*nodes);
	nodes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (nodes == MAP_FAILED)
		return false;
	if (vgpu_cuda.cuGraphGetNodes(graph, nodes, &count) == CUDA_SUCCESS)
		for (size_t i = 0; i < count && whole; i++)
			whole = add_any(nodes[i], depth, needs);
	munmap(nodes, bytes);
	return whole;
}

static CUresult needs_of(CUgraph graph, struct needs *needs)
{
	struct vgpu_guest guest = vgpu_guest_enter();
	bool whole;

	*needs = (struct needs){ 0 };
	whole = !vgpu_cuda.cuGraphGetNodes || !vgpu_cuda.cuGraphNodeGetType || add_graph(graph, 0, needs);
	vgpu_guest_leave(guest);
	return whole ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static bool allocates(const struct needs *needs)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (needs->bytes[i])
			return true;
	return false;
}

/* What executable graphs need is recorded by their handle, a host address, and device. */
static bool remember(CUgraphExec exec, const struct needs *needs)
{
	bool all = true;

	for (unsigned i = 0; i < VGPU_MAX_DEVICES && all; i++)
		if (needs->bytes[i])
			all = vgpu_record((uintptr_t)exec + i, (struct vgpu_pointer){ needs->bytes[i] >> 9, i, VGPU_POINTER_GRAPH });
	atomic_store_explicit(&vgpu_process()->graphs_allocate, 1, memory_order_release);
	return all;
}

static void forget(CUgraphExec exec)
{
	struct vgpu_pointer record;

	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (vgpu_pointers_find(&vgpu_charged_pointers, (uintptr_t)exec + i, &record) && record.kind == VGPU_POINTER_GRAPH)
			(void)vgpu_forget((uintptr_t)exec + i, &record);
}

static struct needs recall(CUgraphExec exec)
{
	struct needs needs = { 0 };
	struct vgpu_pointer record;

	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (vgpu_pointers_find(&vgpu_charged_pointers, (uintptr_t)exec + i, &record) && record.kind == VGPU_POINTER_GRAPH)
			needs.bytes[i] = record.bytes << 9;
	return needs;
}

struct hands {
	uint64_t bytes[VGPU_MAX_DEVICES];
};

/* With the lock. What has grown cannot be taken back here, a launch being under way: it is charged as soon as there is room. */
static void after(const struct needs *needs, const struct hands *hands)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++)
		if (needs->bytes[i])
			(void)vgpu_reserve_after(vgpu_reserve_of_graphs(i), hands->bytes[i]);
}

/*
 * With the lock. A graph that was launched last, and is now launched again, has what it needs already, and the driver holds it
 * back until its former launch is done: that may still use its memory, or leave it to be freed by this launch.
 */
static bool is_backed(const struct vgpu_reserve *reserve, CUgraphExec exec)
{
	return exec && reserve && reserve->last == (uintptr_t)exec;
}

/* With the lock: EXEC (0: none) is what runs last on the devices that it allocates on. */
static void note_launched(const struct needs *needs, CUgraphExec exec)
{
	for (unsigned i = 0; i < VGPU_MAX_DEVICES; i++) {
		struct vgpu_reserve *reserve = needs->bytes[i] ? vgpu_reserve_of_graphs(i) : NULL;

		if (reserve)
			reserve->last = (uintptr_t)exec;
	}
}

/* With the lock. */
static CUresult before(const struct needs *needs, CUgraphExec exec, struct hands *hands)
{
	CUresult result = CUDA_SUCCESS;
	struct needs charged = { 0 };

	*hands = (struct hands){ 0 };
	for (unsigned i = 0; i < VGPU_MAX_DEVICES && result == CUDA_SUCCESS; i++) {
		struct vgpu_reserve *reserve = needs->bytes[i] ? vgpu_reserve_of_graphs(i) : NULL;

		if (!needs->bytes[i] || is_backed(reserve, exec))
			continue;
		result = reserve ? vgpu_reserve_before(reserve, needs->bytes[i], &hands->bytes[i]) : CUDA_ERROR_OUT_OF_MEMORY;
		if (result == CUDA_SUCCESS)
			charged.bytes[i] = needs->bytes[i];
	}
	if (result != CUDA_SUCCESS)
		after(&charged, hands);
	return result;
}

/* One of the calls that may back a graph's memory: a function of the driver, with what it is called with. */
struct act {
	CUresult (*call)(const struct act *act);
	CUgraphExec *made, exec, launched;	/* launched: EXEC, of a launch */
	CUgraph graph;
	CUstream stream;
	CUgraphNode *error;
	char *log;
	size_t length;
	unsigned long long flags;
	CUDA_GRAPH_INSTANTIATE_PARAMS *params;
};

static CUresult run(const struct act *act, const struct needs *needs)
{
	struct hands hands;
	CUresult result;

	vgpu_reserves_enter();
	result = before(needs, act->launched, &hands);
	if (result == CUDA_SUCCESS) {
		result = act->call(act);
		note_launched(needs, result == CUDA_SUCCESS ? act->launched : NULL);
		after(needs, &hands);
	}
	vgpu_reserves_leave();
	return result;
}

static CUresult instantiate(const struct act *act)
{
	struct needs needs;
	CUresult result = vgpu_cuda_devices();

	if (result == CUDA_SUCCESS)
		result = needs_of(act->graph, &needs);
	if (result != CUDA_SUCCESS)
		return result;
	if (!allocates(&needs))
		return act->call(act);
	result = run(act, &needs);
	if (result != CUDA_SUCCESS || remember(*act->made, &needs))
		return result;
	forget(*act->made);
	if (vgpu_cuda.cuGraphExecDestroy)
		vgpu_cuda.cuGraphExecDestroy(*act->made);
	return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Upload and launch. Of a process whose graphs do not allocate, one load. */
static CUresult execute(const struct act *act)
{
	struct needs needs;

	if (__builtin_expect(!atomic_load_explicit(&vgpu_process()->graphs_allocate, memory_order_acquire), 1))
		return act->call(act);
	needs = recall(act->exec);
	return allocates(&needs) ? run(act, &needs) : act->call(act);
}

static CUresult call_instantiate(const struct act *act)
{
	return vgpu_cuda.cuGraphInstantiate(act->made, act->graph, act->error, act->log, act->length);
}

static CUresult call_instantiate_v2(const struct act *act)
{
	return vgpu_cuda.cuGraphInstantiate_v2(act->made, act->graph, act->error, act->log, act->length);
}

static CUresult call_with_flags(const struct act *act)
{
	return vgpu_cuda.cuGraphInstantiateWithFlags(act->made, act->graph, act->flags);
}

static CUresult call_with_params(const struct act *act)
{
	return vgpu_cuda.cuGraphInstantiateWithParams(act->made, act->graph, act->params);
}

static CUresult call_with_params_ptsz(const struct act *act)
{
	return vgpu_cuda.cuGraphInstantiateWithParams_ptsz(act->made, act->graph, act->params);
}

static CUresult call_upload(const struct act *act)
{
	return vgpu_cuda.cuGraphUpload(act->exec, act->stream);
}

static CUresult call_upload_ptsz(const struct act *act)
{
	return vgpu_cuda.cuGraphUpload_ptsz(act->exec, act->stream);
}

static CUresult call_launch(const struct act *act)
{
	return vgpu_cuda.cuGraphLaunch(act->exec, act->stream);
}

static CUresult call_launch_ptsz(const struct act *act)
{
	return vgpu_cuda.cuGraphLaunch_ptsz(act->exec, act->stream);
}

CUresult vgpu_cuGraphInstantiate(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t length)
{
	return instantiate(&(struct act){ call_instantiate, exec, .graph = graph, .error = error, .log = log, .length = length });
}

CUresult vgpu_cuGraphInstantiate_v2(CUgraphExec *exec, CUgraph graph, CUgraphNode *error, char *log, size_t length)
{
	return instantiate(&(struct act){ call_instantiate_v2, exec, .graph = graph, .error = error, .log = log, .length = length });
}

CUresult vgpu_cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
	return instantiate(&(struct act){ call_with_flags, exec, .graph = graph, .flags = flags });
}

CUresult vgpu_cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
	return instantiate(&(struct act){ call_with_params, exec, .graph = graph, .params = params });
}

CUresult vgpu_cuGraphInstantiateWithParams_ptsz(CUgraphExec *exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params)
{
	return instantiate(&(struct act){ call_with_params_ptsz, exec, .graph = graph, .params = params });
}

CUresult vgpu_cuGraphUpload(CUgraphExec exec, CUstream stream)
{
	return execute(&(struct act){ call_upload, .exec = exec, .stream = stream });
}

CUresult vgpu_cuGraphUpload_ptsz(CUgraphExec exec, CUstream stream)
{
	return execute(&(struct act){ call_upload_ptsz, .exec = exec, .stream = stream });
}

CUresult vgpu_cuGraphLaunch(CUgraphExec exec, CUstream stream)
{
	return execute(&(struct act){ call_launch, .exec = exec, .launched = exec, .stream = stream });
}

CUresult vgpu_cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream)
{
	return execute(&(struct act){ call_launch_ptsz, .exec = exec, .launched = exec, .stream = stream });
}

/* After a call that may let graphs' memory go. */
static CUresult settle(CUresult result)
{
	vgpu_reserves_note_free();
	vgpu_reserves_settle();
	return result;
}

CUresult vgpu_cuGraphExecDestroy(CUgraphExec exec)
{
	struct needs needs = recall(exec);
	CUresult result;

	if (!allocates(&needs))
		return vgpu_cuda.cuGraphExecDestroy(exec);
	forget(exec);			/* before the driver can give the handle out again */
	result = vgpu_cuda.cuGraphExecDestroy(exec);
	if (result != CUDA_SUCCESS)
		(void)remember(exec, &needs);
	return settle(result);
}

/* The graph that it was updated from is what it needs from now on. */
static CUresult update(CUresult result, CUgraphExec exec, CUgraph graph)
{
	struct needs needs;

	if (result != CUDA_SUCCESS || needs_of(graph, &needs) != CUDA_SUCCESS || !allocates(&needs))
		return result;
	(void)remember(exec, &needs);
	vgpu_reserves_enter();
	note_launched(&needs, NULL);
	vgpu_reserves_leave();
	return result;
}

CUresult vgpu_cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode *error, CUgraphExecUpdateResult *updated)
{
	return update(vgpu_cuda.cuGraphExecUpdate(exec, graph, error, updated), exec, graph);
}

CUresult vgpu_cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *updated)
{
	return update(vgpu_cuda.cuGraphExecUpdate_v2(exec, graph, updated), exec, graph);
}

CUresult vgpu_cuDeviceGraphMemTrim(CUdevice device)
{
	return settle(vgpu_cuda.cuDeviceGraphMemTrim(device));
}

/* A node allocates on the device it names, which a graph could otherwise be a way to. */
static CUresult check(const CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
	int index;
	CUresult result = vgpu_cuda_devices();

	if (result != CUDA_SUCCESS || !params)
		return result;
	return vgpu_cuda_location(&params->poolProps.location, &index) == CUDA_ERROR_INVALID_DEVICE ? CUDA_ERROR_INVALID_DEVICE
	                                                                                            : CUDA_SUCCESS;
}

static CUresult check_node(const CUgraphNodeParams *params)
{
	return params && params->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ? check(&params->alloc) : CUDA_SUCCESS;
}

CUresult vgpu_cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
	CUresult result = check(params);

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddMemAllocNode(node, graph, dependencies, count, params) : result;
}

CUresult vgpu_cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                             CUgraphNodeParams *params)
{
	CUresult result = check_node(params);

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode(node, graph, dependencies, count, params) : result;
}

CUresult vgpu_cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *params)
{
	CUresult result = check_node(params);

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode_v2(node, graph, dependencies, edges, count, params) : result;
}

CUresult vgpu_cuGraphAddNode_v3(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                const CUgraphEdgeData *edges, size_t count, CUgraphNodeParams *params)
{
	CUresult result = check_node(params);

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode_v3(node, graph, dependencies, edges, count, params) : result;
}
