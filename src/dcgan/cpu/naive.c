/*
 * naive.c - every layer as its definition says, in double precision
 *
 * The reference that the fast layers are tested against, and a fallback. Slow on purpose: nothing
 * here is clever.
 */
#include "../backend.h"

#include <math.h>

/* Finds the offset of a pixel of the larger image under kernel position (ky, kx); returns 0 outside
 * the image. */
static int large_pixel(const dcgan_convolution *s, size_t n, size_t i, size_t j, size_t ky,
                       size_t kx, size_t *offset) {
    size_t u = s->stride * i + ky,
           v = s->stride * j + kx; /* shifted by padding, so that they can't be negative */

    if (u < s->padding || v < s->padding || u - s->padding >= s->large_height ||
        v - s->padding >= s->large_width)
        return 0;
    *offset = ((n * s->large_height + u - s->padding) * s->large_width + v - s->padding) *
              s->large_channels;
    return 1;
}

static size_t scratch_count(const dcgan_convolution *s, size_t images) {
    (void)s, (void)images;
    return 0;
}

static void convolution(real *small, const real *large, const real *weights, size_t images,
                        const dcgan_convolution *s, const dcgan_work *work) {
    size_t o;

    (void)work;
    for (size_t n = 0; n < images; n++)
        for (size_t i = 0; i < s->small_height; i++)
            for (size_t j = 0; j < s->small_width; j++)
                for (size_t b = 0; b < s->small_channels; b++) {
                    double sum = 0;
                    for (size_t k = 0; k < 16; k++)
                        if (large_pixel(s, n, i, j, k / 4, k % 4, &o))
                            for (size_t a = 0; a < s->large_channels; a++)
                                sum += (double)large[o + a] *
                                       (double)weights[(b * 16 + k) * s->large_channels + a];
                    small[((n * s->small_height + i) * s->small_width + j) * s->small_channels +
                          b] = (real)sum;
                }
}

/* Sums what one pixel of the larger image receives from every place whose kernel covers it. */
static double receive(const real *small, const real *weights, size_t n, size_t u, size_t v,
                      size_t a, const dcgan_convolution *s) {
    double sum = 0;

    for (size_t i = 0; i < s->small_height; i++)
        for (size_t j = 0; j < s->small_width; j++) {
            size_t ky = u + s->padding - s->stride * i,
                   kx = v + s->padding - s->stride * j; /* huge if negative */
            if (ky >= 4 || kx >= 4)
                continue;
            for (size_t b = 0; b < s->small_channels; b++)
                sum +=
                    (double)
                        small[((n * s->small_height + i) * s->small_width + j) * s->small_channels +
                              b] *
                    (double)weights[(b * 16 + 4 * ky + kx) * s->large_channels + a];
        }
    return sum;
}

static void transposed_convolution(real *large, const real *small, const real *weights,
                                   size_t images, const dcgan_convolution *s,
                                   const dcgan_work *work) {
    (void)work;
    for (size_t n = 0; n < images; n++)
        for (size_t u = 0; u < s->large_height; u++)
            for (size_t v = 0; v < s->large_width; v++)
                for (size_t a = 0; a < s->large_channels; a++)
                    large[((n * s->large_height + u) * s->large_width + v) * s->large_channels +
                          a] = (real)receive(small, weights, n, u, v, a, s);
}

static void weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                            const dcgan_convolution *s, const dcgan_work *work) {
    size_t o;

    (void)work;
    for (size_t b = 0; b < s->small_channels; b++)
        for (size_t k = 0; k < 16; k++)
            for (size_t a = 0; a < s->large_channels; a++) {
                double sum = 0;
                for (size_t n = 0; n < images; n++)
                    for (size_t i = 0; i < s->small_height; i++)
                        for (size_t j = 0; j < s->small_width; j++)
                            if (large_pixel(s, n, i, j, k / 4, k % 4, &o))
                                sum +=
                                    (double)large[o + a] *
                                    (double)small[((n * s->small_height + i) * s->small_width + j) *
                                                      s->small_channels +
                                                  b];
                dweights[(b * 16 + k) * s->large_channels + a] += (real)sum;
            }
}

