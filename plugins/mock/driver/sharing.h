/*
 * Memory that more than one process holds: exported by file descriptor or by an IPC handle. It is charged once. From the moment that its
 * owner shares it out its bytes are in a file of the folder `memory` beside the state, and its charge is the device's and no longer the owner's
 * row's: in one operation, so the device's total never moves. It is the owner's still for whoever asks what a process holds.
 *
 * Every holder keeps the file open and locked for reading: its owner, each process that imported it, and each exported descriptor, wherever it
 * is, on its way through a socket too. The kernel takes a lock away with its last descriptor, whatever ended the process. Memory whose file
 * nobody has locked is nobody's, and whoever holds the table lock gives it back.
 *
 * All but sharing_in_use() and sharing_held() want the table lock or take it, as said beside them; threads of a process take turns.
 */
#ifndef HAMI_MOCK_SHARING_H
#define HAMI_MOCK_SHARING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct change;
struct state;

enum { SHARING_MEMORY = 4096, SHARING_EVENTS = 1024 };

/* One piece of memory. Written under the table lock. */
struct state_memory {
	_Atomic uint64_t id;                    /* 0: no memory. An id is used once */
	uint32_t row;                           /* the owner's; 0 once it is gone or has let go */
	uint32_t device;
	uint64_t requested;
	uint64_t physical;
	uint64_t size;                          /* of the file */
	uint64_t file;                          /* its inode */
	uint64_t operation;                     /* the number of the one that takes or gives back the charge */
	uint32_t phase;
	uint32_t actor;                         /* the row that does so */
};

/* An event that several processes know. */
struct state_event {
	_Atomic uint64_t id;                    /* 0: no event */
	_Atomic uint64_t done;                  /* when its last record is reached */
	_Atomic uint32_t row;                   /* the owner's */
	uint32_t unused;
};

struct state_sharing {
	_Atomic uint64_t last_id;
	_Atomic uint32_t used;                  /* the places of `memory` above are free: bounds scans */
	uint32_t unused;
	struct state_memory memory[SHARING_MEMORY];
	struct state_event event[SHARING_EVENTS];
};

/* What an importer learns. */
struct shared_memory {
	uint64_t id;
	uint32_t device;
	uint64_t requested;
	uint64_t size;
};

/*
 * Share out memory that ROW holds on DEVICE. Takes the table lock. Returns its id and the file, locked and SIZE bytes long, all zero; 0 and no file
 * if that cannot be had.
 */
uint64_t sharing_publish(struct state *state, int file, unsigned row, unsigned device, const struct change *held, uint64_t size,
                         int *memory);

/* Open shared memory by id, or recognise an open descriptor of it. Take the table lock. Return the file, locked, or -1. */
int sharing_open(struct state *state, int file, uint64_t id, struct shared_memory *about);
bool sharing_recognise(struct state *state, int file, int memory, struct shared_memory *about);

/* A holder has closed its file; ROW is its row. Takes the table lock. */
void sharing_close(struct state *state, int file, unsigned row, uint64_t id);

/* Give back what nobody holds. Under the table lock. */
void sharing_collect(struct state *state, int file);

/* A process is gone: what it shared out has no owner. Under the table lock, before the row is changed. */
void sharing_orphan(struct state *state, int file, unsigned row);

/* Whether there is any shared memory. */
bool sharing_in_use(struct state *state);

/* Add what ROW has shared out of DEVICE. */
void sharing_held(struct state *state, unsigned row, unsigned device, struct change *held);

/* A place for an event of ROW, by a new id; 0 if there is none. Takes the table lock. NULL if there is no event of that id. */
uint64_t sharing_event_begin(struct state *state, int file, unsigned row);
struct state_event *sharing_event(struct state *state, uint64_t id);
void sharing_event_end(struct state *state, uint64_t id);

#endif
