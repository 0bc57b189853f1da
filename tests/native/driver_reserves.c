/*
 * The small driver's arrays, pools and graphs: what takes device memory in another measure than the program asked for. Pools grow
 * in steps, hand out the lowest free place of their chunks, and give whole chunks back at a synchronisation; graphs share one
 * reserve per device, which grows at a launch or an upload and shrinks when it is trimmed. A stream's handle ends in its device.
 *
 *   STUB_POOL_STEP      bytes by which pools and graphs grow (32 MiB)
 *   STUB_BUSY           streams are busy: a chunk in which one has freed is not used again before a synchronisation
 *   STUB_NO_DEFERRED    arrays with deferred mapping are not supported
 *   STUB_EAGER_GRAPHS   a graph's memory is backed when it is instantiated
 */
#include "driver_cuda.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CHUNKS 1024
#define CHUNK_BASE (UINT64_C(0x30) << 40)	/* to 0x40 << 40 */
#define CHUNK_SPACE_LOG2 34		/* of addresses, for one chunk */
#define GRAPH_BASE (UINT64_C(0x20) << 40)	/* below those of the pools */
#define NODES 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t round_up(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) / to * to;
}

static uint64_t step(void)
{
	const char *told = getenv("STUB_POOL_STEP");

	return told ? strtoull(told, NULL, 10) : UINT64_C(32) << 20;
}

/* ---- Arrays. */

struct array {
	struct context *context;
	uint64_t bytes;
	int deferred;
	struct array *next;
};

struct shape {
	size_t width, height, depth;
	int format;
	unsigned channels, flags;
};

static struct array *arrays;

static uint64_t element(const struct shape *shape)
{
	switch (shape->format) {
	case 0x01: case 0x08: return shape->channels;
	case 0x02: case 0x09: case 0x10: return 2 * shape->channels;
	case 0x03: case 0x0a: case 0x20: return 4 * shape->channels;
	default: return 1;
	}
}

static uint64_t array_bytes(const struct shape *shape, unsigned levels)
{
	uint64_t sum = 0;

	for (unsigned level = 0; level < levels; level++) {
		uint64_t width = shape->width >> level, height = shape->height >> level, depth = shape->depth >> level;

		sum += round_up((width ? width : 1) * element(shape), 512) * (height ? height : 1) * (depth ? depth : 1);
	}
	return round_up(sum, 65536);
}

static int create_array(struct array **made, const struct shape *shape, unsigned levels)
{
	struct array *array;
	int code = may_allocate(current ? current->device : -1), owns = !(shape->flags & (0x40 | 0x80));

	if (code)
		return code;
	if (!shape->width || !levels)
		return 1;
	if (shape->flags & 0x80 && getenv("STUB_NO_DEFERRED"))
		return 801;
	if (owns && take(current->device, array_bytes(shape, levels)) != 0)
		return 2;
	array = malloc(sizeof(*array));
	pthread_mutex_lock(&lock);
	*array = (struct array){ current, array_bytes(shape, levels), !owns, arrays };
	arrays = array;
	pthread_mutex_unlock(&lock);
	*made = array;
	return 0;
}

static bool destroy_first(bool (*which)(const struct array *, const void *), const void *what)
{
	struct array **link = &arrays, *array;

	pthread_mutex_lock(&lock);
	while (*link && !which(*link, what))
		link = &(*link)->next;
	array = *link;
	if (array)
		*link = array->next;
	if (array && !array->deferred)
		uncount(array->context->device, array->bytes);
	pthread_mutex_unlock(&lock);
	free(array);
	return array;
}

static bool is_this(const struct array *array, const void *what)
{
	return array == what;
}

static bool is_of(const struct array *array, const void *what)
{
	return array->context == what;
}

void free_arrays(const struct context *context)
{
	while (destroy_first(is_of, context))
		;
}

EXPORT int cuArray3DCreate_v2(struct array **array, const struct shape *shape)
{
	return shape ? create_array(array, shape, 1) : 1;
}

EXPORT int cuArrayCreate_v2(struct array **array, const struct { size_t width, height; int format; unsigned channels; } *flat)
{
	return create_array(array, &(struct shape){ flat->width, flat->height, 0, flat->format, flat->channels, 0 }, 1);
}

EXPORT int cuArray3DCreate(struct array **array,
                           const struct { unsigned width, height, depth; int format; unsigned channels, flags; } *old)
{
	return create_array(array, &(struct shape){ old->width, old->height, old->depth, old->format, old->channels, old->flags }, 1);
}