static void moments(real *mean, real *variance, const real *x, size_t rows, size_t channels,
                    const dcgan_work *work) {
    (void)work;
    for (size_t c = 0; c < channels; c++) {
        double m = 0, v = 0;
        for (size_t r = 0; r < rows; r++)
            m += (double)x[r * channels + c] / (double)rows;
        for (size_t r = 0; r < rows; r++)
            v += ((double)x[r * channels + c] - m) * ((double)x[r * channels + c] - m) /
                 (double)rows;
        mean[c] = (real)m;
        variance[c] = (real)v;
    }
}

/* Computes the activation's input: normalised, scaled, shifted. */
static double line(double x, real mean, real variance, real scale, real shift) {
    return (double)scale * (x - (double)mean) / sqrt((double)variance + DCGAN_NORM_EPSILON) +
           (double)shift;
}

static void normalise(real *y, const real *x, const real *mean, const real *variance,
                      const real *scale, const real *shift, size_t rows, size_t channels,
                      real slope, const dcgan_work *work) {
    (void)work;
    for (size_t i = 0; i < rows * channels; i++) {
        size_t c = i % channels;
        double v = line((double)x[i], mean[c], variance[c], scale[c], shift[c]);
        y[i] = (real)(v > 0 ? v : (double)slope * v);
    }
}

static void normalise_backward(real *dx, real *dscale, real *dshift, const real *dy, const real *x,
                               const real *mean, const real *variance, const real *scale,
                               const real *shift, size_t rows, size_t channels, real slope,
                               const dcgan_work *work) {
    (void)work;
    for (size_t c = 0; c < channels; c++) {
        double inverse = 1 / sqrt((double)variance[c] + DCGAN_NORM_EPSILON), sum = 0, sum_x = 0;
        for (size_t i = c; i < rows * channels; i += channels) {
            double dv =
                (double)dy[i] * (line((double)x[i], mean[c], variance[c], scale[c], shift[c]) > 0
                                     ? 1
                                     : (double)slope);
            sum += dv;
            sum_x += dv * ((double)x[i] - (double)mean[c]) * inverse;
        }
        for (size_t i = c; i < rows * channels; i += channels) {
            double dv =
                (double)dy[i] * (line((double)x[i], mean[c], variance[c], scale[c], shift[c]) > 0
                                     ? 1
                                     : (double)slope);
            double normalised = ((double)x[i] - (double)mean[c]) * inverse;
            dx[i] = (real)((double)scale[c] * inverse *
                           (dv - sum / (double)rows - normalised * sum_x / (double)rows));
        }
        if (dscale)
            dscale[c] += (real)sum_x;
        if (dshift)
            dshift[c] += (real)sum;
    }
}

static void rectify(real *x, size_t count, real slope, const dcgan_work *work) {
    (void)work;
    for (size_t i = 0; i < count; i++)
        if (!(x[i] > 0))
            x[i] *= slope;
}

static void rectify_backward(real *dy, const real *y, size_t count, real slope,
                             const dcgan_work *work) {
    (void)work;
    for (size_t i = 0; i < count; i++)
        if (!(y[i] > 0))
            dy[i] *= slope;
}

static void hyperbolic_tangent(real *x, size_t count, const dcgan_work *work) {
    (void)work;
    for (size_t i = 0; i < count; i++)
        x[i] = (real)tanh((double)x[i]);
}

static void hyperbolic_tangent_backward(real *dy, const real *y, size_t count,
                                        const dcgan_work *work) {
    (void)work;
    for (size_t i = 0; i < count; i++)
        dy[i] = (real)((double)dy[i] * (1 - (double)y[i] * (double)y[i]));
}

const dcgan_backend dcgan_backend_naive = {
    .name = "naive",
    .scratch_count = scratch_count,
    .convolution = convolution,
    .transposed_convolution = transposed_convolution,
    .weight_gradient = weight_gradient,
    .moments = moments,
    .normalise = normalise,
    .normalise_backward = normalise_backward,
    .rectify = rectify,
    .rectify_backward = rectify_backward,
    .hyperbolic_tangent = hyperbolic_tangent,
    .hyperbolic_tangent_backward = hyperbolic_tangent_backward,
};
