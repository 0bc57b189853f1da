/* Device memory that this build does not count: refused under a memory limit, never handed out beside it. */
#ifndef VGPU_CUDA_REFUSED_H
#define VGPU_CUDA_REFUSED_H

#include "cuda_abi.h"

/*
 * CUDA_SUCCESS where STREAM is not capturing, or the grant is of whole devices; CUDA_ERROR_NOT_SUPPORTED and one log line that
 * names CALL otherwise. An allocation captured into a graph is made anew at each of its launches, which nothing charges.
 * IS_CAPTURING is the driver's question in the stream flavour of the caller; NULL where the driver has none.
 */
CUresult vgpu_refuse_captured(CUresult (*is_capturing)(CUstream, CUstreamCaptureStatus *), CUstream stream, const char *call);

#endif
