/*
 * Several processes meet at a folder: each leaves a file named <phase>.<pid> there, and goes on when as many files of the phase
 * are there as parties were announced. Anybody can take part by making a file. Waiting is for the folder's changes, not by
 * the clock.
 */
#ifndef HAMI_RENDEZVOUS_H
#define HAMI_RENDEZVOUS_H

#include <stdbool.h>

/* True when all have come; false when the folder cannot be used, or somebody is missing after a minute. */
bool rendezvous(const char *folder, const char *phase, int parties);

#endif
