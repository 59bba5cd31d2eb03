/*
 * test_winograd.c - the Winograd path on every instruction set of this machine, against the
 * plainest loops
 *
 * Compiled twice: with floats, and with doubles (test_winograd_double.c), where only rounding may
 * be left of the difference and a wrong coefficient has nothing to hide behind.
 */
#include "on_host.h"
#include "../../src/dcgan/cpu/im2col.h"
#include "../../src/dcgan/cpu/kernels.h"
#include "../../src/dcgan/cpu/paths.h"
#include "../../src/dcgan/cpu/winograd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof *(array))
#define CANARY ((real)99)

#ifdef DCGAN_DOUBLE
#define TOLERANCE 4e-14
#else
#define TOLERANCE 1e-5 /* of the largest output */
#endif

static uint64_t test_seed = 1, random_state;

/* Draws from -1 ... 1 (SplitMix64). */
static double random_unit(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1;
}

/* Allocates count numbers, aligned as the library's workspace is, and a canary behind them. */
static real *filled(size_t count, real value) {
    real *x = aligned_alloc(64, ((count + 1) * sizeof *x + 63) / 64 * 64);
    for (size_t i = 0; i < count; i++)
        x[i] = value;
    x[count] = CANARY;
    return x;
}

static real *randoms(size_t count) {
    real *x = filled(count, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (real)random_unit();
    return x;
}

/* Fails unless x is y to the tolerance, in the largest norm; and unless what lies behind them is
 * untouched. */
static void close_to(const char *what, const char *path, real *x, real *y, size_t count) {
    double largest = 0, error = 0;

    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)x[i] - (double)y[i]);
        largest = fmax(largest, fabs((double)y[i]));
        error = !(difference <= error) ? difference : error; /* NaN stays */
    }
    if (!(error <= TOLERANCE * largest) || !(largest > 0.1))
        fail_msg("%s, %s: error %g of %g (seed %" PRIu64 ")", what, path, error, largest,
                 test_seed);
    assert_true(x[count] == CANARY && y[count] == CANARY);
}

/* ---- one convolution ---- */

typedef struct conv_case {
    size_t images, height, width, small, large;
} conv_case;

static const conv_case cases[] = {
    {1, 4, 4, 32, 16},   /* the smallest: one tile, one panel, one vector */
    {3, 4, 8, 32, 48},   /* not square, an odd number of panels of inputs */
    {2, 12, 4, 96, 16},  /* three panels of outputs */
    {2, 8, 8, 160, 80},  /* more than a slice of panels */
    {7, 8, 8, 64, 32},   /* rows that are no multiple of a block of sums */
    {3, 32, 32, 32, 16}, /* blocks of four images, the last one of three */
    {70, 8, 8, 32, 16},  /* blocks of 64 images, the last one of six */
    {1, 68, 64, 32, 16}, /* an image of more tiles than a block */
};

typedef struct conv_data {
    dcgan_convolution shape;
    size_t images, small_count, large_count, weight_count, scratch_count;
    real *small, *large, *weights, *start;
} conv_data;

static conv_data open_conv(const conv_case *c) {
    conv_data d = {.shape = {.small_height = c->height,
                             .small_width = c->width,
                             .small_channels = c->small,
                             .large_height = 2 * c->height,
                             .large_width = 2 * c->width,
                             .large_channels = c->large,
                             .stride = 2,
                             .padding = 1},
                   .images = c->images};

    d.small_count = c->images * c->height * c->width * c->small;
    d.large_count = c->images * 4 * c->height * c->width * c->large;
    d.weight_count = 16 * c->small * c->large;
    d.scratch_count = dcgan_backend_cpu.scratch_count(&d.shape, d.images);
    d.small = randoms(d.small_count);
    d.large = randoms(d.large_count);
    d.weights = randoms(d.weight_count);
    d.start = randoms(d.weight_count);
    return d;
}

static void close_conv(conv_data *d) {
    free(d->small), free(d->large), free(d->weights), free(d->start);
}

/* The three results of a backend; dweights was start before. */
typedef struct conv_result {
    real *small, *large, *dweights;
} conv_result;

