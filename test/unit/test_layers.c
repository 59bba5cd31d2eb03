/*
 * test_layers.c - the fast layers against the plain ones, losses, Adam, means and statistics against their
 * definitions
 *
 * Convolutions are compared on small integers, whose sums stay below 2^24: whatever the order of the additions,
 * floats hold them exactly, so the comparison is for equality. Outputs and scratch memory start as NaN: nothing
 * may be read before it is written.
 *
 * Environment: GANN_TEST_SEED, the seed of the random data, by default 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/backend.h"
#include "../../src/dcgan/loss.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof *(array))

static const dcgan_backend *const backends[] = {&dcgan_backend_naive, &dcgan_backend_cpu};
static float norm_scratch[1 << 16];
static const dcgan_work work = {.scratch = norm_scratch};
static uint64_t test_seed = 1, random_state;

/* ---- data ------------------------------------------------------------------------------------------ */

/* Draws 64 random bits (SplitMix64). */
static uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Draws from -1 ... 1. */
static double random_unit(void) {
    return (double)(random_bits() >> 11) * 0x1p-52 - 1;
}

static float *filled(size_t count, float value) {
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = value;
    return x;
}

/* Integers -3 ... 3 without 0. */
static float *integers(size_t count) {
    float *x = filled(count, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(random_bits() % 3 + 1) * (random_bits() % 2 ? 1 : -1);
    return x;
}

static float *reals(size_t count, double centre, double spread) {
    float *x = filled(count, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(centre + spread * random_unit());
    return x;
}

static float *copy_of(const float *x, size_t count) {
    return memcpy(filled(count, 0), x, count * sizeof *x);
}

static double largest(const float *x, size_t count) {
    double m = 0;
    for (size_t i = 0; i < count; i++)
        m = fabs((double)x[i]) > m ? fabs((double)x[i]) : m;
    return m;
}

/* Fails where most of the expected values are zero: equality would say nothing. */
static void says_something(const char *what, const float *expected, size_t count) {
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++)
        zeros += expected[i] == 0;
    if (!(2 * zeros <= count))
        fail_msg("%s: %zu of %zu expected values are zero", what, zeros, count);
}

static void same(const char *what, const float *got, const float *expected, size_t count) {
    says_something(what, expected, count);
    for (size_t i = 0; i < count; i++)
        if (!(got[i] == expected[i]))
            fail_msg("%s: number %zu of %zu is %.9g instead of %.9g", what, i, count, got[i], expected[i]);
}

static void close_to(const char *what, const float *got, const float *expected, size_t count,
                     double tolerance) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)expected[i]) <= tolerance))
            fail_msg("%s: number %zu of %zu is %.9g instead of %.9g +- %.2g", what, i, count, got[i],
                     expected[i], tolerance);
}

/* ---- convolutions ------------------------------------------------------------------------------------ */

typedef struct conv_case {
    size_t images, height, width, small, large, stride;
} conv_case;

/* A block holds 2^20 floats of patches: height width 16 large of them an image. */
static const conv_case cases[] = {
    {2, 3, 5, 7, 11, 2},     {5, 7, 3, 2, 13, 2},   {3, 2, 7, 5, 1, 2}, {2, 5, 3, 1, 7, 2},
    {7, 1, 1, 3, 5, 2},      {2, 1, 3, 5, 7, 2},    {5, 1, 1, 7, 3, 1}, {3, 1, 1, 1, 11, 1},
    {7, 2, 3, 11, 5, 1},     {23, 3, 5, 2, 401, 2}, /* blocks of 10 images, the last one of 3 */
    {131, 1, 1, 3, 1009, 1}, /* blocks of 64 images that are their own patches, the last one of 3 */
    {43, 2, 3, 5, 701, 1},   /* blocks of 15 images, the last one of 13 */
    {2, 3, 5, 2, 4373, 2},   /* an image's patches are more than a block */
};

typedef struct conv_data {
    dcgan_convolution shape;
    size_t images, small_count, large_count, weight_count, scratch_count;
    float *small, *large, *weights, *scratch;
    dcgan_work work;
} conv_data;

static dcgan_convolution shape_of(const conv_case *c) {
    size_t two = c->stride == 2; /* the larger image is twice the smaller one, or larger by 3 */
    return (dcgan_convolution){.small_height = c->height,
                               .small_width = c->width,
                               .small_channels = c->small,
                               .large_height = two ? 2 * c->height : c->height + 3,
                               .large_width = two ? 2 * c->width : c->width + 3,
                               .large_channels = c->large,
                               .stride = c->stride,
                               .padding = two ? 1 : 0};
}

static conv_data open_conv(const conv_case *c) {
    conv_data d = {.shape = shape_of(c), .images = c->images};
    const dcgan_convolution *s = &d.shape;

    d.small_count = c->images * s->small_height * s->small_width * s->small_channels;
    d.large_count = c->images * s->large_height * s->large_width * s->large_channels;
    d.weight_count = 16 * s->small_channels * s->large_channels;
    d.scratch_count = dcgan_backend_cpu.scratch_count(s, c->images);
    d.small = integers(d.small_count);
    d.large = integers(d.large_count);
    d.weights = integers(d.weight_count);
    d.scratch = filled(d.scratch_count, NAN);
    d.scratch[d.scratch_count] = 99;
    d.work.scratch = d.scratch;
    return d;
}

