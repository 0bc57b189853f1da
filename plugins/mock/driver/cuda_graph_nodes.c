/* libcuda: making nodes of each type, and reading and changing what they do, in a graph and in an executable one. */
#include "cuda_graph.h"

#include <string.h>

#include "cuda_graph_exec.h"
#include "cuda_graph_memory.h"

static CUresult add(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const struct work *work)
{
	CUresult failure = graph_check(graph);

	if (failure)
		return failure;
	return node ? graph_add(graph, work, before, count, node) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult check_type(CUgraphNode node, enum work_type type)
{
	CUresult failure = node_check(node);

	if (failure)
		return failure;
	return node->work.type == type ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult set(CUgraphNode node, const struct work *work)
{
	CUresult failure = check_type(node, work->type);

	return failure ? failure : node_set(node, work);
}

static CUresult set_in(CUgraphExec exec, CUgraphNode node, const struct work *work)
{
	CUgraphNode own;
	CUresult failure = exec_node(exec, node, &own);

	return failure ? failure : set(own, work);
}

/* Each of these gives the work that parameters mean; false if they are none. */
static bool kernel_work(const CUDA_KERNEL_NODE_PARAMS_v2 *given, struct work *work)
{
	if (!given)
		return false;
	*work = (struct work){.type = WORK_KERNEL, .kernel = *given};
	return !launch_check(given);
}

static bool first_kernel_work(const CUDA_KERNEL_NODE_PARAMS_v1 *given, struct work *work)
{
	CUDA_KERNEL_NODE_PARAMS_v2 launch = {0};

	if (given)
		memcpy(&launch, given, sizeof *given);
	return given && kernel_work(&launch, work);
}

static bool copy_work(const CUDA_MEMCPY3D *given, struct work *work)
{
	if (given)
		*work = (struct work){.type = WORK_COPY, .copy = *given};
	return given;
}

static bool fill_work(const CUDA_MEMSET_NODE_PARAMS_v1 *given, struct work *work)
{
	if (!given || (given->elementSize != 1 && given->elementSize != 2 && given->elementSize != 4))
		return false;
	*work = (struct work){.type = WORK_FILL};
	memcpy(&work->fill, given, sizeof *given);
	return true;
}

static bool host_work(const CUDA_HOST_NODE_PARAMS_v1 *given, struct work *work)
{
	if (given)
		*work = (struct work){.type = WORK_HOST, .host = *given};
	return given && given->fn;
}

static bool event_work(CUevent event, enum work_type type, struct work *work)
{
	*work = (struct work){.type = type, .event = event};
	return event;
}

static bool graph_work(CUgraph graph, struct work *work)
{
	*work = (struct work){.type = WORK_GRAPH, .graph = graph};
	return graph && !graph_check(graph);
}

#define REFUSE_UNLESS(valid) \
	if (!(valid)) \
		return driver_ready() ? driver_ready() : CUDA_ERROR_INVALID_VALUE

CUresult cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const CUDA_KERNEL_NODE_PARAMS_v2 *given)
{
	struct work work;

	REFUSE_UNLESS(kernel_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const CUDA_KERNEL_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(first_kernel_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const CUDA_MEMCPY3D *given, CUcontext context)
{
	struct work work;

	(void)context;
	REFUSE_UNLESS(copy_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const CUDA_MEMSET_NODE_PARAMS_v1 *given,
                              CUcontext context)
{
	struct work work;

	(void)context;
	REFUSE_UNLESS(fill_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, const CUDA_HOST_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(host_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUgraph child)
{
	struct work work;

	REFUSE_UNLESS(graph_work(child, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count)
{
	struct work work = {.type = WORK_EMPTY};

	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUevent event)
{
	struct work work;

	REFUSE_UNLESS(event_work(event, WORK_EVENT_RECORD, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUevent event)
{
	struct work work;

	REFUSE_UNLESS(event_work(event, WORK_EVENT_WAIT, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUDA_MEM_ALLOC_NODE_PARAMS_v1 *given)
{
	struct work work = {.type = WORK_ALLOCATION};
	CUresult failure = graph_check(graph);

	if (failure)
		return failure;
	if (!given || (int)given->poolProps.location.type != LOCATION_DEVICE)
		return CUDA_ERROR_INVALID_VALUE;
	failure = graph_memory_reserve(given->poolProps.location.id, given->bytesize, &given->dptr);
	if (failure)
		return failure;
	work.allocation = *given;
	failure = add(node, graph, before, count, &work);
	graph_memory_unrefer(given->dptr);              /* the node has its own reference */
	return failure;
}

CUresult cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUdeviceptr address)
{
	struct work work = {.type = WORK_FREE, .address = address};

	REFUSE_UNLESS(address);
	return add(node, graph, before, count, &work);
}

/* Whatever the type; not memory, which is made differently. */
static bool any_work(const CUgraphNodeParams *given, struct work *work)
{
	switch ((int)given->type) {
	case WORK_KERNEL: return kernel_work((const CUDA_KERNEL_NODE_PARAMS_v2 *)&given->kernel, work);
	case WORK_COPY: return copy_work(&given->memcpy.copyParams, work);
	case WORK_FILL: return fill_work((const CUDA_MEMSET_NODE_PARAMS_v1 *)&given->memset, work);
	case WORK_HOST: return host_work((const CUDA_HOST_NODE_PARAMS_v1 *)&given->host, work);
	case WORK_GRAPH: return graph_work(given->graph.graph, work);
	case WORK_EMPTY: *work = (struct work){.type = WORK_EMPTY}; return true;
	case WORK_EVENT_WAIT: return event_work(given->eventWait.event, WORK_EVENT_WAIT, work);
	case WORK_EVENT_RECORD: return event_work(given->eventRecord.event, WORK_EVENT_RECORD, work);
	case WORK_FREE: *work = (struct work){.type = WORK_FREE, .address = given->free.dptr}; return given->free.dptr;
	default: return false;
	}
}

static bool is_known(int type)
{
	return (type >= WORK_KERNEL && type <= WORK_EVENT_RECORD) || type == WORK_ALLOCATION || type == WORK_FREE;
}

CUresult cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, size_t count, CUgraphNodeParams *given)
{
	struct work work;

	REFUSE_UNLESS(given);
	if (!is_known((int)given->type))
		return CUDA_ERROR_NOT_SUPPORTED;
	if ((int)given->type == WORK_ALLOCATION)
		return cuGraphAddMemAllocNode(node, graph, before, count, (CUDA_MEM_ALLOC_NODE_PARAMS_v1 *)&given->alloc);
	REFUSE_UNLESS(any_work(given, &work));
	return add(node, graph, before, count, &work);
}

CUresult cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *before, const CUgraphEdgeData *data, size_t count,
                           CUgraphNodeParams *given)
{
	(void)data;
	return cuGraphAddNode(node, graph, before, count, given);
}

CUresult cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *given)
{
	struct work work;

	REFUSE_UNLESS(given && any_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraphNodeParams *given)
{
	struct work work;

	REFUSE_UNLESS(given && any_work(given, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v2 *given)
{
	CUresult failure = check_type(node, WORK_KERNEL);

	REFUSE_UNLESS(given);
	if (!failure)
		*given = node->work.kernel;
	return failure;
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1 *given)
{
	CUresult failure = check_type(node, WORK_KERNEL);

	REFUSE_UNLESS(given);
	if (!failure)
		memcpy(given, &node->work.kernel, sizeof *given);
	return failure;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *given)
{
	struct work work;

	REFUSE_UNLESS(kernel_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(first_kernel_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *given)
{
	struct work work;

	REFUSE_UNLESS(kernel_work(given, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(first_kernel_work(given, &work));
	return set_in(exec, node, &work);
}

/* Attributes are hints here: the ones asked for are what a fresh node has. */
CUresult cuGraphKernelNodeGetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute, CUkernelNodeAttrValue *value)
{
	CUresult failure = check_type(node, WORK_KERNEL);

	(void)attribute;
	REFUSE_UNLESS(value);
	if (!failure)
		memset(value, 0, sizeof *value);
	return failure;
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute, const CUkernelNodeAttrValue *value)
{
	(void)attribute;
	REFUSE_UNLESS(value);
	return check_type(node, WORK_KERNEL);
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode to, CUgraphNode from)
{
	CUresult failure = check_type(to, WORK_KERNEL);

	return failure ? failure : check_type(from, WORK_KERNEL);
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D *given)
{
	CUresult failure = check_type(node, WORK_COPY);

	REFUSE_UNLESS(given);
	if (!failure)
		*given = node->work.copy;
	return failure;
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *given)
{
	struct work work;

	REFUSE_UNLESS(copy_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D *given, CUcontext context)
{
	struct work work;

	(void)context;
	REFUSE_UNLESS(copy_work(given, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS_v1 *given)
{
	CUresult failure = check_type(node, WORK_FILL);

	REFUSE_UNLESS(given);
	if (!failure)
		memcpy(given, &node->work.fill, sizeof *given);
	return failure;
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(fill_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS_v1 *given, CUcontext context)
{
	struct work work;

	(void)context;
	REFUSE_UNLESS(fill_work(given, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS_v1 *given)
{
	CUresult failure = check_type(node, WORK_HOST);

	REFUSE_UNLESS(given);
	if (!failure)
		*given = node->work.host;
	return failure;
}

CUresult cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(host_work(given, &work));
	return set(node, &work);
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node, const CUDA_HOST_NODE_PARAMS_v1 *given)
{
	struct work work;

	REFUSE_UNLESS(host_work(given, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
	CUresult failure = check_type(node, WORK_GRAPH);

	REFUSE_UNLESS(graph);
	if (!failure)
		*graph = node->work.graph;
	return failure;
}

CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph child)
{
	struct work work;

	REFUSE_UNLESS(graph_work(child, &work));
	return set_in(exec, node, &work);
}

static CUresult get_event(CUgraphNode node, enum work_type type, CUevent *event)
{
	CUresult failure = check_type(node, type);

	REFUSE_UNLESS(event);
	if (!failure)
		*event = node->work.event;
	return failure;
}

static CUresult set_event(CUgraphNode node, enum work_type type, CUevent event)
{
	struct work work;

	REFUSE_UNLESS(event_work(event, type, &work));
	return set(node, &work);
}

static CUresult set_event_in(CUgraphExec exec, CUgraphNode node, enum work_type type, CUevent event)
{
	struct work work;

	REFUSE_UNLESS(event_work(event, type, &work));
	return set_in(exec, node, &work);
}

CUresult cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event)
{
	return get_event(node, WORK_EVENT_RECORD, event);
}

CUresult cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event)
{
	return set_event(node, WORK_EVENT_RECORD, event);
}

CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event_in(exec, node, WORK_EVENT_RECORD, event);
}

CUresult cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event)
{
	return get_event(node, WORK_EVENT_WAIT, event);
}

CUresult cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event)
{
	return set_event(node, WORK_EVENT_WAIT, event);
}

CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
	return set_event_in(exec, node, WORK_EVENT_WAIT, event);
}

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS_v1 *given)
{
	CUresult failure = check_type(node, WORK_ALLOCATION);

	REFUSE_UNLESS(given);
	if (!failure)
		*given = node->work.allocation;
	return failure;
}

CUresult cuGraphMemFreeNodeGetParams(CUgraphNode node, CUdeviceptr *address)
{
	CUresult failure = check_type(node, WORK_FREE);

	REFUSE_UNLESS(address);
	if (!failure)
		*address = node->work.address;
	return failure;
}

CUresult cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int enabled)
{
	CUgraphNode own;
	CUresult failure = exec_node(exec, node, &own);

	if (failure)
		return failure;
	if (own->work.type > WORK_FILL)                 /* kernels, copies and fills only, as documented */
		return CUDA_ERROR_INVALID_VALUE;
	own->disabled = !enabled;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetEnabled(CUgraphExec exec, CUgraphNode node, unsigned int *enabled)
{
	CUgraphNode own;
	CUresult failure = exec_node(exec, node, &own);

	if (failure)
		return failure;
	if (!enabled || own->work.type > WORK_FILL)
		return CUDA_ERROR_INVALID_VALUE;
	*enabled = !own->disabled;
	return CUDA_SUCCESS;
}
