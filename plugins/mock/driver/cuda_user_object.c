/* libcuda: user objects: a destructor that runs when the last reference to something of the program's is gone, be it a graph's. */
#include "cuda_graph.h"

#include <stdlib.h>

enum { USER_MAGIC = 0x55737231, NO_DESTRUCTOR_SYNC = 1, MOVE = 1 };

/* Never freed, so a stale handle is recognised. */
struct CUuserObject_st {
	uint32_t magic;                         /* 0 once its destructor was called */
	unsigned int references;
	CUhostFn destroy;
	void *data;
};

static CUresult check(CUuserObject object, unsigned int count)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	return object && object->magic == USER_MAGIC && count && count <= INT32_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static void release(CUuserObject object, unsigned int count)
{
	bool last;

	driver_lock();
	object->references -= count;
	last = !object->references;
	if (last)
		object->magic = 0;
	driver_unlock();
	if (last)
		object->destroy(object->data);
}

CUresult cuUserObjectCreate(CUuserObject *object, void *data, CUhostFn destroy, unsigned int references, unsigned int flags)
{
	CUresult failure = driver_ready();

	if (failure)
		return failure;
	if (!object || !destroy || !references || references > INT32_MAX || flags != NO_DESTRUCTOR_SYNC)
		return CUDA_ERROR_INVALID_VALUE;
	*object = malloc(sizeof **object);
	if (!*object)
		return CUDA_ERROR_OUT_OF_MEMORY;
	**object = (struct CUuserObject_st){USER_MAGIC, references, destroy, data};
	return CUDA_SUCCESS;
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count)
{
	CUresult failure = check(object, count);

	if (failure)
		return failure;
	driver_lock();
	object->references += count;
	driver_unlock();
	return CUDA_SUCCESS;
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count)
{
	CUresult failure = check(object, count);

	if (failure)
		return failure;
	if (count > object->references)
		return CUDA_ERROR_INVALID_VALUE;
	release(object, count);
	return CUDA_SUCCESS;
}

static struct user_reference *find(CUgraph graph, CUuserObject object)
{
	for (struct user_reference *user = graph->users; user; user = user->next)
		if (user->object == object)
			return user;
	return NULL;
}

static bool add(CUgraph graph, CUuserObject object, unsigned int count)
{
	struct user_reference *user = find(graph, object);

	if (!user) {
		user = malloc(sizeof *user);
		if (!user)
			return false;
		*user = (struct user_reference){object, 0, graph->users};
		graph->users = user;
	}
	user->count += count;
	return true;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags)
{
	CUresult failure = graph_check(graph);

	if (!failure)
		failure = check(object, count);
	if (failure)
		return failure;
	if (flags > MOVE)
		return CUDA_ERROR_INVALID_VALUE;
	if (!add(graph, object, count))
		return CUDA_ERROR_OUT_OF_MEMORY;
	return flags == MOVE ? CUDA_SUCCESS : cuUserObjectRetain(object, count);
}

CUresult cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
	CUresult failure = graph_check(graph);
	struct user_reference *user;

	if (!failure)
		failure = check(object, count);
	if (failure)
		return failure;
	user = find(graph, object);
	if (!user || user->count < count)
		return CUDA_ERROR_INVALID_VALUE;
	user->count -= count;
	release(object, count);
	return CUDA_SUCCESS;
}

void users_release_all(CUgraph graph)
{
	while (graph->users) {
		struct user_reference *user = graph->users;

		graph->users = user->next;
		if (user->count)
			release(user->object, user->count);
		free(user);
	}
}

bool users_copy(CUgraph to, CUgraph from)
{
	for (struct user_reference *user = from->users; user; user = user->next)
		if (user->count && (!add(to, user->object, user->count) || cuUserObjectRetain(user->object, user->count)))
			return false;
	return true;
}