static void close_conv(conv_data *d) {
    assert_true(d->scratch[d->scratch_count] == 99);
    free(d->small), free(d->large), free(d->weights), free(d->scratch);
}

static float *convolved(const dcgan_backend *b, conv_data *d) {
    float *y = filled(d->small_count, NAN);
    b->convolution(y, d->large, d->weights, d->images, &d->shape, &d->work);
    return y;
}

static float *transposed(const dcgan_backend *b, conv_data *d) {
    float *x = filled(d->large_count, NAN);
    b->transposed_convolution(x, d->small, d->weights, d->images, &d->shape, &d->work);
    return x;
}

/* Adds the gradient to a copy of start. */
static float *weighted(const dcgan_backend *b, conv_data *d, const float *start) {
    float *dw = copy_of(start, d->weight_count);
    b->weight_gradient(dw, d->large, d->small, d->images, &d->shape, &d->work);
    return dw;
}

/* Compares the two backends' results and frees them. */
static void both_same(const char *what, float *naive, float *cpu, size_t count) {
    same(what, cpu, naive, count);
    assert_true(largest(naive, count) < 0x1p24); /* or it wouldn't be exact */
    free(naive), free(cpu);
}

static void check_conv_case(const conv_case *c) {
    conv_data d = open_conv(c);
    float *start = integers(d.weight_count);
    char what[80];

    snprintf(what, sizeof what, "case %zu (%zux%zux%zu, %zu to %zu)", (size_t)(c - cases), c->images, c->height,
             c->width, c->small, c->large);
    both_same(what, convolved(backends[0], &d), convolved(backends[1], &d), d.small_count);
    both_same(what, transposed(backends[0], &d), transposed(backends[1], &d), d.large_count);
    both_same(what, weighted(backends[0], &d, start), weighted(backends[1], &d, start), d.weight_count);
    free(start);
    close_conv(&d);
}

static void convolutions_equal_the_plain_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(cases); i++)
        check_conv_case(&cases[i]);
}

/* Multiplies vectors of integers: exact in double precision. */
static double inner(const float *x, const float *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

/* <conv(x, W), y> = <x, convT(y, W)> = <W, dW(x, y)>, without a rounding error; returns if it isn't just 0. */
static int check_adjoint(const dcgan_backend *b, const conv_case *c) {
    conv_data d = open_conv(c);
    float *zero = filled(d.weight_count, 0);
    float *y = convolved(b, &d), *x = transposed(b, &d), *dw = weighted(b, &d, zero);
    double product = inner(y, d.small, d.small_count);

    assert_true(inner(x, d.large, d.large_count) == product);
    assert_true(inner(dw, d.weights, d.weight_count) == product);
    free(zero), free(y), free(x), free(dw);
    close_conv(&d);
    return product != 0;
}

static void convolutions_are_adjoint(void **state) {
    size_t telling = 0;
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < SIZE(cases); i++)
            telling += (size_t)check_adjoint(backends[b], &cases[i]);
    assert_true(telling >= 2 * SIZE(cases) - 4);
}

static void weight_gradients_are_added(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < SIZE(cases); i++) {
            conv_data d = open_conv(&cases[i]);
            float *zero = filled(d.weight_count, 0), *start = integers(d.weight_count);
            float *once = weighted(backends[b], &d, zero), *more = weighted(backends[b], &d, start);
            for (size_t j = 0; j < d.weight_count; j++)
                once[j] += start[j];
            same("weight gradient added to another", more, once, d.weight_count);
            free(zero), free(start), free(once), free(more);
            close_conv(&d);
        }
}

/* Reads the weight that joins larger pixel (u, v) to smaller pixel (i, j), straight from docs/format.md
 * section 4. */
static float joining_weight(const conv_data *d, long u, long v, long i, long j, size_t b, size_t a) {
    const dcgan_convolution *s = &d->shape;
    long ky = u + (long)s->padding - (long)s->stride * i, kx = v + (long)s->padding - (long)s->stride * j;

    if (ky < 0 || ky > 3 || kx < 0 || kx > 3)
        return 0;
    return d->weights[((b * 4 + (size_t)ky) * 4 + (size_t)kx) * s->large_channels + a];
}

/* One pixel of one channel set to 1: what comes out is a piece of the weights. */
static void check_single_pixel(const dcgan_backend *backend, const conv_case *c, size_t u, size_t v, size_t a) {
    conv_case one = *c;
    one.images = 1;
    conv_data d = open_conv(&one);
    const dcgan_convolution *s = &d.shape;
    float *y;

    memset(d.large, 0, d.large_count * sizeof(float));
    d.large[(u * s->large_width + v) * s->large_channels + a] = 1;
    y = convolved(backend, &d);
    for (size_t i = 0; i < s->small_height; i++)
        for (size_t j = 0; j < s->small_width; j++)
            for (size_t b = 0; b < s->small_channels; b++)
                assert_true(y[(i * s->small_width + j) * s->small_channels + b] ==
                            joining_weight(&d, (long)u, (long)v, (long)i, (long)j, b, a));
    free(y);
    close_conv(&d);
}

