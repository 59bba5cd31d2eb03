/*
 * kernels_avx2.c - the inner loops for AVX2 with FMA: vectors of 32 bytes, 16 registers
 */
#ifdef __x86_64__
#define KERNELS kernels_avx2
#define KERNELS_NAME "AVX2"
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "kernels_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int kernels_avx2_none; /* a file must declare something */
#endif
