/*
 * kernels_portable.c - the inner loops for whatever the compiler was told to build for: vectors of
 * 16 bytes
 */
#define KERNELS kernels_portable
#define KERNELS_NAME "portable"
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#include "kernels_body.h"
