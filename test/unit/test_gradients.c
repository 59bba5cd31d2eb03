/*
 * test_gradients.c - every derivative against central differences, in double precision
 *
 * Compiled with -DDCGAN_DOUBLE, together with all of src/dcgan. A check draws a direction d and
 * compares (L(x + e d) - L(x - e d)) / 2e with the inner product of d and the computed gradient;
 * the error is relative to the gradient's norm, which is the standard deviation of that product. L
 * is the inner product of a layer's output with a random upstream gradient (a plain sum makes batch
 * norm's gradients vanish), or a unit's loss.
 *
 * Where e d carries a rectifier's input across zero, the difference is no derivative. So a check
 * may try up to TRIES directions, each with a fifth of the e before, and passes with the first that
 * agrees. That forgives nothing: a wrong gradient agrees with no direction, and its error does not
 * shrink with e. (Seen in units: 3 of 100 directions cross zero at e = 1e-6, one at 1e-7; where
 * none is crossed the error is some 1e-9.) A gradient of zero says nothing and fails.
 *
 * A gradient check proves consistency, not correctness: test_unit compares with PyTorch.
 *
 * Environment: GANN_TEST_SEED, the seed of all data, by default 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "on_host.h"
#include "../../src/dcgan/host/loss.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef DCGAN_DOUBLE
#error "compile test_gradients.c and src/dcgan with -DDCGAN_DOUBLE"
#endif

#define SIZE(array) (sizeof(array) / sizeof *(array))
#define TRIES 4
#define TOLERANCE 1e-6

static double norm_scratch[1 << 16];
static const dcgan_work work = {.scratch = norm_scratch};
static const dcgan_backend *const backends[] = {&dcgan_backend_naive, &dcgan_backend_cpu};
static uint64_t test_seed = 1, random_state;

/* ---- data ---- */

/* Draws 64 random bits (SplitMix64). */
static uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Draws with mean 0 and variance 1, from -sqrt(3) ... sqrt(3). */
static double random_number(void) {
    return ((double)(random_bits() >> 11) * 0x1p-52 - 1) * sqrt(3.0);
}

static double *numbers(size_t count, double mean, double deviation) {
    double *x = malloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = mean + deviation * random_number();
    return x;
}

