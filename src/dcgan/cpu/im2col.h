/*
 * im2col.h - the three convolutions as products of matrices
 */
#ifndef DCGAN_CPU_IM2COL_H
#define DCGAN_CPU_IM2COL_H

#include "work.h"

int im2col_takes(const dcgan_convolution *s); /* every shape */
size_t im2col_scratch_count(const dcgan_convolution *s, size_t images);
void im2col_convolution(real *small, const real *large, const real *weights, size_t images,
                        const dcgan_convolution *s, const dcgan_work *work);
void im2col_transposed_convolution(real *large, const real *small, const real *weights,
                                   size_t images, const dcgan_convolution *s,
                                   const dcgan_work *work);
void im2col_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                            const dcgan_convolution *s, const dcgan_work *work);

#endif