static conv_result run_conv(const dcgan_backend *b, const conv_data *d, pool *threads) {
    real *scratch = filled(d->scratch_count, NAN);
    const dcgan_work work = {scratch, threads};
    conv_result r = {filled(d->small_count, NAN), filled(d->large_count, NAN),
                     filled(d->weight_count, 0)};

    memcpy(r.dweights, d->start, d->weight_count * sizeof(real));
    on_host_convolution(b, r.small, d->large, d->weights, d->images, &d->shape, &work);
    on_host_transposed_convolution(b, r.large, d->small, d->weights, d->images, &d->shape, &work);
    on_host_weight_gradient(b, r.dweights, d->large, d->small, d->images, &d->shape, &work);
    assert_true(scratch[d->scratch_count] == CANARY);
    free(scratch);
    return r;
}

static void free_result(conv_result *r) {
    free(r->small), free(r->large), free(r->dweights);
}

static void compare(const char *path, const conv_data *d, const conv_result *x,
                    const conv_result *y) {
    close_to("convolution", path, x->small, y->small, d->small_count);
    close_to("transposed convolution", path, x->large, y->large, d->large_count);
    close_to("weight gradient", path, x->dweights, y->dweights, d->weight_count);
}

static void every_path_equals_the_plain_loops(void **state) {
    (void)state;
    for (size_t n = 0; n < SIZE(cases); n++) {
        conv_data d = open_conv(&cases[n]);
        conv_result plain = run_conv(&dcgan_backend_naive, &d, NULL), r;

        assert_true(cpu_path_prefer("im2col"));
        assert_string_equal(cpu_path_name(&d.shape), "im2col");
        r = run_conv(&dcgan_backend_cpu, &d, NULL);
        compare("im2col", &d, &r, &plain);
        free_result(&r);
        assert_true(cpu_path_prefer(NULL));
        for (size_t k = 0; kernels_list(k); k++) {
            kernels_force(kernels_list(k));
            assert_non_null(strstr(cpu_path_name(&d.shape), kernels_list(k)->name));
            r = run_conv(&dcgan_backend_cpu, &d, NULL);
            compare(kernels_list(k)->name, &d, &r, &plain);
            free_result(&r);
        }
        kernels_force(NULL);
        free_result(&plain);
        close_conv(&d);
    }
}

static void threads_change_no_bit(void **state) {
    (void)state;
    for (size_t n = 0; n < SIZE(cases); n++)
        for (int prefer = 0; prefer < 2; prefer++) {
            conv_data d = open_conv(&cases[n]);
            conv_result alone, together;
            pool threads;

            cpu_path_prefer(prefer ? "im2col" : NULL);
            alone = run_conv(&dcgan_backend_cpu, &d, NULL);
            pool_start(&threads, 3);
            together = run_conv(&dcgan_backend_cpu, &d, &threads);
            pool_stop(&threads);
            assert_memory_equal(alone.small, together.small, d.small_count * sizeof(real));
            assert_memory_equal(alone.large, together.large, d.large_count * sizeof(real));
            assert_memory_equal(alone.dweights, together.dweights, d.weight_count * sizeof(real));
            free_result(&alone), free_result(&together);
            close_conv(&d);
        }
    cpu_path_prefer(NULL);
}

/* What the kernels can't compute must be left to im2col. */
static void other_shapes_are_declined(void **state) {
    const dcgan_convolution fine = {4, 4, 32, 8, 8, 16, 2, 1};
    dcgan_convolution s;
    (void)state;
    assert_true(winograd_takes(&fine));
    s = fine, s.small_height = 6, s.large_height = 12, assert_false(winograd_takes(&s));
    s = fine, s.small_width = 2, s.large_width = 4, assert_false(winograd_takes(&s));
    s = fine, s.small_channels = 48, assert_false(winograd_takes(&s));
    s = fine, s.large_channels = 24, assert_false(winograd_takes(&s));
    s = fine, s.large_channels = 3, assert_false(winograd_takes(&s));
    s = fine, s.stride = 1, s.padding = 0, s.large_height = s.large_width = 7,
    assert_false(winograd_takes(&s));
    assert_string_equal(cpu_path_name(&s), "im2col");
    assert_false(cpu_path_prefer("no such path"));
}