static void a_single_pixel_shows_the_weights(void **state) {
    (void)state;
    for (size_t backend = 0; backend < 2; backend++)
        for (size_t n = 0; n < 9; n++) {
            dcgan_convolution s = shape_of(&cases[n]);
            for (size_t u = 0; u < s.large_height; u++)
                for (size_t v = 0; v < s.large_width; v++)
                    check_single_pixel(backends[backend], &cases[n], u, v, (u + v) % s.large_channels);
        }
}

/* ---- batch norm --------------------------------------------------------------------------------------- */

static const struct {
    size_t rows, channels;
} norm_cases[] = {{1, 1}, {1, 67}, {2, 64}, {3, 5}, {37, 131}, {17, 199}, {1009, 3}, {113, 63}, {19, 65}};

static const float slopes[] = {0, 0.2f, 1};

typedef struct norm_data {
    size_t rows, channels, count;
    float *x, *dy, *mean, *variance, *scale, *shift;
} norm_data;

static norm_data open_norm(size_t n) {
    norm_data d = {.rows = norm_cases[n].rows, .channels = norm_cases[n].channels};

    d.count = d.rows * d.channels;
    d.x = reals(d.count, 0.5, 2);
    d.dy = reals(d.count, 0.1, 1);
    d.scale = reals(d.channels, 1, 0.5);
    d.shift = reals(d.channels, 0, 0.5);
    d.mean = filled(d.channels, NAN);
    d.variance = filled(d.channels, NAN);
    dcgan_backend_naive.moments(d.mean, d.variance, d.x, d.rows, d.channels, &work);
    return d;
}

static void close_norm(norm_data *d) {
    free(d->x), free(d->dy), free(d->mean), free(d->variance), free(d->scale), free(d->shift);
}

static void moments_equal_the_plain_ones(void **state) {
    (void)state;
    for (size_t n = 0; n < SIZE(norm_cases); n++) {
        norm_data d = open_norm(n);
        float *mean = filled(d.channels, NAN), *variance = filled(d.channels, NAN);
        mean[d.channels] = variance[d.channels] = 99;
        dcgan_backend_cpu.moments(mean, variance, d.x, d.rows, d.channels, &work);
        close_to("mean", mean, d.mean, d.channels, 1e-6);
        close_to("variance", variance, d.variance, d.channels, 1e-6);
        assert_true(mean[d.channels] == 99 && variance[d.channels] == 99);
        if (d.rows > 1) {
            says_something("mean", d.mean, d.channels);
            says_something("variance", d.variance, d.channels);
        }
        free(mean), free(variance);
        close_norm(&d);
    }
}

/* 10000 + {-1, 0, 1}: the variance is 2/3 (biased); a one-pass sum of squares in floats would lose it. */
static void moments_do_not_cancel(void **state) {
    const float x[] = {9999, 10000, 10001};
    float mean, variance;
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        backends[b]->moments(&mean, &variance, x, 3, 1, &work);
        assert_true(mean == 10000);
        assert_true(fabs((double)variance - 2.0 / 3) <= 1e-7);
    }
}

static float *normalised(const dcgan_backend *b, const norm_data *d, float slope) {
    float *y = filled(d->count, NAN);
    b->normalise(y, d->x, d->mean, d->variance, d->scale, d->shift, d->rows, d->channels, slope, &work);
    return y;
}

/* A constant channel divides by sqrt(epsilon) = 1/316: its rounding errors count that much more. */
static double norm_tolerance(const norm_data *d) {
    double least = INFINITY;
    for (size_t c = 0; c < d->channels; c++)
        least = d->variance[c] < least ? (double)d->variance[c] : least;
    return 3e-6 / sqrt(least + DCGAN_NORM_EPSILON);
}

static void check_normalise(size_t n, float slope) {
    norm_data d = open_norm(n);
    float *expected = normalised(&dcgan_backend_naive, &d, slope),
          *y = normalised(&dcgan_backend_cpu, &d, slope);

    close_to("normalise", y, expected, d.count, norm_tolerance(&d));
    if (slope > 0)
        says_something("normalise", expected, d.count);
    free(y);
    y = copy_of(d.x, d.count);
    dcgan_backend_cpu.normalise(y, y, d.mean, d.variance, d.scale, d.shift, d.rows, d.channels, slope, &work);
    close_to("normalise in place", y, expected, d.count, norm_tolerance(&d));
    free(y), free(expected);
    close_norm(&d);
}

static void normalise_equals_the_plain_one(void **state) {
    (void)state;
    for (size_t n = 0; n < SIZE(norm_cases); n++)
        for (size_t s = 0; s < SIZE(slopes); s++)
            check_normalise(n, slopes[s]);
}

