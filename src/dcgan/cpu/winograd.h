/*
 * winograd.h - the three convolutions by Winograd's F(4x4, 2x2) (kernels.h)
 */
#ifndef DCGAN_CPU_WINOGRAD_H
#define DCGAN_CPU_WINOGRAD_H

#include "work.h"

/* Tells whether a shape can be computed: stride 2, whole tiles, whole vectors. */
int winograd_takes(const dcgan_convolution *s);

size_t winograd_scratch_count(const dcgan_convolution *s, size_t images);
void winograd_convolution(real *small, const real *large, const real *weights, size_t images,
                          const dcgan_convolution *s, const dcgan_work *work);
void winograd_transposed_convolution(real *large, const real *small, const real *weights,
                                     size_t images, const dcgan_convolution *s,
                                     const dcgan_work *work);
void winograd_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                              const dcgan_convolution *s, const dcgan_work *work);

#endif