static double inner(const double *x, const double *y, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* ---- the check ---- */

typedef double (*scalar_function)(void *context);

/* Moves x by step d, calls f and moves x back. */
static double moved(scalar_function f, void *context, double *x, const double *d, double step,
                    size_t count) {
    double result, *kept = malloc(count * sizeof *kept);

    memcpy(kept, x, count * sizeof *kept);
    for (size_t i = 0; i < count; i++)
        x[i] += step * d[i];
    result = f(context);
    memcpy(x, kept, count * sizeof *kept);
    free(kept);
    return result;
}

/* Computes the error of one directional derivative. */
static double direction_error(scalar_function f, void *context, double *x, const double *gradient,
                              size_t count, double step) {
    double *d = numbers(count, 0, 1);
    double above = moved(f, context, x, d, step, count),
           below = moved(f, context, x, d, -step, count);
    double error = fabs((above - below) / (2 * step) - inner(gradient, d, count));

    free(d);
    return error;
}

/* Computes the error that is allowed: relative to the norm, and what rounding f costs, at most a
 * hundredth. */
static double allowed_error(double norm, double step) {
    double rounding = 16 * DBL_EPSILON / step;
    return TOLERANCE * norm + (rounding < norm / 100 ? rounding : norm / 100);
}

/* Checks the gradient of f with respect to x, which f's context reads. */
static void check_gradient(const char *what, scalar_function f, void *context, double *x,
                           const double *gradient, size_t count, double step) {
    double error = INFINITY, norm = sqrt(inner(gradient, gradient, count));

    if (!(norm > 1e-7))
        fail_msg("%s: the gradient's norm is %g, comparing it says nothing", what, norm);
    for (int i = 0; i < TRIES; i++, step /= 5) {
        error = direction_error(f, context, x, gradient, count, step);
        if (error <= allowed_error(norm, step))
            return;
    }
    fail_msg("%s: error %g (norm of the gradient %g, seed %" PRIu64 ")", what, error, norm,
             test_seed);
}

/* ---- convolutions ---- */

typedef struct conv_data {
    const dcgan_backend *backend;
    dcgan_convolution shape;
    size_t images, small_count, large_count, weight_count;
    /* inputs, and at the other end the upstream gradient */
    double *small, *large, *weights, *scratch;
    dcgan_work work;
} conv_data;

static const struct {
    size_t images, height, width, small, large, stride;
} conv_cases[] = {{2, 3, 5, 7, 11, 2},
                  {5, 7, 2, 3, 1, 2},
                  {3, 1, 1, 7, 5, 1},
                  {2, 2, 3, 5, 7, 1},
                  {2, 4, 8, 32, 16, 2}};

static conv_data open_conv(const dcgan_backend *backend, size_t n) {
    size_t two = conv_cases[n].stride == 2, h = conv_cases[n].height, w = conv_cases[n].width;
    conv_data d = {.backend = backend, .images = conv_cases[n].images};

    d.shape = (dcgan_convolution){.small_height = h,
                                  .small_width = w,
                                  .small_channels = conv_cases[n].small,
                                  .large_height = two ? 2 * h : h + 3,
                                  .large_width = two ? 2 * w : w + 3,
                                  .large_channels = conv_cases[n].large,
                                  .stride = conv_cases[n].stride,
                                  .padding = two ? 1 : 0};
    d.small_count = d.images * h * w * d.shape.small_channels;
    d.large_count = d.images * d.shape.large_height * d.shape.large_width * d.shape.large_channels;
    d.weight_count = 16 * d.shape.small_channels * d.shape.large_channels;
    d.small = numbers(d.small_count, 0, 1);
    d.large = numbers(d.large_count, 0, 1);
    d.weights = numbers(d.weight_count, 0, 1);
    d.scratch = numbers(dcgan_backend_cpu.scratch_count(&d.shape, d.images), 0, 1);
    d.work.scratch = d.scratch;
    return d;
}

static void close_conv(conv_data *d) {
    free(d->small), free(d->large), free(d->weights), free(d->scratch);
}

/* <conv(large, weights), small> */
static double convolution_scalar(void *context) {
    const conv_data *d = context;
    double *y = numbers(d->small_count, 0, 1), sum;
    on_host_convolution(d->backend, y, d->large, d->weights, d->images, &d->shape, &d->work);
    sum = inner(y, d->small, d->small_count);
    free(y);
    return sum;
}

/* <large, convT(small, weights)> */
static double transposed_scalar(void *context) {
    const conv_data *d = context;
    double *x = numbers(d->large_count, 0, 1), sum;
    on_host_transposed_convolution(d->backend, x, d->small, d->weights, d->images, &d->shape,
                                   &d->work);
    sum = inner(x, d->large, d->large_count);
    free(x);
    return sum;
}

static void check_conv(const dcgan_backend *b, size_t n) {
    conv_data d = open_conv(b, n);
    double *dlarge = numbers(d.large_count, 0, 1), *dsmall = numbers(d.small_count, 0, 1);
    double *dweights = calloc(d.weight_count, sizeof *dweights);

    on_host_transposed_convolution(b, dlarge, d.small, d.weights, d.images, &d.shape, &d.work);
    on_host_convolution(b, dsmall, d.large, d.weights, d.images, &d.shape, &d.work);
    on_host_weight_gradient(b, dweights, d.large, d.small, d.images, &d.shape, &d.work);
    check_gradient("convolution by its input", convolution_scalar, &d, d.large, dlarge,
                   d.large_count, 1e-3);
    check_gradient("convolution by its weights", convolution_scalar, &d, d.weights, dweights,
                   d.weight_count, 1e-3);
    check_gradient("transposed convolution by its input", transposed_scalar, &d, d.small, dsmall,
                   d.small_count, 1e-3);
    check_gradient("transposed convolution by its weights", transposed_scalar, &d, d.weights,
                   dweights, d.weight_count, 1e-3);
    free(dlarge), free(dsmall), free(dweights);
    close_conv(&d);
}

static void gradients_of_convolutions(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t n = 0; n < SIZE(conv_cases); n++)
            check_conv(backends[b], n);
}

/* ---- batch norm ---- */

typedef struct norm_data {
    const dcgan_backend *backend;
    size_t rows, channels, count;
    double slope;
    double *x, *y, *mean, *variance, *scale, *shift, *upstream;
} norm_data;

static norm_data open_norm(const dcgan_backend *backend, size_t rows, size_t channels,
                           double slope) {
    norm_data d = {.backend = backend, .rows = rows, .channels = channels, .slope = slope};

    d.count = rows * channels;
    d.x = numbers(d.count, 0.5, 2);
    d.y = numbers(d.count, 0, 1);
    d.mean = numbers(channels, 0, 1);
    d.variance = numbers(channels, 0, 1);
    d.scale = numbers(channels, 1, 0.3);
    d.shift = numbers(channels, 0, 0.3);
    d.upstream = numbers(d.count, 0.2, 1);
    return d;
}

static void close_norm(norm_data *d) {
    free(d->x), free(d->y), free(d->mean), free(d->variance), free(d->scale), free(d->shift),
        free(d->upstream);
}

