/*
 * arena.h - hands out pieces of the caller's workspace
 *
 * The same walk over the pieces runs twice: with base null it only adds up sizes, then it hands out
 * addresses. So the size that is asked for and the size that is used can't differ.
 */
#ifndef DCGAN_ARENA_H
#define DCGAN_ARENA_H

#include "../dcgan.h"

typedef struct dcgan_arena {
    unsigned char *base; /* null: only measuring */
    size_t used;
    int overflow;
} dcgan_arena;

/* Takes room for a x b reals, aligned to a cache line; returns null when measuring. */
real *arena_take(dcgan_arena *arena, size_t a, size_t b);

/* Takes room for count doubles. */
double *arena_take_doubles(dcgan_arena *arena, size_t count);

/* Starts an arena in a workspace of any alignment. */
dcgan_arena arena_begin(void *workspace);

/* Returns the bytes a workspace must have, alignment included, or DCGAN_TOO_LARGE. */
dcgan_status arena_end(const dcgan_arena *arena, size_t *bytes);

#endif
