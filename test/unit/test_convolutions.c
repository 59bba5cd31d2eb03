/*
 * test_convolutions.c - the fast convolutions against the plain ones
 *
 * Compared on small integers, whose sums stay below 2^24: whatever the order of the additions,
 * floats hold them exactly, so the comparison is for equality. Outputs and scratch memory start as
 * NaN: nothing may be read before it is written.
 */
#include "numbers.h"

static const dcgan_backend *const backends[] = {&dcgan_backend_naive, &dcgan_backend_cpu};

/* ---- convolutions ---- */

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
    on_host_convolution(b, y, d->large, d->weights, d->images, &d->shape, &d->work);
    return y;
}

static float *transposed(const dcgan_backend *b, conv_data *d) {
    float *x = filled(d->large_count, NAN);
    on_host_transposed_convolution(b, x, d->small, d->weights, d->images, &d->shape, &d->work);
    return x;
}

/* Adds the gradient to a copy of start. */
static float *weighted(const dcgan_backend *b, conv_data *d, const float *start) {
    float *dw = copy_of(start, d->weight_count);
    on_host_weight_gradient(b, dw, d->large, d->small, d->images, &d->shape, &d->work);
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

    snprintf(what, sizeof what, "case %zu (%zux%zux%zu, %zu to %zu)", (size_t)(c - cases),
             c->images, c->height, c->width, c->small, c->large);
    both_same(what, convolved(backends[0], &d), convolved(backends[1], &d), d.small_count);
    both_same(what, transposed(backends[0], &d), transposed(backends[1], &d), d.large_count);
    both_same(what, weighted(backends[0], &d, start), weighted(backends[1], &d, start),
              d.weight_count);
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

/* <conv(x, W), y> = <x, convT(y, W)> = <W, dW(x, y)>, without a rounding error; returns if it isn't
 * just 0. */
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

/* Reads the weight that joins larger pixel (u, v) to smaller pixel (i, j), straight from
 * docs/format.md section 4. */
static float joining_weight(const conv_data *d, long u, long v, long i, long j, size_t b,
                            size_t a) {
    const dcgan_convolution *s = &d->shape;
    long ky = u + (long)s->padding - (long)s->stride * i,
         kx = v + (long)s->padding - (long)s->stride * j;

    if (ky < 0 || ky > 3 || kx < 0 || kx > 3)
        return 0;
    return d->weights[((b * 4 + (size_t)ky) * 4 + (size_t)kx) * s->large_channels + a];
}

/* One pixel of one channel set to 1: what comes out is a piece of the weights. */
static void check_single_pixel(const dcgan_backend *backend, const conv_case *c, size_t u, size_t v,
                               size_t a) {
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
                    check_single_pixel(backends[backend], &cases[n], u, v,
                                       (u + v) % s.large_channels);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        seeded_test(convolutions_equal_the_plain_ones),
        seeded_test(convolutions_are_adjoint),
        seeded_test(weight_gradients_are_added),
        seeded_test(a_single_pixel_shows_the_weights),
    };
    choose_seed();
    return cmocka_run_group_tests_name("convolutions", tests, NULL, NULL);
}
