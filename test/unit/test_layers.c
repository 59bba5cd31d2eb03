/*
 * test_layers.c - batch norm and activations: the fast ones against the plain ones, and both
 * against their definitions
 *
 * Outputs and scratch memory start as NaN: nothing may be read before it is written.
 */
#include "numbers.h"

static const dcgan_backend *const backends[] = {&dcgan_backend_naive, &dcgan_backend_cpu};
static float norm_scratch[1 << 16];
static const dcgan_work work = {.scratch = norm_scratch};

/* ---- batch norm ---- */

static const struct {
    size_t rows, channels;
} norm_cases[] = {{1, 1},    {1, 67},   {2, 64},   {3, 5},  {37, 131},
                  {17, 199}, {1009, 3}, {113, 63}, {19, 65}};

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
    on_host_moments(&dcgan_backend_naive, d.mean, d.variance, d.x, d.rows, d.channels, &work);
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
        on_host_moments(&dcgan_backend_cpu, mean, variance, d.x, d.rows, d.channels, &work);
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

/* 10000 + {-1, 0, 1}: the variance is 2/3 (biased); a one-pass sum of squares in floats would lose
 * it. */
static void moments_do_not_cancel(void **state) {
    const float x[] = {9999, 10000, 10001};
    float mean, variance;
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        on_host_moments(backends[b], &mean, &variance, x, 3, 1, &work);
        assert_true(mean == 10000);
        assert_true(fabs((double)variance - 2.0 / 3) <= 1e-7);
    }
}

static float *normalised(const dcgan_backend *b, const norm_data *d, float slope) {
    float *y = filled(d->count, NAN);
    on_host_normalise(b, y, d->x, d->mean, d->variance, d->scale, d->shift, d->rows, d->channels,
                      slope, &work);
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
    on_host_normalise(&dcgan_backend_cpu, y, y, d.mean, d.variance, d.scale, d.shift, d.rows,
                      d.channels, slope, &work);
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

/* Zero variance: (3 - 1) / sqrt(1e-5), times 2, minus 1; and the same below zero, with the
 * slope. */
static void normalise_as_computed_by_hand(void **state) {
    const float x[] = {3, -1}, mean[] = {1, 1}, variance[] = {0, 0.99999f}, scale[] = {2, 2},
                shift[] = {-1, -1};
    float y[2];
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        on_host_normalise(backends[b], y, x, mean, variance, scale, shift, 1, 2, 0.25f, &work);
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
    on_host_normalise_backward(b, g.dx, g.dscale, g.dshift, d->dy, d->x, d->mean, d->variance,
                               d->scale, d->shift, d->rows, d->channels, slope, &work);
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
        on_host_normalise_backward(b, dx, wanted & 1 ? dscale : NULL, wanted & 2 ? dshift : NULL,
                                   dx, d->x, d->mean, d->variance, d->scale, d->shift, d->rows,
                                   d->channels, slope, &work);
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

/* ---- activations ---- */

static void rectify_by_definition(void **state) {
    const float x[] = {-2, -1, -0.0f, 0, 1, 2, INFINITY, -INFINITY};
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t s = 1; s < SIZE(slopes); s++) {
            float y[SIZE(x)], dy[SIZE(x)];
            memcpy(y, x, sizeof x);
            on_host_rectify(backends[b], y, SIZE(x), slopes[s], &work);
            for (size_t i = 0; i < SIZE(x); i++) {
                dy[i] = (float)i + 1;
                assert_true(y[i] == (x[i] > 0 ? x[i] : slopes[s] * x[i]));
            }
            on_host_rectify_backward(backends[b], dy, y, SIZE(x), slopes[s], &work);
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
        on_host_rectify(backends[b], y[b], COUNT, 0.2f, &work);
        on_host_rectify_backward(backends[b], dy[b], y[b], COUNT, 0.2f, &work);
        on_host_hyperbolic_tangent(backends[b], t[b], COUNT, &work);
        on_host_hyperbolic_tangent_backward(backends[b], dt[b], t[0], COUNT, &work);
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
        on_host_hyperbolic_tangent(backends[b], x, SIZE(x), &work);
        assert_true(x[0] == 0 && x[1] == 1 && x[2] == -1 && x[4] == 1);
        assert_true(fabs((double)x[3] - 0.76159415595576488812) <= 1e-7);
        on_host_hyperbolic_tangent_backward(backends[b], dy, x, SIZE(x), &work);
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
            y = NAN, on_host_rectify(backends[b], &y, 1, slopes[s], &work);
            assert_true(isnan(y));
            y = NAN, on_host_rectify_backward(backends[b], &y, &zero, 1, slopes[s], &work);
            assert_true(isnan(y));
            y = NAN, on_host_hyperbolic_tangent(backends[b], &y, 1, &work);
            assert_true(isnan(y));
            on_host_normalise(backends[b], &y, &nan, &zero, &one, &scale, &shift, 1, 1, slopes[s],
                              &work);
            assert_true(isnan(y));
            on_host_moments(backends[b], &mean, &variance, &nan, 1, 1, &work);
            assert_true(isnan(mean) && isnan(variance));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        seeded_test(moments_equal_the_plain_ones),
        seeded_test(moments_do_not_cancel),
        seeded_test(normalise_equals_the_plain_one),
        seeded_test(normalise_as_computed_by_hand),
        seeded_test(normalise_backward_equals_the_plain_one),
        seeded_test(rectify_by_definition),
        seeded_test(activations_equal_the_plain_ones),
        seeded_test(hyperbolic_tangent_at_its_ends),
        seeded_test(no_layer_swallows_nan),
    };
    choose_seed();
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