/* Batch norm in training: through the batch's own moments. */
static double norm_scalar(void *context) {
    const norm_data *d = context;
    on_host_moments(d->backend, d->mean, d->variance, d->x, d->rows, d->channels, &work);
    on_host_normalise(d->backend, d->y, d->x, d->mean, d->variance, d->scale, d->shift, d->rows,
                      d->channels, d->slope, &work);
    return inner(d->y, d->upstream, d->count);
}

static void check_norm(const dcgan_backend *b, size_t rows, size_t channels, double slope) {
    norm_data d = open_norm(b, rows, channels, slope);
    double *dx = numbers(d.count, 0, 1);
    double *dscale = calloc(channels, sizeof *dscale), *dshift = calloc(channels, sizeof *dshift);

    norm_scalar(&d);
    on_host_normalise_backward(b, dx, dscale, dshift, d.upstream, d.x, d.mean, d.variance, d.scale,
                               d.shift, rows, channels, slope, &work);
    check_gradient("batch norm by its input", norm_scalar, &d, d.x, dx, d.count, 1e-5);
    check_gradient("batch norm by its scale", norm_scalar, &d, d.scale, dscale, channels, 1e-5);
    check_gradient("batch norm by its shift", norm_scalar, &d, d.shift, dshift, channels, 1e-5);
    free(dx), free(dscale), free(dshift);
    close_norm(&d);
}

static void gradients_of_batch_norm(void **state) {
    const double slopes[] = {1, 0.2, 0};
    (void)state;
    for (size_t b = 0; b < 2; b++)
        for (size_t s = 0; s < SIZE(slopes); s++) {
            check_norm(backends[b], 7, 5, slopes[s]);
            check_norm(backends[b], 5, 67, slopes[s]); /* two blocks of channels */
            check_norm(backends[b], 37, 3, slopes[s]);
        }
}

/* ---- activations and losses ---- */

enum { ACTIVATIONS = 101 };

typedef struct activation_data {
    const dcgan_backend *backend;
    int tangent;
    double *x, *y, *upstream;
} activation_data;

static double activation_scalar(void *context) {
    const activation_data *d = context;
    memcpy(d->y, d->x, ACTIVATIONS * sizeof *d->y);
    if (d->tangent)
        on_host_hyperbolic_tangent(d->backend, d->y, ACTIVATIONS, &work);
    else
        on_host_rectify(d->backend, d->y, ACTIVATIONS, 0.2, &work);
    return inner(d->y, d->upstream, ACTIVATIONS);
}

static void check_activation(const dcgan_backend *b, int tangent) {
    activation_data d = {b, tangent, numbers(ACTIVATIONS, 0, 1), numbers(ACTIVATIONS, 0, 1),
                         numbers(ACTIVATIONS, 0, 1)};
    double *dx = malloc(ACTIVATIONS * sizeof *dx);

    activation_scalar(&d);
    memcpy(dx, d.upstream, ACTIVATIONS * sizeof *dx);
    if (tangent)
        on_host_hyperbolic_tangent_backward(b, dx, d.y, ACTIVATIONS, &work);
    else
        on_host_rectify_backward(b, dx, d.y, ACTIVATIONS, 0.2, &work);
    check_gradient(tangent ? "tanh" : "rectifier", activation_scalar, &d, d.x, dx, ACTIVATIONS,
                   1e-5);
    free(dx), free(d.x), free(d.y), free(d.upstream);
}

static void gradients_of_activations(void **state) {
    (void)state;
    for (size_t b = 0; b < 2; b++) {
        check_activation(backends[b], 0);
        check_activation(backends[b], 1);
    }
}

static double real_scalar(void *context) {
    return loss_real(context, ACTIVATIONS);
}

static double fake_scalar(void *context) {
    return loss_fake(context, ACTIVATIONS);
}

static void gradients_of_losses(void **state) {
    double *logits = numbers(ACTIVATIONS, 0, 5), *d = malloc(ACTIVATIONS * sizeof *d);
    (void)state;
    loss_backward(d, logits, ACTIVATIONS, 1.0, 1.0);
    check_gradient("loss_real", real_scalar, logits, logits, d, ACTIVATIONS, 1e-5);
    loss_backward(d, logits, ACTIVATIONS, 0.0, 1.0);
    check_gradient("loss_fake", fake_scalar, logits, logits, d, ACTIVATIONS, 1e-5);
    free(logits), free(d);
}

/* ---- whole units ---- */

typedef struct unit_data {
    dcgan_model model;
    dcgan_unit unit;
    dcgan_unit_result result;
    double *weights, *gradient, *statistics;
    uint8_t *images;
    void *workspace;
    size_t workspace_bytes;
} unit_data;