EXPORT int cuArrayCreate(struct array **array, const struct { unsigned width, height; int format; unsigned channels; } *old)
{
	return create_array(array, &(struct shape){ old->width, old->height, 0, old->format, old->channels, 0 }, 1);
}

EXPORT int cuMipmappedArrayCreate(struct array **array, const struct shape *shape, unsigned levels)
{
	return shape ? create_array(array, shape, levels) : 1;
}

EXPORT int cuArrayDestroy(struct array *array)
{
	return destroy_first(is_this, array) ? 0 : 400;
}

EXPORT int cuMipmappedArrayDestroy(struct array *array)
{
	return cuArrayDestroy(array);
}

EXPORT int cuArrayGetMemoryRequirements(size_t *size, const struct array *array, int device)
{
	(void)device;
	if (!array->deferred)
		return 1;
	*size = array->bytes;
	return 0;
}

EXPORT int cuMipmappedArrayGetMemoryRequirements(size_t *size, const struct array *array, int device)
{
	return cuArrayGetMemoryRequirements(size, array, device);
}

/* ---- Pools. */

struct place {
	uint64_t begin, bytes;
	bool in_use;
	struct place *next;
};

struct pool {
	int device;		/* -1: the host's memory */
	bool is_default, destroyed;
	uint64_t threshold, reserved, in_use;
};

static struct chunk {
	struct pool *pool;
	uint64_t bytes;
	struct place *places;	/* by address, all of the chunk */
	bool is_awaited;	/* of STUB_BUSY */
} chunks[CHUNKS];

static unsigned chunks_used;		/* places that were ever taken */
static struct pool defaults[DEVICES] = {
	{ .device = 0, .is_default = true },
	{ .device = 1, .is_default = true },
	{ .device = 2, .is_default = true },
	{ .device = 3, .is_default = true },
};
static struct pool *chosen[DEVICES];

static bool is_unused(const struct chunk *chunk)
{
	return chunk->places && !chunk->places->in_use && !chunk->places->next;
}

static void drop_chunk(struct chunk *chunk)
{
	chunk->pool->reserved -= chunk->bytes;
	if (chunk->pool->device >= 0)
		uncount(chunk->pool->device, chunk->bytes);
	free(chunk->places);
	*chunk = (struct chunk){ 0 };
}

/* With the lock. */
static void shrink(const struct pool *pool, uint64_t keep)
{
	for (unsigned i = 0; i < chunks_used && pool->reserved > keep; i++)
		if (chunks[i].pool == pool && is_unused(&chunks[i]))
			drop_chunk(&chunks[i]);
}

void release_unused(void)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < chunks_used; i++)
		chunks[i].is_awaited = false;
	for (unsigned i = 0; i < chunks_used; i++)
		if (chunks[i].pool)
			shrink(chunks[i].pool, chunks[i].pool->destroyed ? 0 : chunks[i].pool->threshold);
	pthread_mutex_unlock(&lock);
}

static CUdeviceptr place_in(struct chunk *chunk, uint64_t bytes)
{
	for (struct place *place = chunk->places; place; place = place->next) {
		struct place *rest;

		if (place->in_use || place->bytes < bytes)
			continue;
		if (place->bytes > bytes) {
			rest = malloc(sizeof(*rest));
			*rest = (struct place){ place->begin + bytes, place->bytes - bytes, false, place->next };
			place->next = rest;
			place->bytes = bytes;
		}
		place->in_use = true;
		return place->begin;
	}
	return 0;
}

static struct chunk *grow(struct pool *pool, uint64_t bytes)
{
	for (unsigned i = 0; i < CHUNKS; i++) {
		struct place *place;

		if (chunks[i].pool)
			continue;
		if (pool->device >= 0 && take(pool->device, bytes) != 0)
			return NULL;
		place = malloc(sizeof(*place));
		*place = (struct place){ CHUNK_BASE + ((uint64_t)i << CHUNK_SPACE_LOG2), bytes, false, NULL };
		chunks[i] = (struct chunk){ pool, bytes, place, false };
		pool->reserved += bytes;
		chunks_used = i < chunks_used ? chunks_used : i + 1;
		return &chunks[i];
	}
	return NULL;
}

