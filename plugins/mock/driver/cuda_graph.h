/* Graphs: nodes, each a piece of work, and what must be done before each. Not locked: programs take turns with a graph, as the interface asks. */
#ifndef HAMI_MOCK_CUDA_GRAPH_H
#define HAMI_MOCK_CUDA_GRAPH_H

#include "cuda_work.h"

/* A growing list of nodes. */
struct nodes {
	CUgraphNode *at;
	size_t count, room;
};

/* Records are reused and never freed, so a stale handle is recognised. */
struct CUgraphNode_st {
	uint32_t magic;                         /* 0 once destroyed */
	bool disabled;
	unsigned int id;                        /* in its graph */
	CUgraph graph;
	CUgraphNode origin;                     /* what it is a copy of; NULL: of none */
	struct work work;
	struct nodes before, after;
	CUgraphNode next_free;
};

struct user_reference {
	CUuserObject object;
	unsigned int count;
	struct user_reference *next;
};

struct CUgraph_st {
	uint32_t magic;
	unsigned int id;
	unsigned int last_node;
	bool inner;                             /* a child node's or an executable's: nobody else destroys it */
	struct nodes nodes;
	struct user_reference *users;
	CUgraph next_free;
};

CUresult graph_check(CUgraph graph);
CUresult node_check(CUgraphNode node);

/* A new, empty graph; NULL if the host has no room. */
CUgraph graph_new(void);
void graph_end(CUgraph graph);

/* A copy, its nodes in the same order. */
CUgraph graph_copy(CUgraph graph);

/* The copy of NODE in a graph. NULL if there is none. */
CUgraphNode graph_find_copy(CUgraph graph, CUgraphNode node);

/* A new node behind others. The work's own graph, if it has one, is copied; its memory is referred to. */
CUresult graph_add(CUgraph graph, const struct work *work, const CUgraphNode *before, size_t count, CUgraphNode *node);
CUresult graph_add_edge(CUgraphNode from, CUgraphNode to);
void node_end(CUgraphNode node);

/* Give a node other work of its type. */
CUresult node_set(CUgraphNode node, const struct work *work);

/* Nodes in an order that respects what goes before what; false if there is none. The caller frees. */
bool graph_order(CUgraph graph, struct nodes *order);

/* Do all of it, in order, in a stream. */
CUresult graph_run(CUstream stream, CUgraph graph);

bool nodes_add(struct nodes *nodes, CUgraphNode node);
bool nodes_hold(const struct nodes *nodes, CUgraphNode node);
void nodes_take(struct nodes *nodes, CUgraphNode node);

/* Answer a list into an array of *COUNT places, or only the number where there is no array, as the interface says. */
CUresult nodes_give(const struct nodes *nodes, CUgraphNode *out, size_t *count);

/* User objects that a graph keeps (cuda_user_object.c). */
void users_release_all(CUgraph graph);
bool users_copy(CUgraph to, CUgraph from);

#endif
