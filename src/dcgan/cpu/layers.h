/*
 * layers.h - batch norm and activations on the CPU; backend.h says what each computes
 */
#ifndef DCGAN_CPU_LAYERS_H
#define DCGAN_CPU_LAYERS_H

#include "../dcgan.h"

void layer_moments(real *mean, real *variance, const real *x, size_t rows, size_t channels);
void layer_normalise(real *y, const real *x, const real *mean, const real *variance, const real *scale,
                     const real *shift, size_t rows, size_t channels, real slope);
void layer_normalise_backward(real *dx, real *dscale, real *dshift, const real *dy, const real *y,
                              const real *x, const real *mean, const real *variance, const real *scale,
                              size_t rows, size_t channels, real slope);
void layer_rectify(real *x, size_t count, real slope);
void layer_rectify_backward(real *dy, const real *y, size_t count, real slope);
void layer_hyperbolic_tangent(real *x, size_t count);
void layer_hyperbolic_tangent_backward(real *dy, const real *y, size_t count);

#endif