/* Draws weights large enough for lively gradients. */
static void draw_weights(unit_data *d) {
    for (size_t t = 0; t < d->model.tensor_count; t++) {
        const dcgan_tensor *part = &d->model.tensors[t];
        for (size_t j = 0; j < part->count; j++)
            d->weights[part->offset + j] = part->mean + 0.2 * random_number();
    }
}

static unit_data *open_unit(const dcgan_config *config, size_t count, size_t batch) {
    unit_data *d = calloc(1, sizeof *d);

    assert_int_equal(dcgan_model_init(&d->model, config), DCGAN_OK);
    assert_int_equal(dcgan_unit_workspace(&d->model, NULL, batch, &d->workspace_bytes), DCGAN_OK);
    d->weights = malloc(d->model.parameter_count * sizeof(double));
    d->gradient = malloc(d->model.parameter_count * sizeof(double));
    d->statistics = malloc(d->model.statistics_count * sizeof(double));
    d->workspace = malloc(d->workspace_bytes);
    d->images = malloc(count * d->model.image_count);
    draw_weights(d);
    for (size_t i = 0; i < count * d->model.image_count; i++)
        d->images[i] = (uint8_t)random_bits();
    d->unit = (dcgan_unit){.weights = d->weights,
                           .images = d->images,
                           .count = count,
                           .batch = batch,
                           .seed = random_bits(),
                           .iteration = 3,
                           .position = UINT32_MAX - 1, /* positions wrap within the unit */
                           .threads = 1};
    d->result = (dcgan_unit_result){.gradient = d->gradient, .statistics = d->statistics};
    return d;
}

static void close_unit(unit_data *d) {
    free(d->weights), free(d->gradient), free(d->statistics), free(d->images), free(d->workspace);
    free(d);
}

static void run_unit(unit_data *d) {
    assert_int_equal(
        dcgan_unit_gradients(&d->model, &d->unit, &d->result, d->workspace, d->workspace_bytes),
        DCGAN_OK);
}

static double discriminator_loss(void *context) {
    unit_data *d = context;
    run_unit(d);
    return d->result.loss_d;
}

static double generator_loss(void *context) {
    unit_data *d = context;
    run_unit(d);
    return d->result.loss_g;
}

/* Checks each tensor of both networks, by the loss of its own network. */
static void check_unit(const dcgan_config *config, size_t count, size_t batch) {
    unit_data *d = open_unit(config, count, batch);
    double *gradient = malloc(d->model.parameter_count * sizeof *gradient);

    run_unit(d);
    memcpy(gradient, d->gradient, d->model.parameter_count * sizeof *gradient);
    assert_true(d->result.loss_d > 0.1 && d->result.loss_g > 0.01);
    for (size_t t = 0; t < d->model.tensor_count; t++) {
        const dcgan_tensor *part = &d->model.tensors[t];
        int generators = part->offset < d->model.discriminator.first;
        char what[80];
        snprintf(what, sizeof what, "%s at %ux%u", part->name, config->image_size,
                 config->image_size);
        check_gradient(what, generators ? generator_loss : discriminator_loss, d,
                       d->weights + part->offset, gradient + part->offset, part->count, 1e-7);
    }
    free(gradient);
    close_unit(d);
}

static void gradients_of_a_unit_at_32x32(void **state) {
    (void)state;
    check_unit(&(dcgan_config){3, 32, 7, 3, 5}, 5, 3); /* the last minibatch is shorter */
    check_unit(&(dcgan_config){1, 32, 5, 2, 3}, 3, 3);
}

static void gradients_of_a_unit_at_64x64(void **state) {
    (void)state;
    check_unit(&(dcgan_config){3, 64, 7, 2, 1}, 3, 2);
}

static void gradients_of_a_unit_at_128x128(void **state) {
    (void)state;
    check_unit(&(dcgan_config){1, 128, 5, 1, 1}, 2, 2);
}

static int reseed(void **state) {
    (void)state;
    random_state = test_seed;
    return 0;
}

#define seeded_test(f) cmocka_unit_test_setup(f, reseed)

int main(void) {
    const struct CMUnitTest tests[] = {
        seeded_test(gradients_of_convolutions),      seeded_test(gradients_of_batch_norm),
        seeded_test(gradients_of_activations),       seeded_test(gradients_of_losses),
        seeded_test(gradients_of_a_unit_at_32x32),   seeded_test(gradients_of_a_unit_at_64x64),
        seeded_test(gradients_of_a_unit_at_128x128),
    };
    if (getenv("GANN_TEST_SEED"))
        test_seed = strtoull(getenv("GANN_TEST_SEED"), NULL, 10);
    printf("# GANN_TEST_SEED=%" PRIu64 "\n", test_seed);
    fflush(stdout);
    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
