/* Capture: work that is submitted to a stream becomes nodes of a graph. */
#ifndef HAMI_MOCK_CUDA_CAPTURE_H
#define HAMI_MOCK_CUDA_CAPTURE_H

#include "cuda_event.h"
#include "cuda_work.h"

/* Whether any stream of this process is being captured. */
bool captures_running(void);

/* A captured stream's work; and work that makes a stream part of a capture: a wait for an event that was recorded in one. */
CUresult capture_add(CUstream stream, const struct work *work);
bool capture_follows(CUstream stream, const struct work *work);

/* Whether a stream that waits for the legacy default stream is being captured in a context. */
bool capture_blocks_legacy(CUcontext context);

/* Something was done that a capture cannot record: returns the error. */
CUresult capture_invalidate(CUstream stream);

/* The stream is destroyed. */
void capture_abandon(CUstream stream);

/* The event is recorded anew, or destroyed. Locked. */
void capture_forget_event(CUevent event);

#endif