/* Zero variance: (3 - 1) / sqrt(1e-5), times 2, minus 1; and the same below zero, with the slope. */
static void normalise_as_computed_by_hand(void **state) {
    const float x[] = {3, -1}, mean[] = {1, 1}, variance[] = {0, 0.99999f}, scale[] = {2, 2},
                shift[] = {-1, -1};
    float y[2];
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        backends[b]->normalise(y, x, mean, variance, scale, shift, 1, 2, 0.25f, &work);
        assert_true(fabs((double)y[0] - (4 / sqrt(1e-5) - 1)) <= 1e-3);
        assert_true(fabs((double)y[1] + 1.25) <= 1e-6);
    }
}

typedef struct norm_gradient {
    float *dx, *dscale, *dshift;
} norm_gradient;

/* Runs backward; dscale and dshift start at 1 and 2. */
static norm_gradient normalise_gradient(const dcgan_backend *b, const norm_data *d, float slope) {
    norm_gradient g = {filled(d->count, NAN), filled(d->channels, 1), filled(d->channels, 2)};
    b->normalise_backward(g.dx, g.dscale, g.dshift, d->dy, d->x, d->mean, d->variance, d->scale, d->shift,
                          d->rows, d->channels, slope, &work);
    return g;
}

static void free_gradient(norm_gradient *g) {
    free(g->dx), free(g->dscale), free(g->dshift);
}

/* dx may be dy, dscale and dshift may be null: the same dx has to come out, to the bit. */
static void check_variants(const dcgan_backend *b, const norm_data *d, float slope,
                           const norm_gradient *expected) {
    for (int wanted = 0; wanted < 4; wanted++) {
        float *dx = copy_of(d->dy, d->count), *dscale = filled(d->channels, 1),
              *dshift = filled(d->channels, 2);
        b->normalise_backward(dx, wanted & 1 ? dscale : NULL, wanted & 2 ? dshift : NULL, dx, d->x, d->mean,
                              d->variance, d->scale, d->shift, d->rows, d->channels, slope, &work);
        assert_memory_equal(dx, expected->dx, d->count * sizeof *dx);
        if (wanted & 1)
            assert_memory_equal(dscale, expected->dscale, d->channels * sizeof *dscale);
        if (wanted & 2)
            assert_memory_equal(dshift, expected->dshift, d->channels * sizeof *dshift);
        free(dx), free(dscale), free(dshift);
    }
}

static void check_normalise_backward(size_t n, float slope) {
    norm_data d = open_norm(n);
    norm_gradient naive = normalise_gradient(&dcgan_backend_naive, &d, slope);
    norm_gradient cpu = normalise_gradient(&dcgan_backend_cpu, &d, slope);
    double sums = 1e-6 * (double)d.rows + 1e-5;

    close_to("dx", cpu.dx, naive.dx, d.count, norm_tolerance(&d));
    close_to("dscale", cpu.dscale, naive.dscale, d.channels, sums);
    close_to("dshift", cpu.dshift, naive.dshift, d.channels, sums);
    if (d.rows > 2)
        says_something("dx", naive.dx, d.count);
    check_variants(&dcgan_backend_naive, &d, slope, &naive);
    check_variants(&dcgan_backend_cpu, &d, slope, &cpu);
    free_gradient(&naive), free_gradient(&cpu);
    close_norm(&d);
}

static void normalise_backward_equals_the_plain_one(void **state) {
    (void)state;
    for (size_t n = 0; n < SIZE(norm_cases); n++)
        for (size_t s = 0; s < SIZE(slopes); s++)
            check_normalise_backward(n, slopes[s]);
}

/* ---- activations ---------------------------------------------------------------------------------------- */

static void rectify_by_definition(void **state) {
    const float x[] = {-2, -1, -0.0f, 0, 1, 2, INFINITY, -INFINITY};
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t s = 1; s < SIZE(slopes); s++) {
            float y[SIZE(x)], dy[SIZE(x)];
            memcpy(y, x, sizeof x);
            backends[b]->rectify(y, SIZE(x), slopes[s], &work);
            for (size_t i = 0; i < SIZE(x); i++) {
                dy[i] = (float)i + 1;
                assert_true(y[i] == (x[i] > 0 ? x[i] : slopes[s] * x[i]));
            }
            backends[b]->rectify_backward(dy, y, SIZE(x), slopes[s], &work);
            for (size_t i = 0; i < SIZE(x); i++)
                assert_true(dy[i] == ((float)i + 1) * (x[i] > 0 ? 1 : slopes[s]));
        }
}

