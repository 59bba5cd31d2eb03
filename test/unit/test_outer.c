/*
 * test_outer.c - outer optimisers against torch.optim, schedules, and which network is stepped when
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"

#include <math.h>
#include <string.h>

#define N 3

/* Three steps from the same weights with the same mean changes. */
typedef struct three_steps {
    float weights[N], moment1[N], moment2[N];
} three_steps;

static three_steps take_three(const dcgan_outer_options *options) {
    static const float changes[3][N] = {
        {0.1f, -0.02f, 0.f}, {-0.05f, 0.03f, 0.2f}, {0.01f, 0.01f, -0.1f}};
    three_steps s = {.weights = {1.f, -2.f, 0.5f}};

    for (uint64_t t = 1; t <= 3; t++) {
        float change[N];
        memcpy(change, changes[t - 1], sizeof change);
        dcgan_outer(s.weights, s.moment1, s.moment2, change, N, t, options);
    }
    return s;
}

static void near(const float *got, const double *expected) {
    for (int i = 0; i < N; i++)
        assert_true(fabs(got[i] - expected[i]) <= 1e-6 * fmax(fabs(expected[i]), 1e-2));
}

static void average_adds_the_change(void **state) {
    const dcgan_outer_options whole = {.optimizer = DCGAN_OUTER_AVERAGE, .learning_rate = 1},
                              half = {.optimizer = DCGAN_OUTER_AVERAGE, .learning_rate = 0.5};
    three_steps s = take_three(&whole);
    (void)state;

    near(s.weights, (double[]){1.06, -1.98, 0.6});
    s = take_three(&half);
    near(s.weights, (double[]){1.03, -1.99, 0.55});
    for (int i = 0; i < N; i++)
        assert_true(s.moment1[i] == 0 && s.moment2[i] == 0);
    assert_int_equal(dcgan_outer_moments(DCGAN_OUTER_AVERAGE), 0);
}

/* torch.optim.SGD(lr=0.7, momentum=0.9, nesterov=True) on the gradients -change */
static void nesterov_equals_pytorch(void **state) {
    const dcgan_outer_options options = {
        .optimizer = DCGAN_OUTER_NESTEROV, .learning_rate = 0.7, .momentum = 0.9};
    three_steps s = take_three(&options);
    (void)state;

    near(s.weights, (double[]){1.15918, -1.977936, 0.7464});
    near(s.moment1, (double[]){-0.046, -0.0208, -0.08});
    assert_true(s.moment2[0] == 0 && s.moment2[1] == 0 && s.moment2[2] == 0);
    assert_int_equal(dcgan_outer_moments(DCGAN_OUTER_NESTEROV), 1);
}

/* torch.optim.Adam(lr=0.01, betas=(0.9, 0.999)) on the gradients -change */
static void adam_equals_pytorch(void **state) {
    const dcgan_outer_options options = {.optimizer = DCGAN_OUTER_ADAM,
                                         .learning_rate = 0.01,
                                         .momentum = 0.9,
                                         .beta2 = 0.999,
                                         .epsilon = 1e-8};
    three_steps s = take_three(&options);
    (void)state;

    near(s.weights, (double[]){1.01528357, -2.00396964, 0.509727771});
    near(s.moment1, (double[]){-0.0046, -0.00208, -0.008});
    for (int i = 0; i < N; i++)
        assert_true(fabs(s.moment2[i] - (double[]){1.257751e-05, 1.3983004e-06, 4.996e-05}[i]) <=
                    1e-10);
    assert_int_equal(dcgan_outer_moments(DCGAN_OUTER_ADAM), 2);
}

static void a_schedule_warms_up_and_falls(void **state) {
    const dcgan_schedule constant = {.target = 10}, warm = {.warmup = 4, .target = 10},
                         linear = {.linear = 1, .target = 10},
                         both = {.linear = 1, .warmup = 4, .target = 10};
    (void)state;

    assert_true(dcgan_schedule_factor(&constant, 0) == 1 &&
                dcgan_schedule_factor(&constant, 9) == 1);
    assert_true(dcgan_schedule_factor(&warm, 0) == 0.25 && dcgan_schedule_factor(&warm, 3) == 1);
    assert_true(dcgan_schedule_factor(&warm, 9) == 1);
    assert_true(dcgan_schedule_factor(&linear, 0) == 1 && dcgan_schedule_factor(&linear, 5) == 0.5);
    assert_true(dcgan_schedule_factor(&linear, 9) == 1.0 / 10);
    assert_true(dcgan_schedule_factor(&both, 1) == 0.5 && dcgan_schedule_factor(&both, 4) == 1);
    assert_true(dcgan_schedule_factor(&both, 7) == 0.5 &&
                dcgan_schedule_factor(&both, 9) == 1.0 / 6);
}

static void networks_take_turns(void **state) {
    const dcgan_config config = {3, 32, 5, 2, 3};
    size_t first, count, first_g, count_g;
    dcgan_model model;
    (void)state;

    assert_int_equal(dcgan_networks_stepped(0, 0), DCGAN_BOTH);
    assert_int_equal(dcgan_networks_stepped(0, 1), DCGAN_BOTH);
    assert_int_equal(dcgan_networks_stepped(1, 0), DCGAN_DISCRIMINATOR_ONLY);
    assert_int_equal(dcgan_networks_stepped(1, 1), DCGAN_GENERATOR_ONLY);
    assert_int_equal(dcgan_step_number(DCGAN_BOTH, 5), 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(dcgan_step_number(dcgan_networks_stepped(1, i), i), i / 2 + 1);
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    dcgan_networks_range(&model, DCGAN_BOTH, &first, &count);
    assert_true(first == 0 && count == model.parameter_count);
    dcgan_networks_range(&model, DCGAN_GENERATOR_ONLY, &first_g, &count_g);
    dcgan_networks_range(&model, DCGAN_DISCRIMINATOR_ONLY, &first, &count);
    assert_true(first_g == 0 && count_g == first && first + count == model.parameter_count);
    assert_int_equal(count_g, model.generator.count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(average_adds_the_change), cmocka_unit_test(nesterov_equals_pytorch),
        cmocka_unit_test(adam_equals_pytorch),     cmocka_unit_test(a_schedule_warms_up_and_falls),
        cmocka_unit_test(networks_take_turns),
    };
    return cmocka_run_group_tests_name("outer", tests, NULL, NULL);
}
