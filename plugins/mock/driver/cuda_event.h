/* Events, as the other files of libcuda see them. */
#ifndef HAMI_MOCK_CUDA_EVENT_H
#define HAMI_MOCK_CUDA_EVENT_H

#include "cuda_stream.h"

/* Records are reused and never freed, so a stale handle is recognised. */
struct CUevent_st {
	uint32_t magic;
	unsigned int flags;
	bool recorded;
	bool imported;
	CUcontext context;
	struct moment moment;                   /* of its last record */
	uint64_t shared;                        /* id of the event in the machine's state, once other processes know it */
	uint64_t capture;                       /* id of the one that its last record is part of; 0: of none */
	CUgraphNode *heads;                     /* and what came before it there */
	size_t head_count;
	struct CUevent_st *next_free;
};

/* A new event; NULL if the host has no room. */
CUevent event_new(CUcontext context, unsigned int flags);

CUresult event_check(CUevent event);

/* Locked. The event happens at that moment; and when it does. */
void event_record(CUevent event, struct moment moment);
struct moment event_moment(CUevent event);

#endif
