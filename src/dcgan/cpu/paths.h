/*
 * paths.h - chooses how each layer's convolution is computed
 */
#ifndef DCGAN_CPU_PATHS_H
#define DCGAN_CPU_PATHS_H

#include "work.h"

/* Names the path that serves a shape, for people: "Winograd (AVX-512)", "im2col". The text is
 * static. */
const char *cpu_path_name(const dcgan_convolution *s);

/* For tests and benchmarks: prefers a path ("im2col", "Winograd") from now on, in all threads;
 * NULL: the table's choice again. Returns 0 if there is none of that name. */
int cpu_path_prefer(const char *name);

/* Counts the reals of scratch memory that a layer's convolutions need. */
size_t cpu_path_scratch_count(const dcgan_convolution *s, size_t images);

/* backend.h says what each computes. */
void cpu_convolution(real *small, const real *large, const real *weights, size_t images,
                     const dcgan_convolution *s, const dcgan_work *work);
void cpu_transposed_convolution(real *large, const real *small, const real *weights, size_t images,
                                const dcgan_convolution *s, const dcgan_work *work);
void cpu_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                         const dcgan_convolution *s, const dcgan_work *work);

#endif