/* ---- a whole unit ---- */

typedef struct unit_data {
    dcgan_model model;
    real *weights;
    uint8_t images[5 * 32 * 32 * 3];
} unit_data;

/* Computes a unit of five images, in minibatches of three, with networks that are wide enough for
 * Winograd. */
static real *unit_gradient(unit_data *u, int threads) {
    const dcgan_config config = {3, 32, 20, 16, 16};
    dcgan_unit unit = {
        .count = 5, .batch = 3, .seed = 7, .iteration = 2, .position = 11, .threads = threads};
    dcgan_unit_result result = {0};
    void *workspace;
    size_t bytes;

    assert_int_equal(dcgan_model_init(&u->model, &config), DCGAN_OK);
    u->weights = filled(u->model.parameter_count, 0);
    dcgan_initialise(&u->model, 5, 0, u->model.parameter_count, u->weights);
    for (size_t i = 0; i < u->model.parameter_count; i++)
        u->weights[i] *= 3; /* gradients that one can see */
    for (size_t i = 0; i < sizeof u->images; i++)
        u->images[i] = (uint8_t)(i * 2654435761u >> 24);
    unit.weights = u->weights;
    unit.images = u->images;
    result.gradient = filled(u->model.parameter_count, NAN);
    result.statistics = filled(u->model.statistics_count, NAN);
    assert_int_equal(dcgan_unit_workspace(&u->model, NULL, 3, &bytes), DCGAN_OK);
    workspace = malloc(bytes);
    assert_int_equal(dcgan_unit_gradients(&u->model, &unit, &result, workspace, bytes), DCGAN_OK);
    free(workspace), free(u->weights), free(result.statistics);
    return result.gradient;
}

#ifdef DCGAN_DOUBLE
/* Fails unless the gradient of a unit is expected, in the Euclidean norm. */
static void same_gradient(const char *what, const real *x, const real *expected, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)x[i] - (double)expected[i], 2);
        norm += pow((double)expected[i], 2);
    }
    if (!(sqrt(difference) <= 10 * TOLERANCE * sqrt(norm)))
        fail_msg("%s: relative error %g", what, sqrt(difference / norm));
}

/* With floats, rounding turns the sign of a rectifier's input here and there: only doubles can be
 * compared. */
static void a_unit_is_the_same_on_every_path(void **state) {
    unit_data u;
    real *expected, *gradient;
    (void)state;
    cpu_path_prefer("im2col");
    expected = unit_gradient(&u, 1);
    cpu_path_prefer(NULL);
    for (size_t k = 0; kernels_list(k); k++) {
        kernels_force(kernels_list(k));
        assert_non_null(strstr(cpu_path_name(&u.model.discriminator.layers[1].shape), "Winograd"));
        gradient = unit_gradient(&u, 1);
        same_gradient(kernels_list(k)->name, gradient, expected, u.model.parameter_count);
        free(gradient);
    }
    kernels_force(NULL);
    free(expected);
}
#endif

static void a_unit_has_the_same_bits_with_more_threads(void **state) {
    unit_data u;
    real *alone = unit_gradient(&u, 1);
    (void)state;
    for (int threads = 2; threads < 6; threads++) {
        real *together = unit_gradient(&u, threads);
        assert_memory_equal(alone, together, u.model.parameter_count * sizeof(real));
        free(together);
    }
    free(alone);
}

static int seed_random(void **state) {
    (void)state;
    random_state = test_seed;
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_path_equals_the_plain_loops, seed_random),
        cmocka_unit_test_setup(threads_change_no_bit, seed_random),
        cmocka_unit_test(other_shapes_are_declined),
#ifdef DCGAN_DOUBLE
        cmocka_unit_test(a_unit_is_the_same_on_every_path),
#endif
        cmocka_unit_test(a_unit_has_the_same_bits_with_more_threads),
    };
    const char *seed = getenv("GANN_TEST_SEED");

    if (seed)
        test_seed = strtoull(seed, NULL, 0);
    return cmocka_run_group_tests_name(
        sizeof(real) == 8 ? "winograd in double precision" : "winograd", tests, NULL, NULL);
}