static void activations_equal_the_plain_ones(void **state) {
    enum { COUNT = 1013 };
    float *x = reals(COUNT, 0, 3), *upstream = reals(COUNT, 0, 1);
    float *y[2], *dy[2], *t[2], *dt[2];
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        y[b] = copy_of(x, COUNT), t[b] = copy_of(x, COUNT);
        dy[b] = copy_of(upstream, COUNT), dt[b] = copy_of(upstream, COUNT);
        backends[b]->rectify(y[b], COUNT, 0.2f, &work);
        backends[b]->rectify_backward(dy[b], y[b], COUNT, 0.2f, &work);
        backends[b]->hyperbolic_tangent(t[b], COUNT, &work);
        backends[b]->hyperbolic_tangent_backward(dt[b], t[0], COUNT, &work);
    }
    same("rectify", y[1], y[0], COUNT);
    same("rectify_backward", dy[1], dy[0], COUNT);
    says_something("hyperbolic_tangent", t[0], COUNT);
    close_to("hyperbolic_tangent", t[1], t[0], COUNT, 2e-7);
    close_to("hyperbolic_tangent_backward", dt[1], dt[0], COUNT, 2e-7);
    for (size_t b = 0; b < 2; b++)
        free(y[b]), free(dy[b]), free(t[b]), free(dt[b]);
    free(x), free(upstream);
}

static void hyperbolic_tangent_at_its_ends(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        float x[] = {0, 1e4f, -1e4f, 1, INFINITY}, dy[] = {3, 3, 3, 3, 3};
        backends[b]->hyperbolic_tangent(x, SIZE(x), &work);
        assert_true(x[0] == 0 && x[1] == 1 && x[2] == -1 && x[4] == 1);
        assert_true(fabs((double)x[3] - 0.76159415595576488812) <= 1e-7);
        backends[b]->hyperbolic_tangent_backward(dy, x, SIZE(x), &work);
        assert_true(dy[0] == 3 && dy[1] == 0 && dy[2] == 0 && dy[4] == 0);
        assert_true(fabs((double)dy[3] - 3 * 0.41997434161402606939) <= 1e-6);
    }
}

static void no_layer_swallows_nan(void **state) {
    const float scale = 1, shift = 0, zero = 0, one = 1, nan = NAN;
    float y, mean, variance;
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t s = 0; s < SIZE(slopes); s++) {
            y = NAN, backends[b]->rectify(&y, 1, slopes[s], &work);
            assert_true(isnan(y));
            y = NAN, backends[b]->rectify_backward(&y, &zero, 1, slopes[s], &work);
            assert_true(isnan(y));
            y = NAN, backends[b]->hyperbolic_tangent(&y, 1, &work);
            assert_true(isnan(y));
            backends[b]->normalise(&y, &nan, &zero, &one, &scale, &shift, 1, 1, slopes[s], &work);
            assert_true(isnan(y));
            backends[b]->moments(&mean, &variance, &nan, 1, 1, &work);
            assert_true(isnan(mean) && isnan(variance));
        }
}

/* ---- losses --------------------------------------------------------------------------------------------- */

static void losses_at_their_ends(void **state) {
    const float zero = 0, high = 1e4f, low = -1e4f, fifty = 50, nan = NAN;
    (void)state;
    assert_true(fabs(loss_real(&zero, 1) - log(2)) <= 1e-15);
    assert_true(fabs(loss_fake(&zero, 1) - log(2)) <= 1e-15);
    assert_true(loss_real(&high, 1) == 0);
    assert_true(loss_real(&low, 1) == 1e4);
    assert_true(loss_fake(&high, 1) == 1e4);
    assert_true(loss_fake(&low, 1) == 0);
    assert_true(fabs(loss_real(&fifty, 1) / exp(-50) - 1) <= 1e-12); /* not lost beside 1 */
    assert_true(isnan(loss_real(&nan, 1)) && isnan(loss_fake(&nan, 1)));
}

static void losses_sum_and_mirror(void **state) {
    enum { COUNT = 101 };
    float *x = reals(COUNT, 0, 6), *minus = copy_of(x, COUNT);
    double real_sum = 0, fake_sum = 0;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        double sigmoid = 1 / (1 + exp(-(double)x[i]));
        real_sum -= log(sigmoid);
        fake_sum -= log(1 - sigmoid);
        minus[i] = -x[i];
    }
    assert_true(real_sum > 1 && fake_sum > 1);
    assert_true(fabs(loss_real(x, COUNT) - real_sum) <= 1e-10 * real_sum);
    assert_true(fabs(loss_fake(x, COUNT) - fake_sum) <= 1e-10 * fake_sum);
    assert_true(loss_real(minus, COUNT) == loss_fake(x, COUNT));
    free(x), free(minus);
}

/* Differentiates numerically; steps of 2^-10 are exact in floats. */
static void losses_differentiate(void **state) {
    const float step = 0x1p-10f;
    (void)state;
    for (float x = -12; x <= 12; x += 0.375f) {
        float above = x + step, below = x - step, d[2];
        double real_slope = (loss_real(&above, 1) - loss_real(&below, 1)) / (2 * (double)step);
        double fake_slope = (loss_fake(&above, 1) - loss_fake(&below, 1)) / (2 * (double)step);
        loss_backward(&d[0], &x, 1, 1.0, 0.25);
        loss_backward(&d[1], &x, 1, 0.0, 0.25);
        assert_true(fabs((double)d[0] - 0.25 * real_slope) <= 1e-6);
        assert_true(fabs((double)d[1] - 0.25 * fake_slope) <= 1e-6);
        assert_true(d[0] < 0 && d[1] > 0);
    }
}

