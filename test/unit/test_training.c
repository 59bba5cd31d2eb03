/*
 * test_training.c - losses, Adam, means, statistics and samples against their definitions
 */
#include "numbers.h"

#include "../../src/dcgan/host/loss.h"

static float norm_scratch[1 << 16];
static const dcgan_work work = {.scratch = norm_scratch};

/* ---- losses ---- */

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

/* ---- the step ---- */

static const dcgan_adam_options adam = {2e-4, 0.5, 0.999, 1e-8};

/* Takes one parameter's step in double precision and compares. */
static void check_adam_number(const dcgan_adam_options *o, uint64_t t, const double before[3],
                              double g, const float after[3]) {
    double m = o->beta1 * before[1] + (1 - o->beta1) * g,
           v = o->beta2 * before[2] + (1 - o->beta2) * g * g;
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
    float *g = reals(COUNT, 0, 1e-2), *w0 = copy_of(w, COUNT), *m0 = copy_of(m, COUNT),
          *v0 = copy_of(v, COUNT);

    dcgan_adam(w, m, v, g, 50, t, o); /* any slices */
    dcgan_adam(w + 50, m + 50, v + 50, g + 50, COUNT - 50, t, o);
    for (size_t i = 0; i < COUNT; i++)
        check_adam_number(o, t, (double[]){(double)w0[i], (double)m0[i], (double)v0[i]},
                          (double)g[i], (float[]){w[i], m[i], v[i]});
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
    /* the first step is the learning rate, whatever the gradient */
    dcgan_adam(w, m, v, g, 4, 1, &adam);
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
    assert_true(fabs(sum / ((double)huge[0] * (double)huge[0] + (double)huge[1] * (double)huge[1]) -
                     1) <= 1e-12);
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

/* ---- statistics ---- */

static dcgan_model small_model(void) {
    const dcgan_config config = {1, 32, 3, 3, 2};
    dcgan_model model;
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    return model;
}

/* Finds the channels of the batch norm whose statistics start at an offset; 0: none does. */
static size_t norm_at(const dcgan_model *model, size_t offset, const dcgan_layer **layer,
                      int *discriminator) {
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
        on_host_moments(&dcgan_backend_naive, statistics + o, statistics + o + c,
                        values[i] + first * c, rows, c, &work);
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
            assert_true(merged[o + i] == 0.1f && merged[o + c + i] >= 0 &&
                        merged[o + c + i] <= 1e-15f);
    }
    free(part), free(merged), free(sums);
}

/* running += momentum (merged - running), with the unbiased variance: M images, rows and columns,
 * D's twice. */
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
        double side =
            discriminator ? (double)layer->shape.small_width : (double)layer->shape.large_width;
        double m = (double)images * side * side * (discriminator ? 2 : 1);
        for (size_t i = o; i < o + 2 * c; i++) {
            double target = (double)merged[i] * (i < o + c ? 1 : m / (m - 1));
            double expected = (double)before[i] + 0.1 * (target - (double)before[i]);
            assert_true(fabs((double)running[i] - expected) <= 2e-7);
        }
    }
    free(running), free(merged), free(before);
}

/* ---- samples ---- */

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

int main(void) {
    const struct CMUnitTest tests[] = {
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
    choose_seed();
    return cmocka_run_group_tests_name("training", tests, NULL, NULL);
}
