/* Sleeping on a word of the state file, between processes. */
#ifndef HAMI_MOCK_FUTEX_H
#define HAMI_MOCK_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleep while WORD is SEEN, for NANOSECONDS at most. May return early. Keeps errno. */
void futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t nanoseconds);

/* Wake everybody who sleeps on WORD. */
void futex_wake(_Atomic uint32_t *word);

#endif