static void loss_derivatives_at_their_ends(void **state) {
    const float x[] = {1e4f, -1e4f, 0, NAN};
    float d[4];
    (void)state;
    loss_backward(d, x, 4, 1.0, 0.5);
    assert_true(d[0] == 0 && d[1] == -0.5f && d[2] == -0.25f && isnan(d[3]));
    loss_backward(d, x, 4, 0.0, 0.5);
    assert_true(d[0] == 0.5f && d[1] == 0 && d[2] == 0.25f && isnan(d[3]));
}

/* ---- the step ------------------------------------------------------------------------------------------- */

static const dcgan_adam_options adam = {2e-4, 0.5, 0.999, 1e-8};

/* Takes one parameter's step in double precision and compares. */
static void check_adam_number(const dcgan_adam_options *o, uint64_t t, const double before[3], double g,
                              const float after[3]) {
    double m = o->beta1 * before[1] + (1 - o->beta1) * g, v = o->beta2 * before[2] + (1 - o->beta2) * g * g;
    double m_size = fabs(o->beta1 * before[1]) + fabs((1 - o->beta1) * g);
    double m_hat = 1 / (1 - pow(o->beta1, (double)t)), v_hat = 1 / (1 - pow(o->beta2, (double)t));
    double rate = o->learning_rate * m_hat / (sqrt(v * v_hat) + o->epsilon);

    assert_true(fabs((double)after[1] - m) <= 1e-6 * m_size);
    assert_true(fabs((double)after[2] - v) <= 1e-6 * v);
    assert_true(fabs((double)after[0] - (before[0] - rate * m)) <=
                1e-7 * fabs(before[0]) + 1e-6 * rate * m_size);
    assert_true(after[0] != (float)before[0]);
}

static void check_adam(const dcgan_adam_options *o, uint64_t t) {
    enum { COUNT = 103 };
    float *w = reals(COUNT, 0, 1e-4), *m = reals(COUNT, 0, 1e-2), *v = reals(COUNT, 1e-4, 1e-4);
    float *g = reals(COUNT, 0, 1e-2), *w0 = copy_of(w, COUNT), *m0 = copy_of(m, COUNT), *v0 = copy_of(v, COUNT);

    dcgan_adam(w, m, v, g, 50, t, o); /* any slices */
    dcgan_adam(w + 50, m + 50, v + 50, g + 50, COUNT - 50, t, o);
    for (size_t i = 0; i < COUNT; i++)
        check_adam_number(o, t, (double[]){(double)w0[i], (double)m0[i], (double)v0[i]}, (double)g[i],
                          (float[]){w[i], m[i], v[i]});
    free(w), free(m), free(v), free(g), free(w0), free(m0), free(v0);
}

static void adam_by_definition(void **state) {
    const uint64_t steps[] = {1, 2, 3, 10, 100, 5000, 1000000, (uint64_t)1 << 40};
    const dcgan_adam_options other = {0.01, 0.9, 0.99, 1e-3}; /* an epsilon that counts */
    (void)state;
    for (size_t i = 0; i < SIZE(steps); i++) {
        check_adam(&adam, steps[i]);
        check_adam(&other, steps[i]);
    }
}

static void adam_by_hand(void **state) {
    float w[] = {1, 1, 1, 0}, m[4] = {0}, v[4] = {0};
    const float g[] = {0.5f, -3, 0, NAN};
    (void)state;
    dcgan_adam(w, m, v, g, 4, 1, &adam); /* the first step is the learning rate, whatever the gradient */
    assert_true(fabs((double)w[0] - (1 - 2e-4)) <= 1e-7);
    assert_true(fabs((double)w[1] - (1 + 2e-4)) <= 1e-7);
    assert_true(w[2] == 1 && m[2] == 0 && v[2] == 0);
    assert_true(isnan(w[3]) && isnan(m[3]) && isnan(v[3]));
}

static void means_are_kept_in_double(void **state) {
    const float x[] = {1e8f, -1, 3}, y[] = {2, 1, 0.1f}, z[] = {-1e8f, 5, 7};
    double sum[3] = {0};
    float mean[3];
    (void)state;
    dcgan_mean_add(sum, x, 0.25, 3);
    dcgan_mean_add(sum, y, 0.5, 3);
    dcgan_mean_add(sum, z, 0.25, 3);
    dcgan_mean_finish(mean, sum, 3);
    assert_true(mean[0] == 1); /* a float would have lost it */
    assert_true(mean[1] == 1.5f);
    assert_true(mean[2] == (float)(0.25 * 3 + 0.5 * (double)0.1f + 0.25 * 7));
}

