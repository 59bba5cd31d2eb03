/*
 * layers.h - batch norm and activations on the CPU; backend.h says what each computes
 */
#ifndef DCGAN_CPU_LAYERS_H
#define DCGAN_CPU_LAYERS_H

#include "work.h"

/* Computes the floats of scratch memory that batch norm behind a convolution of a shape needs. */
size_t layer_scratch_count(const dcgan_convolution *s);

void layer_moments(real *mean, real *variance, const real *x, size_t rows, size_t channels,
                   const dcgan_work *work);
void layer_normalise(real *y, const real *x, const real *mean, const real *variance,
                     const real *scale, const real *shift, size_t rows, size_t channels, real slope,
                     const dcgan_work *work);
void layer_normalise_backward(real *dx, real *dscale, real *dshift, const real *dy, const real *x,
                              const real *mean, const real *variance, const real *scale,
                              const real *shift, size_t rows, size_t channels, real slope,
                              const dcgan_work *work);
void layer_rectify(real *x, size_t count, real slope, const dcgan_work *work);
void layer_rectify_backward(real *dy, const real *y, size_t count, real slope,
                            const dcgan_work *work);
void layer_hyperbolic_tangent(real *x, size_t count, const dcgan_work *work);
void layer_hyperbolic_tangent_backward(real *dy, const real *y, size_t count,
                                       const dcgan_work *work);

#endif
