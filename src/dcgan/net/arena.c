/*
 * arena.c - hands out pieces of memory
 */
#include "arena.h"

#define ALIGNMENT ((size_t)64)
#define ALIGNMENT_REALS (ALIGNMENT / sizeof(real))

tensor arena_take(dcgan_arena *arena, size_t a, size_t b) {
    tensor piece = tensor_at(arena->memory, arena->used);
    size_t count, end;

    if (__builtin_mul_overflow(a, b, &count) ||
        __builtin_add_overflow(count, ALIGNMENT_REALS - 1, &count) ||
        __builtin_add_overflow(arena->used, count / ALIGNMENT_REALS * ALIGNMENT_REALS, &end)) {
        arena->overflow = 1;
        return (tensor){0};
    }
    arena->used = end;
    return piece;
}

tensor arena_take_sums(dcgan_arena *arena, size_t count) {
    return arena_take(arena, count, SUM_REALS);
}

real *arena_take_reals(dcgan_arena *arena, size_t a, size_t b) {
    tensor piece = arena_take(arena, a, b);
    return piece.memory ? (real *)piece.memory + piece.first : NULL;
}

double *arena_take_doubles(dcgan_arena *arena, size_t count) {
    return (double *)(void *)arena_take_reals(arena, count, SUM_REALS);
}

dcgan_arena arena_begin(void *workspace) {
    size_t misaligned = (uintptr_t)workspace % ALIGNMENT;
    unsigned char *base = workspace;

    return (dcgan_arena){
        .memory = {base && misaligned ? base + (ALIGNMENT - misaligned) : base, 0}};
}

dcgan_status arena_end(const dcgan_arena *arena, const dcgan_arena *second, size_t *bytes) {
    size_t reals;

    if (arena->overflow || second->overflow ||
        __builtin_add_overflow(arena->used, second->used, &reals) ||
        __builtin_mul_overflow(reals, sizeof(real), bytes) ||
        __builtin_add_overflow(*bytes, ALIGNMENT, bytes))
        return DCGAN_TOO_LARGE;
    return DCGAN_OK;
}
