/*
 * naive.c - every layer as its definition says, in double precision
 *
 * The reference that the other backends are tested against. Slow on purpose: nothing here is
 * clever.
 */
#include "../host/host.h"

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

static dcgan_status convolution(dcgan_device *device, tensor small_tensor, tensor large_tensor,
                                tensor weights_tensor, size_t images, const dcgan_convolution *s) {
    real *small = host_at(small_tensor);
    const real *large = host_at(large_tensor);
    const real *weights = host_at(weights_tensor);
    size_t o;

    (void)device;
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
    return DCGAN_OK;
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

static dcgan_status transposed_convolution(dcgan_device *device, tensor large_tensor,
                                           tensor small_tensor, tensor weights_tensor,
                                           size_t images, const dcgan_convolution *s) {
    real *large = host_at(large_tensor);
    const real *small = host_at(small_tensor);
    const real *weights = host_at(weights_tensor);

    (void)device;
    for (size_t n = 0; n < images; n++)
        for (size_t u = 0; u < s->large_height; u++)
            for (size_t v = 0; v < s->large_width; v++)
                for (size_t a = 0; a < s->large_channels; a++)
                    large[((n * s->large_height + u) * s->large_width + v) * s->large_channels +
                          a] = (real)receive(small, weights, n, u, v, a, s);
    return DCGAN_OK;
}

static dcgan_status weight_gradient(dcgan_device *device, tensor dweights_tensor,
                                    tensor large_tensor, tensor small_tensor, size_t images,
                                    const dcgan_convolution *s) {
    real *dweights = host_at(dweights_tensor);
    const real *large = host_at(large_tensor);
    const real *small = host_at(small_tensor);
    size_t o;

    (void)device;
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
    return DCGAN_OK;
}

static dcgan_status moments(dcgan_device *device, tensor mean_tensor, tensor variance_tensor,
                            tensor x_tensor, size_t rows, size_t channels) {
    real *mean = host_at(mean_tensor);
    real *variance = host_at(variance_tensor);
    const real *x = host_at(x_tensor);

    (void)device;
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
    return DCGAN_OK;
}

/* Computes the activation's input: normalised, scaled, shifted. */
static double line(double x, real mean, real variance, real scale, real shift) {
    return (double)scale * (x - (double)mean) / sqrt((double)variance + DCGAN_NORM_EPSILON) +
           (double)shift;
}

static dcgan_status normalise(dcgan_device *device, tensor y_tensor, tensor x_tensor,
                              tensor mean_tensor, tensor variance_tensor, tensor scale_tensor,
                              tensor shift_tensor, size_t rows, size_t channels, real slope) {
    real *y = host_at(y_tensor);
    const real *x = host_at(x_tensor);
    const real *mean = host_at(mean_tensor);
    const real *variance = host_at(variance_tensor);
    const real *scale = host_at(scale_tensor);
    const real *shift = host_at(shift_tensor);

    (void)device;
    for (size_t i = 0; i < rows * channels; i++) {
        size_t c = i % channels;
        double v = line((double)x[i], mean[c], variance[c], scale[c], shift[c]);
        y[i] = (real)(v > 0 ? v : (double)slope * v);
    }
    return DCGAN_OK;
}

/* Takes a derivative back through the rectifier, whose input was x. */
static double pass_back(double dy, real slope, double x) {
    return dy * (x > 0 ? 1 : (double)slope);
}

static dcgan_status normalise_backward(dcgan_device *device, tensor dx_tensor, tensor dscale_tensor,
                                       tensor dshift_tensor, tensor dy_tensor, tensor x_tensor,
                                       tensor mean_tensor, tensor variance_tensor,
                                       tensor scale_tensor, tensor shift_tensor, size_t rows,
                                       size_t channels, real slope) {
    real *dx = host_at(dx_tensor);
    real *dscale = host_at(dscale_tensor);
    real *dshift = host_at(dshift_tensor);
    const real *dy = host_at(dy_tensor);
    const real *x = host_at(x_tensor);
    const real *mean = host_at(mean_tensor);
    const real *variance = host_at(variance_tensor);
    const real *scale = host_at(scale_tensor);
    const real *shift = host_at(shift_tensor);

    (void)device;
    for (size_t c = 0; c < channels; c++) {
        double inverse = 1 / sqrt((double)variance[c] + DCGAN_NORM_EPSILON), sum = 0, sum_x = 0;
        for (size_t i = c; i < rows * channels; i += channels) {
            double dv = pass_back((double)dy[i], slope,
                                  line((double)x[i], mean[c], variance[c], scale[c], shift[c]));
            sum += dv;
            sum_x += dv * ((double)x[i] - (double)mean[c]) * inverse;
        }
        for (size_t i = c; i < rows * channels; i += channels) {
            double dv = pass_back((double)dy[i], slope,
                                  line((double)x[i], mean[c], variance[c], scale[c], shift[c]));
            double normalised = ((double)x[i] - (double)mean[c]) * inverse;
            dx[i] = (real)((double)scale[c] * inverse *
                           (dv - sum / (double)rows - normalised * sum_x / (double)rows));
        }
        if (dscale)
            dscale[c] += (real)sum_x;
        if (dshift)
            dshift[c] += (real)sum;
    }
    return DCGAN_OK;
}

static dcgan_status rectify(dcgan_device *device, tensor x_tensor, size_t count, real slope) {
    real *x = host_at(x_tensor);

    (void)device;
    for (size_t i = 0; i < count; i++)
        if (!(x[i] > 0))
            x[i] *= slope;
    return DCGAN_OK;
}

static dcgan_status rectify_backward(dcgan_device *device, tensor dy_tensor, tensor y_tensor,
                                     size_t count, real slope) {
    real *dy = host_at(dy_tensor);
    const real *y = host_at(y_tensor);

    (void)device;
    for (size_t i = 0; i < count; i++)
        if (!(y[i] > 0))
            dy[i] *= slope;
    return DCGAN_OK;
}

static dcgan_status hyperbolic_tangent(dcgan_device *device, tensor x_tensor, size_t count) {
    real *x = host_at(x_tensor);

    (void)device;
    for (size_t i = 0; i < count; i++)
        x[i] = (real)tanh((double)x[i]);
    return DCGAN_OK;
}

static dcgan_status hyperbolic_tangent_backward(dcgan_device *device, tensor dy_tensor,
                                                tensor y_tensor, size_t count) {
    real *dy = host_at(dy_tensor);
    const real *y = host_at(y_tensor);

    (void)device;
    for (size_t i = 0; i < count; i++)
        dy[i] = (real)((double)dy[i] * (1 - (double)y[i] * (double)y[i]));
    return DCGAN_OK;
}

static dcgan_status adam(dcgan_device *device, tensor weights, tensor moment1, tensor moment2,
                         tensor gradient, size_t count, uint64_t t, const dcgan_adam_options *o) {
    real *w = host_at(weights), *m = host_at(moment1), *v = host_at(moment2),
         *g = host_at(gradient);
    double first = 1 - pow(o->beta1, (double)t), second = 1 - pow(o->beta2, (double)t);

    (void)device;
    for (size_t i = 0; i < count; i++) {
        m[i] = (real)(o->beta1 * (double)m[i] + (1 - o->beta1) * (double)g[i]);
        v[i] = (real)(o->beta2 * (double)v[i] + (1 - o->beta2) * (double)g[i] * (double)g[i]);
        w[i] = (real)((double)w[i] - o->learning_rate * ((double)m[i] / first) /
                                         (sqrt((double)v[i] / second) + o->epsilon));
        g[i] = 0;
    }
    return DCGAN_OK;
}

static dcgan_status open_naive(dcgan_device *device) {
    (void)device;
    return DCGAN_OK;
}

static void close_naive(dcgan_device *device) {
    (void)device;
}

const dcgan_backend dcgan_backend_naive = {
    .name = "naive",
    HOST_FUNCTIONS,
    .open = open_naive,
    .close = close_naive,
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
    .adam = adam,
};
