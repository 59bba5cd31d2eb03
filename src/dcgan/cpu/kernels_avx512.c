/*
 * kernels_avx512.c - the inner loops for AVX-512: vectors of 64 bytes, 32 registers
 */
#ifdef __x86_64__
#define KERNELS kernels_avx512
#define KERNELS_NAME "AVX-512"
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,fma,prefer-vector-width=512")
#endif
#include "kernels_body.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int kernels_avx512_none; /* a file must declare something */
#endif
