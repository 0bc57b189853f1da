/*
 * Locks on the state file that the kernel keeps: OFD record locks. They work between different libcs and PID namespaces, and vanish with
 * their owner, however it ends. They exclude open file descriptions, not threads: callers of one process exclude each other themselves.
 *
 * 0.6 us a call: only for what is rare.
 */
#ifndef HAMI_MOCK_LOCK_H
#define HAMI_MOCK_LOCK_H

#include <stdbool.h>

/* The table of processes: held while rows are claimed or dropped. Waits two seconds at most, for its holder may be a process that was stopped.
 * Returns false then, and if the kernel refuses (errno). */
bool lock_table(int file);
void unlock_table(int file);

/* One row's life. Returns false if another process holds it. */
bool lock_row(int file, unsigned row);
void unlock_row(int file, unsigned row);

/* Whether somebody else holds it. "Cannot tell" counts as held. */
bool row_is_locked(int file, unsigned row);

/* The life of shared memory: a lock for reading on its own file, which goes with the last copy of the descriptor it was taken through. */
bool lock_memory(int memory);
bool memory_is_locked(int memory);

#endif