/* With the lock. */
static int allocate_in(struct pool *pool, CUdeviceptr *pointer, uint64_t bytes)
{
	struct chunk *fresh;

	*pointer = 0;
	bytes = round_up(bytes, 512);
	for (unsigned i = 0; i < chunks_used && !*pointer; i++)
		if (chunks[i].pool == pool && !chunks[i].is_awaited)
			*pointer = place_in(&chunks[i], bytes);
	if (!*pointer) {
		fresh = bytes > PHYSICAL ? NULL : grow(pool, round_up(bytes, step()));
		if (!fresh)
			return 2;
		*pointer = place_in(fresh, bytes);
	}
	pool->in_use += bytes;
	return 0;
}

static void merge(struct place *place)
{
	struct place *next = place->next;

	if (!next || place->in_use || next->in_use)
		return;
	place->bytes += next->bytes;
	place->next = next->next;
	free(next);
}

/* With the lock. */
static bool free_in_pool(CUdeviceptr pointer)
{
	uint64_t number = (pointer - CHUNK_BASE) >> CHUNK_SPACE_LOG2;
	struct place *before = NULL;

	if (pointer < CHUNK_BASE || number >= CHUNKS || !chunks[number].pool)
		return false;
	for (struct place *place = chunks[number].places; place; before = place, place = place->next)
		if (place->begin == pointer && place->in_use) {
			place->in_use = false;
			chunks[number].is_awaited = getenv("STUB_BUSY");
			chunks[number].pool->in_use -= place->bytes;
			merge(place);
			if (before)
				merge(before);
			return true;
		}
	return false;
}

static int device_of(const void *stream)
{
	return (uintptr_t)stream > 0xff ? (int)((uintptr_t)stream & 0xf) : current ? current->device : -1;
}

EXPORT int cuStreamGetDevice(void *stream, int *device)
{
	*device = device_of(stream);
	return *device < 0 ? 201 : 0;
}

static int add_captured_allocation(void *stream, CUdeviceptr *pointer, size_t bytes);
static bool add_captured_free(void *stream, CUdeviceptr pointer);
static bool captures(const void *stream);

static int allocate_async(CUdeviceptr *pointer, size_t bytes, struct pool *pool, void *stream)
{
	int code = may_allocate(pool ? 0 : device_of(stream));

	if (code || !pointer || !bytes)
		return code ? code : 1;
	if (captures(stream))
		return add_captured_allocation(stream, pointer, bytes);
	if (!pool)
		pool = chosen[device_of(stream)] ? chosen[device_of(stream)] : &defaults[device_of(stream)];
	if (pool->destroyed)
		return 1;
	pthread_mutex_lock(&lock);
	code = allocate_in(pool, pointer, bytes);
	pthread_mutex_unlock(&lock);
	return code;
}

EXPORT int cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, void *stream)
{
	return allocate_async(pointer, bytes, NULL, stream);
}

EXPORT int cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *stream)
{
	return allocate_async(pointer, bytes, NULL, stream);
}

EXPORT int cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, struct pool *pool, void *stream)
{
	return pool ? allocate_async(pointer, bytes, pool, stream) : 1;
}

EXPORT int cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *pointer, size_t bytes, struct pool *pool, void *stream)
{
	return cuMemAllocFromPoolAsync(pointer, bytes, pool, stream);
}

EXPORT int cuMemFree_v2(CUdeviceptr pointer);

/* Linear memory can be freed so too. */
EXPORT int cuMemFreeAsync(CUdeviceptr pointer, void *stream)
{
	if (captures(stream))
		return add_captured_free(stream, pointer) ? 0 : 1;
	return free_reserved(pointer) ? 0 : pointer >= CHUNK_BASE + ((uint64_t)CHUNKS << CHUNK_SPACE_LOG2) ? cuMemFree_v2(pointer) : 1;
}

EXPORT int cuMemFreeAsync_ptsz(CUdeviceptr pointer, void *stream)
{
	return cuMemFreeAsync(pointer, stream);
}

struct pool_properties {
	int type, handles;
	struct { int type, id; } location;
};

EXPORT int cuMemPoolCreate(struct pool **pool, const struct pool_properties *properties)
{
	*pool = calloc(1, sizeof(**pool));
	(*pool)->device = properties->location.type == 1 ? properties->location.id : -1;
	return 0;
}

