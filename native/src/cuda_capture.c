#include "cuda_capture.h"

#include "wrappers.h"

/* Before the driver begins: another thread may allocate in the stream as soon as it captures. */
static void note(void)
{
	atomic_store_explicit(&vgpu_process()->captures, 1, memory_order_relaxed);
}

#define BEGINS(symbol, parameters, arguments) \
	CUresult vgpu_##symbol parameters \
	{ \
		note(); \
		return vgpu_cuda.symbol arguments; \
	}

BEGINS(cuStreamBeginCapture, (CUstream stream), (stream))
BEGINS(cuStreamBeginCapture_ptsz, (CUstream stream), (stream))
BEGINS(cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode), (stream, mode))
BEGINS(cuStreamBeginCapture_v2_ptsz, (CUstream stream, CUstreamCaptureMode mode), (stream, mode))
BEGINS(cuStreamBeginCaptureToGraph,
       (CUstream stream, CUgraph graph, const CUgraphNode *after, const CUgraphEdgeData *edges, size_t count,
	CUstreamCaptureMode mode), (stream, graph, after, edges, count, mode))
BEGINS(cuStreamBeginCaptureToGraph_ptsz,
       (CUstream stream, CUgraph graph, const CUgraphNode *after, const CUgraphEdgeData *edges, size_t count,
	CUstreamCaptureMode mode), (stream, graph, after, edges, count, mode))
BEGINS(cuStreamBeginCaptureToCig, (CUstream stream, CUstreamCigCaptureParams *params), (stream, params))
BEGINS(cuStreamBeginCaptureToCig_ptsz, (CUstream stream, CUstreamCigCaptureParams *params), (stream, params))
BEGINS(cuStreamBeginRecaptureToGraph,
       (CUstream stream, CUstreamCaptureMode mode, CUgraph graph, CUgraphRecaptureCallback callback, void *data),
       (stream, mode, graph, callback, data))
BEGINS(cuStreamBeginRecaptureToGraph_ptsz,
       (CUstream stream, CUstreamCaptureMode mode, CUgraph graph, CUgraphRecaptureCallback callback, void *data),
       (stream, mode, graph, callback, data))
