/*
 * text.c - the kernels' text, in the order in which it is compiled
 *
 * The build turns each .cl into lines of a C string (src/sources.mk).
 */
#include "gpu.h"

const char *const gpu_text[] = {
#include "portable.cl.inc"
    ,
#include "layers.cl.inc"
    ,
#include "unit.cl.inc"
    ,
#include "narrow.cl.inc"
    ,
    "#define BLOCK 4\n"
    "#define PRODUCT(name) name##_64\n"
#include "products.cl.inc"
    "#undef BLOCK\n"
    "#undef PRODUCT\n",
    "#define BLOCK 8\n"
    "#define PRODUCT(name) name##_128\n"
#include "products.cl.inc"
};
const size_t gpu_text_count = sizeof gpu_text / sizeof *gpu_text;