static void finite_numbers_are_accepted(void **state) {
    const float x[] = {1, -2, 1e-42f, -0.0f, 0, 3}, huge[] = {1e30f, -3e38f};
    double sum = 100;
    (void)state;
    assert_int_equal(dcgan_finite(x, 6, &sum), 1);
    assert_true(fabs(sum - 114) <= 1e-12);
    assert_int_equal(dcgan_finite(x, 6, NULL), 1);
    sum = 0;
    assert_int_equal(dcgan_finite(huge, 2, &sum), 1);
    assert_true(fabs(sum / ((double)huge[0] * (double)huge[0] + (double)huge[1] * (double)huge[1]) - 1) <=
                1e-12);
    assert_int_equal(dcgan_finite(x, 0, &sum), 1);
}

static void not_a_number_is_found_everywhere(void **state) {
    enum { COUNT = 1031 };
    const float poison[] = {NAN, -NAN, INFINITY, -INFINITY};
    const size_t places[] = {0, 1, 2, 3, 7, 8, 515, COUNT - 2, COUNT - 1};
    float *x = reals(COUNT, 0, 1);
    double sum = 5;
    (void)state;
    for (size_t p = 0; p < SIZE(poison); p++)
        for (size_t i = 0; i < SIZE(places); i++) {
            float kept = x[places[i]];
            x[places[i]] = poison[p];
            assert_int_equal(dcgan_finite(x, COUNT, &sum), 0);
            assert_int_equal(dcgan_finite(x, COUNT, NULL), 0);
            x[places[i]] = kept;
        }
    assert_true(sum == 5);
    x[3] = INFINITY, x[900] = -INFINITY; /* they don't cancel */
    assert_int_equal(dcgan_finite(x, COUNT, NULL), 0);
    free(x);
}

/* ---- statistics -------------------------------------------------------------------------------------------
 */

static dcgan_model small_model(void) {
    const dcgan_config config = {1, 32, 3, 3, 2};
    dcgan_model model;
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    return model;
}

/* Finds the channels of the batch norm whose statistics start at an offset; 0: none does. */
static size_t norm_at(const dcgan_model *model, size_t offset, const dcgan_layer **layer, int *discriminator) {
    for (int n = 0; n < 2; n++) {
        const dcgan_network *network = n ? &model->discriminator : &model->generator;
        for (size_t i = 0; i < network->layer_count; i++) {
            *layer = &network->layers[i];
            *discriminator = n;
            if ((*layer)->normalised && (*layer)->statistics == offset)
                return n ? (*layer)->shape.small_channels : (*layer)->shape.large_channels;
        }
    }
    return 0;
}

/* Draws values of every channel of every layer, rows of them, and writes their statistics. */
static void moments_of(const dcgan_model *model, float *const *values, size_t first, size_t rows,
                       float *statistics) {
    const dcgan_layer *layer = NULL;
    int discriminator = 0;

    for (size_t o = 0, i = 0, c; o < model->statistics_count; o += 2 * c, i++) {
        c = norm_at(model, o, &layer, &discriminator);
        assert_true(c > 0);
        dcgan_backend_naive.moments(statistics + o, statistics + o + c, values[i] + first * c, rows, c, &work);
    }
}

/* Three parts of 5, 16 and 2 rows, merged, against all 23 rows at once. */
static void merged_statistics_are_those_of_the_whole(void **state) {
    const size_t parts[] = {5, 16, 2};
    dcgan_model model = small_model();
    size_t n = model.statistics_count, first = 0;
    float *part = filled(n, NAN), *whole = filled(n, NAN), *merged = filled(n, NAN),
          *values[2 * DCGAN_MAX_LAYERS];
    double *sums = calloc(n, sizeof *sums);
    (void)state;
    for (size_t i = 0; i < SIZE(values); i++)
        values[i] = reals(23 * n, (double)i - 2, 1 + (double)i);
    moments_of(&model, values, 0, 23, whole);
    for (size_t p = 0; p < 3; first += parts[p++]) {
        moments_of(&model, values, first, parts[p], part);
        dcgan_statistics_add(&model, sums, part, (double)parts[p] / 23);
    }
    dcgan_statistics_finish(&model, merged, sums);
    says_something("statistics", whole, n);
    close_to("merged statistics", merged, whole, n, 1e-5);
    for (size_t i = 0; i < SIZE(values); i++)
        free(values[i]);
    free(part), free(whole), free(merged), free(sums);
}

static void merged_variance_is_never_negative(void **state) {
    dcgan_model model = small_model();
    size_t n = model.statistics_count;
    float *part = filled(n, 0.1f), *merged = filled(n, NAN);
    double *sums = calloc(n, sizeof *sums);
    const dcgan_layer *layer = NULL;
    int discriminator = 0;
    (void)state;
    for (size_t o = 0, c; o < n; o += 2 * c) {
        c = norm_at(&model, o, &layer, &discriminator);
        for (size_t i = 0; i < c; i++)
            part[o + c + i] = 0;
    }
    for (int i = 0; i < 3; i++)
        dcgan_statistics_add(&model, sums, part, 1.0 / 3);
    dcgan_statistics_finish(&model, merged, sums);
    for (size_t o = 0, c; o < n; o += 2 * c) {
        c = norm_at(&model, o, &layer, &discriminator);
        for (size_t i = 0; i < c; i++)
            assert_true(merged[o + i] == 0.1f && merged[o + c + i] >= 0 && merged[o + c + i] <= 1e-15f);
    }
    free(part), free(merged), free(sums);
}

