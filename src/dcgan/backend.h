/*
 * backend.h - the table of functions that do the networks' arithmetic
 *
 * A backend is a folder beside cpu/ that fills in this table. All images are NHWC; "rows" counts
 * images x rows x columns. Gradients named d… of parameters are added to; those of activations are
 * written. A null pointer means: not wanted.
 */
#ifndef DCGAN_BACKEND_H
#define DCGAN_BACKEND_H

#include "dcgan.h"
#include "cpu/pool.h"

/* The memory and threads that every function uses. */
typedef struct dcgan_work {
    real *scratch; /* scratch_count floats, aligned to a cache line */
    pool *pool;    /* threads; NULL: the caller's alone */
} dcgan_work;

typedef struct dcgan_backend {
    const char *name;

    /* Computes the floats of scratch memory that a layer of a shape needs for a number of
     * images. */
    size_t (*scratch_count)(const dcgan_convolution *shape, size_t images);

    /* small[images][h][w][b] = sum of large[images][H][W][a] weights[b][ky][kx][a] */
    void (*convolution)(real *small, const real *large, const real *weights, size_t images,
                        const dcgan_convolution *shape, const dcgan_work *work);

    /* large[images][H][W][a] = sum of small[images][h][w][b] weights[b][ky][kx][a]: the adjoint of
     * convolution */
    void (*transposed_convolution)(real *large, const real *small, const real *weights,
                                   size_t images, const dcgan_convolution *shape,
                                   const dcgan_work *work);

    /* dweights[b][ky][kx][a] += sum of large[…][a] small[…][b]: the gradient of both, with d… in
     * place of the output */
    void (*weight_gradient)(real *dweights, const real *large, const real *small, size_t images,
                            const dcgan_convolution *shape, const dcgan_work *work);

    /* mean[c], variance[c] (biased) of x[rows][c] */
    void (*moments)(real *mean, real *variance, const real *x, size_t rows, size_t channels,
                    const dcgan_work *work);

    /* y = rectify(scale (x - mean) / sqrt(variance + epsilon) + shift): batch norm and what follows
     * it (y may be x) */
    void (*normalise)(real *y, const real *x, const real *mean, const real *variance,
                      const real *scale, const real *shift, size_t rows, size_t channels,
                      real slope, const dcgan_work *work);

    /* dx from dy, and dscale, dshift (added to, or null) (dx may be dy) */
    void (*normalise_backward)(real *dx, real *dscale, real *dshift, const real *dy, const real *x,
                               const real *mean, const real *variance, const real *scale,
                               const real *shift, size_t rows, size_t channels, real slope,
                               const dcgan_work *work);

    /* x = x > 0 ? x : slope x, in place; and dx = dy (y > 0 ? 1 : slope), in place on dy */
    void (*rectify)(real *x, size_t count, real slope, const dcgan_work *work);
    void (*rectify_backward)(real *dy, const real *y, size_t count, real slope,
                             const dcgan_work *work);

    /* x = tanh(x), in place; and dx = dy (1 - y^2), in place on dy */
    void (*hyperbolic_tangent)(real *x, size_t count, const dcgan_work *work);
    void (*hyperbolic_tangent_backward)(real *dy, const real *y, size_t count,
                                        const dcgan_work *work);
} dcgan_backend;

/* For work: Winograd's convolution where it fits, im2col elsewhere (cpu/paths.c). */
extern const dcgan_backend dcgan_backend_cpu;

/* The plainest loops, in double precision: the reference of the tests, and a fallback. */
extern const dcgan_backend dcgan_backend_naive;

#endif
