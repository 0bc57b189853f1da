#include "cuda_refused.h"

#include "cuda_device.h"
#include "driver.h"
#include "grant.h"
#include "log.h"
#include "wrappers.h"

/* A grant of whole devices needs no counting. Otherwise what cannot be counted is not given, and the program is told why. */
static CUresult refuse(const char *call)
{
	CUresult result = vgpu_cuda_devices();

	if (result != CUDA_SUCCESS || vgpu_grant_is_whole())
		return result;
	if (vgpu_log_is_news(call))
		VGPU_LOG(VGPU_ERROR, "%s is not counted by this build and refused under a memory limit", call);
	return CUDA_ERROR_NOT_SUPPORTED;
}

/* A question that fails leaves the answer to the allocation itself, which fails for the same reason. */
CUresult vgpu_refuse_captured(CUresult (*is_capturing)(CUstream, CUstreamCaptureStatus *), CUstream stream, const char *call)
{
	CUstreamCaptureStatus status;

	if (!is_capturing || is_capturing(stream, &status) != CUDA_SUCCESS || status != CU_STREAM_CAPTURE_STATUS_ACTIVE)
		return CUDA_SUCCESS;
	return refuse(call);
}

CUresult vgpu_cuArrayCreate(CUarray *array, const CUDA_ARRAY_DESCRIPTOR_v1 *descriptor)
{
	CUresult result = refuse("cuArrayCreate");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuArrayCreate(array, descriptor) : result;
}

CUresult vgpu_cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *descriptor)
{
	CUresult result = refuse("cuArrayCreate_v2");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuArrayCreate_v2(array, descriptor) : result;
}

CUresult vgpu_cuArray3DCreate(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR_v1 *descriptor)
{
	CUresult result = refuse("cuArray3DCreate");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuArray3DCreate(array, descriptor) : result;
}

CUresult vgpu_cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
	CUresult result = refuse("cuArray3DCreate_v2");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuArray3DCreate_v2(array, descriptor) : result;
}

CUresult vgpu_cuMipmappedArrayCreate(CUmipmappedArray *array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor, unsigned int levels)
{
	CUresult result = refuse("cuMipmappedArrayCreate");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuMipmappedArrayCreate(array, descriptor, levels) : result;
}

CUresult vgpu_cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS *params)
{
	CUresult result = refuse("cuGraphAddMemAllocNode");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddMemAllocNode(node, graph, after, count, params) : result;
}

/* Nodes of other types allocate nothing. */
static CUresult refuse_node(const CUgraphNodeParams *params, const char *call)
{
	return params && params->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC ? refuse(call) : CUDA_SUCCESS;
}

CUresult vgpu_cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, size_t count,
                             CUgraphNodeParams *params)
{
	CUresult result = refuse_node(params, "cuGraphAddNode of an allocation");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode(node, graph, after, count, params) : result;
}

CUresult vgpu_cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, const CUgraphEdgeData *edges,
                                size_t count, CUgraphNodeParams *params)
{
	CUresult result = refuse_node(params, "cuGraphAddNode_v2 of an allocation");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode_v2(node, graph, after, edges, count, params) : result;
}

CUresult vgpu_cuGraphAddNode_v3(CUgraphNode *node, CUgraph graph, const CUgraphNode *after, const CUgraphEdgeData *edges,
                                size_t count, CUgraphNodeParams *params)
{
	CUresult result = refuse_node(params, "cuGraphAddNode_v3 of an allocation");

	return result == CUDA_SUCCESS ? vgpu_cuda.cuGraphAddNode_v3(node, graph, after, edges, count, params) : result;
}
