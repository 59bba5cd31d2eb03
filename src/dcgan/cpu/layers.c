/*
 * layers.c - batch norm (Ioffe and Szegedy 2015) and activations on the CPU
 *
 * NHWC makes the channels of a pixel neighbours, so batch norm works on blocks of channels: their sums stay in
 * registers and the first level cache while the rows stream by. Sums over rows are kept in double precision.
 */
#include "layers.h"

#include <math.h>

#define CHANNEL_BLOCK 64 /* channels whose sums are held at a time */

/* Lets the compiler write a loop once for every width of vector and choose when the program starts. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Computes mean and biased variance of a block of channels, in two passes: no cancellation. */
VECTORISED static void moments_block(real *mean, real *variance, const real *x, size_t rows, size_t channels,
                                     size_t block) {
    double sum[CHANNEL_BLOCK] = {0}, square[CHANNEL_BLOCK] = {0}, centre[CHANNEL_BLOCK];

    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < block; c++)
            sum[c] += (double)x[r * channels + c];
    for (size_t c = 0; c < block; c++)
        centre[c] = sum[c] / (double)rows;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < block; c++) {
            double d = (double)x[r * channels + c] - centre[c];
            square[c] += d * d;
        }
    for (size_t c = 0; c < block; c++) {
        mean[c] = (real)centre[c];
        variance[c] = (real)(square[c] / (double)rows);
    }
}

void layer_moments(real *mean, real *variance, const real *x, size_t rows, size_t channels) {
    for (size_t c = 0; c < channels; c += CHANNEL_BLOCK)
        moments_block(mean + c, variance + c, x + c, rows, channels, smaller(CHANNEL_BLOCK, channels - c));
}

/* Computes y = rectify(factor x + offset) for a block of channels. */
VECTORISED static void normalise_block(real *y, const real *x, const real *factor, const real *offset,
                                       size_t rows, size_t channels, size_t block, real slope) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < block; c++) {
            real v = factor[c] * x[r * channels + c] + offset[c];
            y[r * channels + c] = v > 0 ? v : slope * v;
        }
}

void layer_normalise(real *y, const real *x, const real *mean, const real *variance, const real *scale,
                     const real *shift, size_t rows, size_t channels, real slope) {
    real factor[CHANNEL_BLOCK], offset[CHANNEL_BLOCK];

    for (size_t first = 0; first < channels; first += CHANNEL_BLOCK) {
        size_t block = smaller(CHANNEL_BLOCK, channels - first);
        for (size_t c = 0; c < block; c++) {
            double f = (double)scale[first + c] / sqrt((double)variance[first + c] + DCGAN_NORM_EPSILON);
            factor[c] = (real)f;
            offset[c] = (real)((double)shift[first + c] - f * (double)mean[first + c]);
        }
        normalise_block(y + first, x + first, factor, offset, rows, channels, block, slope);
    }
}

/* Sums dv and dv x^ over rows, where dv = dy (y > 0 ? 1 : slope) and x^ is the normalised x. */
VECTORISED static void normalise_sums(double *sum_dv, double *sum_dvx, const real *dy, const real *y,
                                      const real *x, const real *mean, const real *inverse, size_t rows,
                                      size_t channels, size_t block, real slope) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < block; c++) {
            size_t i = r * channels + c;
            real dv = y[i] > 0 ? dy[i] : slope * dy[i];
            real normalised = (x[i] - mean[c]) * inverse[c];
            sum_dv[c] += (double)dv;
            sum_dvx[c] += (double)(dv * normalised);
        }
}

/* Computes dx = scale inverse (dv - mean(dv) - x^ mean(dv x^)) for a block of channels. */
VECTORISED static void normalise_dx(real *dx, const real *dy, const real *y, const real *x, const real *mean,
                                    const real *inverse, const real *factor, const real *mean_dv,
                                    const real *mean_dvx, size_t rows, size_t channels, size_t block,
                                    real slope) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < block; c++) {
            size_t i = r * channels + c;
            real dv = y[i] > 0 ? dy[i] : slope * dy[i];
            real normalised = (x[i] - mean[c]) * inverse[c];
            dx[i] = factor[c] * (dv - mean_dv[c] - normalised * mean_dvx[c]);
        }
}

void layer_normalise_backward(real *dx, real *dscale, real *dshift, const real *dy, const real *y,
                              const real *x, const real *mean, const real *variance, const real *scale,
                              size_t rows, size_t channels, real slope) {
    for (size_t first = 0; first < channels; first += CHANNEL_BLOCK) {
        size_t block = smaller(CHANNEL_BLOCK, channels - first);
        double sum_dv[CHANNEL_BLOCK] = {0}, sum_dvx[CHANNEL_BLOCK] = {0};
        real inverse[CHANNEL_BLOCK], factor[CHANNEL_BLOCK], mean_dv[CHANNEL_BLOCK], mean_dvx[CHANNEL_BLOCK];

        for (size_t c = 0; c < block; c++) {
            inverse[c] = (real)(1 / sqrt((double)variance[first + c] + DCGAN_NORM_EPSILON));
            factor[c] = scale[first + c] * inverse[c];
        }
        normalise_sums(sum_dv, sum_dvx, dy + first, y + first, x + first, mean + first, inverse, rows, channels,
                       block, slope);
        for (size_t c = 0; c < block; c++) {
            mean_dv[c] = (real)(sum_dv[c] / (double)rows);
            mean_dvx[c] = (real)(sum_dvx[c] / (double)rows);
            if (dscale)
                dscale[first + c] += (real)sum_dvx[c];
            if (dshift)
                dshift[first + c] += (real)sum_dv[c];
        }
        normalise_dx(dx + first, dy + first, y + first, x + first, mean + first, inverse, factor, mean_dv,
                     mean_dvx, rows, channels, block, slope);
    }
}

VECTORISED void layer_rectify(real *x, size_t count, real slope) {
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] > 0 ? x[i] : slope * x[i];
}

/* The slope is positive or y is 0, so the sign of y is the sign of x. */
VECTORISED void layer_rectify_backward(real *dy, const real *y, size_t count, real slope) {
    for (size_t i = 0; i < count; i++)
        dy[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}

void layer_hyperbolic_tangent(real *x, size_t count) {
    for (size_t i = 0; i < count; i++)
#ifdef DCGAN_DOUBLE
        x[i] = tanh(x[i]);
#else
        x[i] = tanhf(x[i]);
#endif
}

VECTORISED void layer_hyperbolic_tangent_backward(real *dy, const real *y, size_t count) {
    for (size_t i = 0; i < count; i++)
        dy[i] *= 1 - y[i] * y[i];
}