EXPORT int cuMemPoolDestroy(struct pool *pool)
{
	if (pool->is_default || pool->destroyed)
		return 1;
	pthread_mutex_lock(&lock);
	pool->destroyed = true;
	for (int device = 0; device < DEVICES; device++)
		if (chosen[device] == pool)
			chosen[device] = NULL;
	shrink(pool, 0);
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuMemPoolTrimTo(struct pool *pool, size_t keep)
{
	pthread_mutex_lock(&lock);
	shrink(pool, keep);
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuMemPoolSetAttribute(struct pool *pool, int attribute, const uint64_t *value)
{
	if (attribute == 4)
		pool->threshold = *value;
	return 0;
}

EXPORT int cuMemPoolGetAttribute(struct pool *pool, int attribute, uint64_t *value)
{
	if (pool->destroyed)
		return 1;
	*value = attribute == 4 ? pool->threshold : attribute == 5 ? pool->reserved : pool->in_use;
	return 0;
}

EXPORT int cuMemPoolImportFromShareableHandle(struct pool **pool, void *handle, int type, unsigned long long flags)
{
	(void)handle, (void)type, (void)flags;
	*pool = calloc(1, sizeof(**pool));
	(*pool)->device = -1;
	return 0;
}

EXPORT int cuDeviceGetDefaultMemPool(struct pool **pool, int device)
{
	*pool = &defaults[device];
	return 0;
}

EXPORT int cuDeviceGetMemPool(struct pool **pool, int device)
{
	*pool = chosen[device] ? chosen[device] : &defaults[device];
	return 0;
}

EXPORT int cuDeviceSetMemPool(int device, struct pool *pool)
{
	chosen[device] = pool;
	return 0;
}

struct location {
	int type, id;
};

EXPORT int cuMemGetDefaultMemPool(struct pool **pool, const struct location *location, int type)
{
	(void)type;
	return cuDeviceGetDefaultMemPool(pool, location->id);
}

EXPORT int cuMemGetMemPool(struct pool **pool, const struct location *location, int type)
{
	(void)type;
	return cuDeviceGetMemPool(pool, location->id);
}

EXPORT int cuMemSetMemPool(const struct location *location, int type, struct pool *pool)
{
	(void)type;
	return cuDeviceSetMemPool(location->id, pool);
}

EXPORT int cuStreamSynchronize(void *stream)
{
	(void)stream;
	release_unused();
	return 0;
}

EXPORT int cuStreamSynchronize_ptsz(void *stream)
{
	return cuStreamSynchronize(stream);
}

EXPORT int cuEventSynchronize(void *event)
{
	return cuStreamSynchronize(event);
}

EXPORT int cuCtxSynchronize(void)
{
	return cuStreamSynchronize(NULL);
}

/* ---- Graphs. */

struct node {
	int type;		/* 4: a child graph; 10: allocates; 11: frees; others do nothing here */
	int device;
	uint64_t bytes;
	CUdeviceptr pointer;
	struct graph *child;
};

struct graph {
	unsigned count;
	struct node nodes[NODES];
};

struct exec {
	struct graph graph;
	unsigned long long flags;
};

struct alloc_params {
	struct pool_properties properties;
	char rest[72];
	const void *access;
	size_t accesses, bytes;
	CUdeviceptr pointer;
};
_Static_assert(offsetof(struct alloc_params, bytes) == 104, "CUDA_MEM_ALLOC_NODE_PARAMS");

/* What a graph's allocations hold, while they live: pages of its device's reserve. */
static struct { CUdeviceptr pointer; uint64_t bytes; int device; } held[4096];
static unsigned held_used;		/* places that were ever taken */
static uint64_t graph_reserved[DEVICES], graph_used[DEVICES];
static CUdeviceptr next_graph_pointer = GRAPH_BASE;
static struct { void *stream; struct graph *graph; } captured[8];

/* With the lock. */
static bool free_held(CUdeviceptr pointer)
{
	if (pointer < GRAPH_BASE || pointer >= CHUNK_BASE)
		return false;
	for (unsigned i = 0; i < held_used; i++)
		if (held[i].pointer == pointer) {
			graph_used[held[i].device] -= held[i].bytes;
			held[i].pointer = 0;
			return true;
		}
	return false;
}

bool free_reserved(CUdeviceptr pointer)
{
	bool found;

	pthread_mutex_lock(&lock);
	found = free_in_pool(pointer) || free_held(pointer);
	pthread_mutex_unlock(&lock);
	return found;
}

static struct node *add(struct graph *graph, int type)
{
	struct node *node = &graph->nodes[graph->count++];

	*node = (struct node){ .type = type };
	return node;
}

static CUdeviceptr add_allocation(struct node *node, int device, uint64_t bytes)
{
	node->device = device;
	node->bytes = round_up(bytes, UINT64_C(2) << 20);
	node->pointer = next_graph_pointer;
	next_graph_pointer += node->bytes;
	return node->pointer;
}

static struct graph *graph_captured(const void *stream)
{
	for (unsigned i = 0; i < 8; i++)
		if (captured[i].stream == stream && stream)
			return captured[i].graph;
	return NULL;
}

static bool captures(const void *stream)
{
	return graph_captured(stream) != NULL;
}

static int add_captured_allocation(void *stream, CUdeviceptr *pointer, size_t bytes)
{
	*pointer = add_allocation(add(graph_captured(stream), 10), device_of(stream), bytes);
	return 0;
}

static bool add_captured_free(void *stream, CUdeviceptr pointer)
{
	add(graph_captured(stream), 11)->pointer = pointer;
	return true;
}

EXPORT int cuStreamBeginCapture_v2(void *stream, int mode)
{
	(void)mode;
	for (unsigned i = 0; i < 8; i++)
		if (!captured[i].stream) {
			captured[i].stream = stream;
			captured[i].graph = calloc(1, sizeof(struct graph));
			return 0;
		}
	return 1;
}

EXPORT int cuStreamEndCapture(void *stream, struct graph **graph)
{
	for (unsigned i = 0; i < 8; i++)
		if (captured[i].stream == stream && stream) {
			*graph = captured[i].graph;
			captured[i].stream = NULL;
			return 0;
		}
	return 1;
}

EXPORT int cuStreamIsCapturing(void *stream, int *status)
{
	*status = captures(stream);
	return 0;
}

EXPORT int cuStreamIsCapturing_ptsz(void *stream, int *status)
{
	return cuStreamIsCapturing(stream, status);
}

EXPORT int cuGraphCreate(struct graph **graph, unsigned flags)
{
	(void)flags;
	*graph = calloc(1, sizeof(**graph));
	return 0;
}

EXPORT int cuGraphDestroy(struct graph *graph)
{
	free(graph);
	return 0;
}

EXPORT int cuGraphAddMemAllocNode(struct node **node, struct graph *graph, const void *after, size_t count,
                                  struct alloc_params *params)
{
	(void)after, (void)count;
	*node = add(graph, 10);
	params->pointer = add_allocation(*node, params->properties.location.id, params->bytes);
	return 0;
}

EXPORT int cuGraphAddMemFreeNode(struct node **node, struct graph *graph, const void *after, size_t count, CUdeviceptr pointer)
{
	(void)after, (void)count;
	*node = add(graph, 11);
	(*node)->pointer = pointer;
	return 0;
}

EXPORT int cuGraphAddChildGraphNode(struct node **node, struct graph *graph, const void *after, size_t count, struct graph *child)
{
	(void)after, (void)count;
	*node = add(graph, 4);
	(*node)->child = child;
	return 0;
}

struct node_params {
	int type, reserved[3];
	union {
		struct alloc_params alloc;
		CUdeviceptr freed;
	};
};

EXPORT int cuGraphAddNode(struct node **node, struct graph *graph, const void *after, size_t count, struct node_params *params)
{
	if (params->type == 10)
		return cuGraphAddMemAllocNode(node, graph, after, count, &params->alloc);
	*node = add(graph, params->type);
	(*node)->pointer = params->type == 11 ? params->freed : 0;
	return 0;
}

EXPORT int cuGraphAddNode_v2(struct node **node, struct graph *graph, const void *after, const void *edges, size_t count,
                             struct node_params *params)
{
	(void)edges;
	return cuGraphAddNode(node, graph, after, count, params);
}

EXPORT int cuGraphAddNode_v3(struct node **node, struct graph *graph, const void *after, const void *edges, size_t count,
                             struct node_params *params)
{
	(void)edges;
	return cuGraphAddNode(node, graph, after, count, params);
}

EXPORT int cuGraphGetNodes(struct graph *graph, struct node **nodes, size_t *count)
{
	if (nodes)
		for (unsigned i = 0; i < graph->count; i++)
			nodes[i] = &graph->nodes[i];
	*count = graph->count;
	return 0;
}

EXPORT int cuGraphNodeGetType(const struct node *node, int *type)
{
	*type = node->type;
	return 0;
}

EXPORT int cuGraphMemAllocNodeGetParams(const struct node *node, struct alloc_params *params)
{
	memset(params, 0, sizeof(*params));
	params->properties.location.type = 1;
	params->properties.location.id = node->device;
	params->bytes = node->bytes;
	params->pointer = node->pointer;
	return 0;
}

EXPORT int cuGraphChildGraphNodeGetGraph(const struct node *node, struct graph **graph)
{
	*graph = node->child;
	return 0;
}

/* With the lock: let the reserve of a graph's devices grow until it holds what the graph allocates. */
static int back(const struct graph *graph)
{
	uint64_t needed[DEVICES] = { 0 };

	for (unsigned i = 0; i < graph->count; i++) {
		if (graph->nodes[i].type == 10)
			needed[graph->nodes[i].device] += graph->nodes[i].bytes;
		if (graph->nodes[i].type == 4 && back(graph->nodes[i].child))
			return 2;
	}
	for (int device = 0; device < DEVICES; device++) {
		uint64_t unused = graph_reserved[device] - graph_used[device], more;

		if (needed[device] <= unused)
			continue;
		more = round_up(needed[device] - unused, step());
		if (take(device, more) != 0)
			return 2;
		graph_reserved[device] += more;
	}
	return 0;
}

/* With the lock. */
static int run_nodes(const struct graph *graph)
{
	for (unsigned i = 0; i < graph->count; i++) {
		const struct node *node = &graph->nodes[i];
		unsigned place = 0;

		if (node->type == 4)
			run_nodes(node->child);
		if (node->type == 11 && !free_held(node->pointer))
			free_in_pool(node->pointer);
		if (node->type != 10)
			continue;
		while (held[place].pointer)
			place++;
		held_used = place < held_used ? held_used : place + 1;
		held[place].pointer = node->pointer;
		held[place].bytes = node->bytes;
		held[place].device = node->device;
		graph_used[node->device] += node->bytes;
	}
	return 0;
}

static bool holds_any(const struct graph *graph, bool release)
{
	bool any = false;

	for (unsigned i = 0; i < graph->count; i++)
		for (unsigned place = 0; place < held_used; place++)
			if (graph->nodes[i].type == 10 && held[place].pointer == graph->nodes[i].pointer) {
				any = true;
				if (release)
					free_held(held[place].pointer);
			}
	return any;
}

EXPORT int cuGraphInstantiateWithFlags(struct exec **exec, const struct graph *graph, unsigned long long flags)
{
	int code = 0;

	pthread_mutex_lock(&lock);
	if (getenv("STUB_EAGER_GRAPHS"))
		code = back(graph);
	if (!code) {
		*exec = malloc(sizeof(**exec));
		(*exec)->graph = *graph;
		(*exec)->flags = flags;
	}
	pthread_mutex_unlock(&lock);
	return code;
}

EXPORT int cuGraphInstantiate_v2(struct exec **exec, const struct graph *graph, void *node, char *log, size_t length)
{
	(void)node, (void)log, (void)length;
	return cuGraphInstantiateWithFlags(exec, graph, 0);
}

EXPORT int cuGraphInstantiateWithParams(struct exec **exec, const struct graph *graph, const unsigned long long *params)
{
	return cuGraphInstantiateWithFlags(exec, graph, params[0]);
}

EXPORT int cuGraphUpload(struct exec *exec, void *stream)
{
	int code;

	(void)stream;
	pthread_mutex_lock(&lock);
	code = back(&exec->graph);
	pthread_mutex_unlock(&lock);
	return code;
}

/* Flag 1 frees what the last launch left; without it such a graph cannot be launched again. */
EXPORT int cuGraphLaunch(struct exec *exec, void *stream)
{
	int code = 0;

	(void)stream;
	pthread_mutex_lock(&lock);
	if (holds_any(&exec->graph, exec->flags & 1) && !(exec->flags & 1))
		code = 1;
	if (!code)
		code = back(&exec->graph);
	if (!code)
		code = run_nodes(&exec->graph);
	pthread_mutex_unlock(&lock);
	return code;
}

EXPORT int cuGraphLaunch_ptsz(struct exec *exec, void *stream)
{
	return cuGraphLaunch(exec, stream);
}

EXPORT int cuGraphExecDestroy(struct exec *exec)
{
	free(exec);
	return 0;
}

EXPORT int cuDeviceGraphMemTrim(int device)
{
	uint64_t kept;

	pthread_mutex_lock(&lock);
	kept = round_up(graph_used[device], step());
	kept = kept < graph_reserved[device] ? kept : graph_reserved[device];
	uncount(device, graph_reserved[device] - kept);
	graph_reserved[device] = kept;
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT int cuDeviceGetGraphMemAttribute(int device, int attribute, uint64_t *value)
{
	*value = attribute == 2 ? graph_reserved[device] : graph_used[device];
	return 0;
}
