/*
 * paths.h - chooses how each layer's convolution is computed
 */
#ifndef DCGAN_CPU_PATHS_H
#define DCGAN_CPU_PATHS_H

#include "../dcgan.h"

/* Names the path that serves a shape, for people: "Winograd (AVX-512)", "im2col". The text is
 * static. */
const char *cpu_path_name(const dcgan_convolution *s);

/* For tests and benchmarks: prefers a path ("im2col", "Winograd") from now on, in all threads;
 * NULL: the table's choice again. Returns 0 if there is none of that name. */
int cpu_path_prefer(const char *name);

#endif
