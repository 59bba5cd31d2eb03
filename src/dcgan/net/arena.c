/*
 * arena.c - hands out pieces of the caller's workspace
 */
#include "arena.h"

#define ALIGNMENT ((size_t)64)

/* Takes a x b items of a size, checked for overflow. */
static void *take(dcgan_arena *arena, size_t a, size_t b, size_t item) {
    size_t bytes, end;
    void *piece = arena->base ? arena->base + arena->used : NULL;

    if (__builtin_mul_overflow(a, b, &bytes) || __builtin_mul_overflow(bytes, item, &bytes) ||
        __builtin_add_overflow(bytes, ALIGNMENT - 1, &bytes) ||
        __builtin_add_overflow(arena->used, bytes / ALIGNMENT * ALIGNMENT, &end)) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used = end;
    return piece;
}

/* Takes room for a x b reals, aligned to a cache line; returns null when measuring. */
real *arena_take(dcgan_arena *arena, size_t a, size_t b) {
    return take(arena, a, b, sizeof(real));
}

/* Takes room for count doubles. */
double *arena_take_doubles(dcgan_arena *arena, size_t count) {
    return take(arena, count, 1, sizeof(double));
}

/* Starts an arena in a workspace of any alignment. */
dcgan_arena arena_begin(void *workspace) {
    size_t misaligned = (uintptr_t)workspace % ALIGNMENT;
    return (dcgan_arena){.base = workspace ? (unsigned char *)workspace +
                                                 (misaligned ? ALIGNMENT - misaligned : 0)
                                           : NULL};
}

/* Returns the bytes a workspace must have, alignment included, or DCGAN_TOO_LARGE. */
dcgan_status arena_end(const dcgan_arena *arena, size_t *bytes) {
    if (arena->overflow || __builtin_add_overflow(arena->used, ALIGNMENT, bytes))
        return DCGAN_TOO_LARGE;
    return DCGAN_OK;
}
