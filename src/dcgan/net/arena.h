/*
 * arena.h - hands out pieces of memory: of the host's or of a device's
 *
 * The same walk over the pieces runs twice: without memory it only adds up sizes, then it hands out
 * tensors. So the size that is asked for and the size that is used can't differ.
 */
#ifndef DCGAN_ARENA_H
#define DCGAN_ARENA_H

#include "../backend.h"

typedef struct dcgan_arena {
    tensor memory; /* none: only measuring */
    size_t used;   /* reals */
    int overflow;
} dcgan_arena;

/* Takes room for a x b reals, aligned to a cache line; without memory when measuring. */
tensor arena_take(dcgan_arena *arena, size_t a, size_t b);

/* Takes room for count sums. */
tensor arena_take_sums(dcgan_arena *arena, size_t count);

/* The same of the host's memory. */
real *arena_take_reals(dcgan_arena *arena, size_t a, size_t b);
double *arena_take_doubles(dcgan_arena *arena, size_t count);

/* Starts an arena in a workspace of any alignment, or in none. */
dcgan_arena arena_begin(void *workspace);

/* Returns the bytes that a workspace must have for two arenas, one behind the other, alignment
 * included, or DCGAN_TOO_LARGE. */
dcgan_status arena_end(const dcgan_arena *arena, const dcgan_arena *second, size_t *bytes);

#endif