/* running += momentum (merged - running), with the unbiased variance: M images, rows and columns, D's twice. */
static void running_statistics_by_definition(void **state) {
    const uint64_t images = 3;
    dcgan_model model = small_model();
    size_t n = model.statistics_count;
    float *running = reals(n, 1, 0.5), *merged = reals(n, 1, 0.5), *before = copy_of(running, n);
    const dcgan_layer *layer = NULL;
    int discriminator = 0;
    (void)state;
    dcgan_statistics_run(&model, running, merged, 0.1, images);
    for (size_t o = 0, c; o < n; o += 2 * c) {
        c = norm_at(&model, o, &layer, &discriminator);
        /* G: 4x4, 8x8, 16x16; D: 8x8, 4x4, of real and of fake images */
        double side = discriminator ? (double)layer->shape.small_width : (double)layer->shape.large_width;
        double m = (double)images * side * side * (discriminator ? 2 : 1);
        for (size_t i = o; i < o + 2 * c; i++) {
            double target = (double)merged[i] * (i < o + c ? 1 : m / (m - 1));
            double expected = (double)before[i] + 0.1 * (target - (double)before[i]);
            assert_true(fabs((double)running[i] - expected) <= 2e-7);
        }
    }
    free(running), free(merged), free(before);
}

/* ---- samples ------------------------------------------------------------------------------------------- */

static void samples_come_back(void **state) {
    (void)state;
    for (int b = 0; b < 256; b++)
        assert_int_equal(dcgan_to_sample((float)b / 127.5f - 1.0f), b);
}

static void samples_at_their_ends(void **state) {
    (void)state;
    assert_int_equal(dcgan_to_sample(-1), 0);
    assert_int_equal(dcgan_to_sample(1), 255);
    assert_int_equal(dcgan_to_sample(0), 128); /* 127.5, half rounded up */
    assert_int_equal(dcgan_to_sample(-1.5f), 0);
    assert_int_equal(dcgan_to_sample(1.5f), 255);
    assert_int_equal(dcgan_to_sample(1e30f), 255);
    assert_int_equal(dcgan_to_sample(-1e30f), 0);
    assert_int_equal(dcgan_to_sample(INFINITY), 255);
    assert_int_equal(dcgan_to_sample(-INFINITY), 0);
    assert_int_equal(dcgan_to_sample(NAN), 0);
    assert_int_equal(dcgan_to_sample((float)(0.49 / 127.5 - 1)), 0);
    assert_int_equal(dcgan_to_sample((float)(0.51 / 127.5 - 1)), 1);
    assert_int_equal(dcgan_to_sample((float)(254.49 / 127.5 - 1)), 254);
    assert_int_equal(dcgan_to_sample((float)(254.51 / 127.5 - 1)), 255);
}

static int reseed(void **state) {
    (void)state;
    random_state = test_seed;
    return 0;
}

#define seeded_test(f) cmocka_unit_test_setup(f, reseed)

int main(void) {
    const struct CMUnitTest tests[] = {
        seeded_test(convolutions_equal_the_plain_ones),
        seeded_test(convolutions_are_adjoint),
        seeded_test(weight_gradients_are_added),
        seeded_test(a_single_pixel_shows_the_weights),
        seeded_test(moments_equal_the_plain_ones),
        seeded_test(moments_do_not_cancel),
        seeded_test(normalise_equals_the_plain_one),
        seeded_test(normalise_as_computed_by_hand),
        seeded_test(normalise_backward_equals_the_plain_one),
        seeded_test(rectify_by_definition),
        seeded_test(activations_equal_the_plain_ones),
        seeded_test(hyperbolic_tangent_at_its_ends),
        seeded_test(no_layer_swallows_nan),
        seeded_test(losses_at_their_ends),
        seeded_test(losses_sum_and_mirror),
        seeded_test(losses_differentiate),
        seeded_test(loss_derivatives_at_their_ends),
        seeded_test(adam_by_definition),
        seeded_test(adam_by_hand),
        seeded_test(means_are_kept_in_double),
        seeded_test(finite_numbers_are_accepted),
        seeded_test(not_a_number_is_found_everywhere),
        seeded_test(merged_statistics_are_those_of_the_whole),
        seeded_test(merged_variance_is_never_negative),
        seeded_test(running_statistics_by_definition),
        seeded_test(samples_come_back),
        seeded_test(samples_at_their_ends),
    };
    if (getenv("GANN_TEST_SEED"))
        test_seed = strtoull(getenv("GANN_TEST_SEED"), NULL, 10);
    printf("# GANN_TEST_SEED=%" PRIu64 "\n", test_seed);
    fflush(stdout);
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
