/*
 * kernels_portable.c - the inner loops for the compiler's target: vectors of 16 bytes
 */
#define KERNELS kernels_portable
#define KERNELS_NAME "portable"
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#include "kernels_body.h"
