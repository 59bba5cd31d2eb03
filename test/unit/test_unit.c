/*
 * test_unit.c - a whole work unit, ten steps of Adam and generation against PyTorch
 * (test/fixture/make_unit_fixture.py)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"
#include "fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-4

typedef struct unit_test {
    fixture *f;
    dcgan_model model;
    uint8_t *images;
    float *weights, *gradient, *statistics;
    void *workspace;
    size_t workspace_bytes;
    dcgan_unit unit;
    dcgan_unit_result result;
} unit_test;

/* Sets up a unit from a fixture. */
static void open_test(unit_test *t, const char *name) {
    memset(t, 0, sizeof *t);
    t->f = fixture_open(name);
    assert_non_null(t->f);
    const float *c = fixture_get(t->f, "config", 7), *word = fixture_get(t->f, "position_words", 4);
    dcgan_config config = {(uint32_t)c[0], (uint32_t)c[1], (uint32_t)c[2], (uint32_t)c[3],
                           (uint32_t)c[4]};
    assert_int_equal(dcgan_model_init(&t->model, &config), DCGAN_OK);
    size_t count = (size_t)c[5], floats = count * t->model.image_count,
           parameters = t->model.parameter_count;
    const float *x = fixture_get(t->f, "images", floats);

    t->images = malloc(floats);
    for (size_t i = 0; i < floats; i++)
        t->images[i] = (uint8_t)lrintf((x[i] + 1) * 127.5f);
    t->weights = malloc(parameters * sizeof(float));
    memcpy(t->weights, fixture_get(t->f, "weights", parameters), parameters * sizeof(float));
    t->gradient = malloc(parameters * sizeof(float));
    t->statistics = malloc(t->model.statistics_count * sizeof(float));
    assert_int_equal(dcgan_unit_workspace(&t->model, NULL, (size_t)c[6], &t->workspace_bytes),
                     DCGAN_OK);
    t->workspace = malloc(t->workspace_bytes);
    t->unit = (dcgan_unit){.weights = t->weights,
                           .images = t->images,
                           .count = count,
                           .batch = (size_t)c[6],
                           .seed = fixture_word64(fixture_get(t->f, "seed_words", 4)),
                           .iteration = (uint32_t)fixture_get(t->f, "iteration", 1)[0],
                           .position = fixture_word64(word),
                           .threads = 1};
    t->result = (dcgan_unit_result){.gradient = t->gradient, .statistics = t->statistics};
}

static void close_test(unit_test *t) {
    fixture_close(t->f);
    free(t->images);
    free(t->weights);
    free(t->gradient);
    free(t->statistics);
    free(t->workspace);
}

static dcgan_status run(unit_test *t) {
    return dcgan_unit_gradients(&t->model, &t->unit, &t->result, t->workspace, t->workspace_bytes);
}

/* Compares vectors by relative error; a NaN anywhere fails. */
static void close_enough(const char *what, const float *got, const float *expected, size_t count,
                         double tolerance) {
    double difference = 0, norm = 0;

    for (size_t i = 0; i < count; i++) {
        difference += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
        norm += (double)expected[i] * expected[i];
    }
    if (!(sqrt(difference) <= tolerance * sqrt(norm)))
        fail_msg("%s: relative error %g, more than %g (norm %g)", what, sqrt(difference / norm),
                 tolerance, sqrt(norm));
    if (!(norm > 0))
        fail_msg("%s: the expected values are all zero, the comparison says nothing", what);
}

/* Compares vectors of the parameters' size tensor by tensor. */
static void tensors_close(const dcgan_model *model, const char *what, const float *got,
                          const float *expected) {
    for (size_t i = 0; i < model->tensor_count; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s of %s", what, model->tensors[i].name);
        close_enough(name, got + model->tensors[i].offset, expected + model->tensors[i].offset,
                     model->tensors[i].count, TOLERANCE);
    }
}

static void check_unit(const char *name) {
    unit_test t;
    open_test(&t, name);
    const float *losses = fixture_get(t.f, "losses", 4);

    assert_int_equal(run(&t), DCGAN_OK);
    tensors_close(&t.model, "gradient", t.gradient,
                  fixture_get(t.f, "gradient", t.model.parameter_count));
    close_enough("statistics", t.statistics,
                 fixture_get(t.f, "statistics", t.model.statistics_count), t.model.statistics_count,
                 TOLERANCE);
    assert_true(fabs(t.result.loss_d - losses[0]) <= TOLERANCE);
    assert_true(fabs(t.result.loss_g - losses[1]) <= TOLERANCE);
    assert_true(fabs(t.result.accuracy_real - losses[2]) <= 1e-6);
    assert_true(fabs(t.result.accuracy_fake - losses[3]) <= 1e-6);
    close_test(&t);
}

static void unit_equals_pytorch(void **state) {
    (void)state;
    check_unit("unit_a.bin");
    check_unit("unit_b.bin");
}

static void initial_weights_equal_pytorch(void **state) {
    unit_test t;
    (void)state;
    open_test(&t, "unit_a.bin");
    const float *expected = fixture_get(t.f, "initial_weights", t.model.parameter_count);

    /* in pieces of an odd size, as shards are drawn */
    for (size_t first = 0; first < t.model.parameter_count; first += 1009) {
        size_t count =
            t.model.parameter_count - first < 1009 ? t.model.parameter_count - first : 1009;
        dcgan_initialise(&t.model, t.unit.seed, first, count, t.weights + first);
    }
    for (size_t i = 0; i < t.model.parameter_count; i++)
        assert_true(fabsf(t.weights[i] - expected[i]) <= 1e-7f);
    close_test(&t);
}

static void noise_equals_pytorch(void **state) {
    unit_test t;
    float z[DCGAN_MAX_LATENT];
    (void)state;
    open_test(&t, "unit_b.bin"); /* its positions cross 2^32 */
    size_t latent = t.model.config.latent;
    const float *expected = fixture_get(t.f, "noise", t.unit.count * latent);

    for (size_t i = 0; i < t.unit.count; i++) {
        dcgan_noise(t.unit.seed, (uint32_t)(t.unit.position + i), t.unit.iteration,
                    DCGAN_STREAM_UNIT, latent, z);
        for (size_t k = 0; k < latent; k++)
            assert_true(fabsf(z[k] - expected[i * latent + k]) <= 1e-6f);
    }
    close_test(&t);
}

/* Ten iterations of one unit each, as the coordinator takes them, then a sample in evaluation
 * mode. */
static void check_training(const char *name) {
    const dcgan_adam_options adam = {2e-4, 0.5, 0.999, 1e-8};
    unit_test t;
    open_test(&t, name);
    size_t parameters = t.model.parameter_count, bytes;
    const float *losses = fixture_get(t.f, "adam_losses", 20);
    float *m = calloc(parameters, sizeof *m), *v = calloc(parameters, sizeof *v);
    float *running = malloc(t.model.statistics_count * sizeof *running);
    float *images = malloc(3 * t.model.image_count * sizeof *images);

    dcgan_initialise_statistics(&t.model, running);
    for (uint32_t step = 0; step < 10; step++) {
        t.unit.iteration = step;
        assert_int_equal(run(&t), DCGAN_OK);
        assert_true(fabs(t.result.loss_d - losses[2 * step]) <= TOLERANCE);
        assert_true(fabs(t.result.loss_g - losses[2 * step + 1]) <= TOLERANCE);
        dcgan_adam(t.weights, m, v, t.gradient, parameters, step + 1, &adam);
        dcgan_statistics_run(&t.model, running, t.statistics, 0.1, t.unit.count);
    }
    tensors_close(&t.model, "weights after ten steps", t.weights,
                  fixture_get(t.f, "adam_weights", parameters));
    tensors_close(&t.model, "first moment", m, fixture_get(t.f, "adam_moment1", parameters));
    tensors_close(&t.model, "second moment", v, fixture_get(t.f, "adam_moment2", parameters));
    close_enough("running statistics", running,
                 fixture_get(t.f, "running", t.model.statistics_count), t.model.statistics_count,
                 TOLERANCE);

    assert_int_equal(dcgan_generate_workspace(&t.model, NULL, 3, &bytes), DCGAN_OK);
    t.workspace = realloc(t.workspace, bytes);
    const dcgan_generator generator = {&t.model, t.weights, running, NULL, t.workspace, bytes};
    assert_int_equal(dcgan_generate(&generator, 77, 0, 3, images), DCGAN_OK);
    close_enough("generated images", images, fixture_get(t.f, "generated", 3 * t.model.image_count),
                 3 * t.model.image_count, TOLERANCE);
    free(m), free(v), free(running), free(images);
    close_test(&t);
}

static void ten_steps_equal_pytorch(void **state) {
    (void)state;
    check_training("unit_a.bin");
    check_training("unit_b.bin");
}

/* The ancestor's worst fault: the generator's backward pass added into the discriminator's
 * gradient. */
static void discriminator_gradient_has_nothing_of_the_generators(void **state) {
    unit_test t;
    (void)state;
    open_test(&t, "unit_a.bin");
    size_t first = t.model.discriminator.first, count = t.model.discriminator.count;
    float *alone = malloc(count * sizeof *alone);

    assert_int_equal(run(&t), DCGAN_OK);
    memcpy(alone, t.gradient + first, count * sizeof *alone);
    const float *truth = fixture_get(t.f, "gradient", t.model.parameter_count);
    close_enough("the discriminator's gradient", alone, truth + first, count, 1e-5);
    free(alone);
    close_test(&t);
}

static void a_last_short_minibatch_counts_by_its_images(void **state) {
    unit_test t, first, last;
    (void)state;
    open_test(&t, "unit_a.bin"), open_test(&first, "unit_a.bin"), open_test(&last, "unit_a.bin");
    assert_int_equal(t.unit.count, 7);
    first.unit.count = 6;
    last.unit.count = 1;
    last.unit.images += 6 * last.model.image_count;
    last.unit.position += 6;
    assert_int_equal(run(&t), DCGAN_OK);
    assert_int_equal(run(&first), DCGAN_OK);
    assert_int_equal(run(&last), DCGAN_OK);
    for (size_t i = 0; i < t.model.parameter_count; i++)
        first.gradient[i] = (6 * first.gradient[i] + last.gradient[i]) / 7;
    close_enough("gradient", first.gradient, t.gradient, t.model.parameter_count, 1e-6);
    assert_true(fabs(t.result.loss_d - (6 * first.result.loss_d + last.result.loss_d) / 7) <= 1e-6);
    close_test(&t), close_test(&first), close_test(&last);
}

static void the_same_unit_gives_the_same_bits(void **state) {
    unit_test a, b;
    (void)state;
    open_test(&a, "unit_a.bin"), open_test(&b, "unit_a.bin");
    memset(b.workspace, 0xff,
           /* nothing may be read before it is written: this is NaN everywhere */
           b.workspace_bytes);
    assert_int_equal(run(&a), DCGAN_OK);
    assert_int_equal(run(&b), DCGAN_OK);
    assert_memory_equal(a.gradient, b.gradient, a.model.parameter_count * sizeof(float));
    assert_memory_equal(a.statistics, b.statistics, a.model.statistics_count * sizeof(float));
    close_test(&a), close_test(&b);
}

static void not_a_number_in_is_an_error_out(void **state) {
    (void)state;
    for (int infinite = 0; infinite < 2; infinite++)
        for (size_t tensor = 0; tensor < 6; tensor++) {
            unit_test t;
            open_test(&t, "unit_a.bin");
            size_t k = tensor * (t.model.tensor_count - 1) / 5;
            t.weights[t.model.tensors[k].offset] = infinite ? INFINITY : NAN;
            assert_int_equal(run(&t), DCGAN_NOT_FINITE);
            close_test(&t);
        }
}

/* What was told to be final, as it was then. */
typedef struct told_ranges {
    const unit_test *test;
    float *copy;
    unsigned char *times;
    size_t calls;
    int discriminator_done;
} told_ranges;

static void note_ready(void *context, size_t first, size_t count) {
    told_ranges *t = context;
    size_t border = t->test->model.generator.count;

    t->discriminator_done |= first < border;
    assert_true(first + count <= t->test->model.parameter_count &&
                (first >= border || first + count <= border));
    assert_false(first >= border && t->discriminator_done); /* D's before G's */
    for (size_t i = first; i < first + count; i++) {
        t->times[i]++;
        t->copy[i] = t->test->gradient[i];
    }
    t->calls++;
}

static void what_is_ready_is_final(void **state) {
    unit_test t;
    told_ranges told = {.test = &t};
    (void)state;
    open_test(&t, "unit_a.bin");
    size_t parameters = t.model.parameter_count;
    told.copy = malloc(parameters * sizeof(float));
    told.times = calloc(parameters, 1);
    t.unit.ready = note_ready;
    t.unit.context = &told;
    assert_true(t.unit.count > t.unit.batch); /* the first minibatches must not tell anything */
    assert_int_equal(run(&t), DCGAN_OK);
    assert_int_equal(told.calls, t.model.generator.layer_count + t.model.discriminator.layer_count);
    for (size_t i = 0; i < parameters; i++)
        assert_int_equal(told.times[i], 1);
    assert_memory_equal(told.copy, t.gradient, parameters * sizeof(float));
    free(told.copy), free(told.times);
    close_test(&t);
}

static int stop_at_once(void *context, size_t images_done) {
    (void)images_done;
    return ++*(int *)context >= 3;
}

/* Of one network alone: the same bits as beside the other's, whose gradient stays zero. */
static void one_network_alone_gives_the_same_bits(void **state) {
    (void)state;
    for (int network = DCGAN_DISCRIMINATOR_ONLY; network <= DCGAN_GENERATOR_ONLY; network++) {
        unit_test both, one;
        size_t first, count;
        open_test(&both, "unit_a.bin"), open_test(&one, "unit_a.bin");
        one.unit.networks = (dcgan_networks)network;
        dcgan_networks_range(&one.model, one.unit.networks, &first, &count);
        assert_int_equal(run(&both), DCGAN_OK);
        assert_int_equal(run(&one), DCGAN_OK);
        assert_memory_equal(one.gradient + first, both.gradient + first, count * sizeof(float));
        for (size_t i = 0; i < one.model.parameter_count; i++)
            assert_true((i >= first && i < first + count) || one.gradient[i] == 0);
        assert_memory_equal(one.statistics, both.statistics,
                            one.model.statistics_count * sizeof(float));
        assert_true(one.result.loss_d == both.result.loss_d &&
                    one.result.loss_g == both.result.loss_g);
        assert_true(one.result.accuracy_real == both.result.accuracy_real &&
                    one.result.accuracy_fake == both.result.accuracy_fake);
        close_test(&both), close_test(&one);
    }
}

/* Sets up a unit of local steps. */
static dcgan_local_options open_local(unit_test *t) {
    open_test(t, "local.bin");
    const float *o = fixture_get(t->f, "local_options", 3);

    assert_int_equal(
        dcgan_unit_local_workspace(&t->model, NULL, t->unit.batch, &t->workspace_bytes), DCGAN_OK);
    t->workspace = realloc(t->workspace, t->workspace_bytes);
    return (dcgan_local_options){.generator = {(double)o[0], 0.5, 0.999, 1e-8},
                                 .discriminator = {(double)o[1], 0.5, 0.999, 1e-8},
                                 .norm_momentum = (double)o[2]};
}

static dcgan_status run_local(unit_test *t, const dcgan_local_options *options) {
    return dcgan_unit_local(&t->model, &t->unit, options, &t->result, t->workspace,
                            t->workspace_bytes);
}

static void local_steps_equal_pytorch(void **state) {
    unit_test t;
    dcgan_local_options options = open_local(&t);
    const float *losses = fixture_get(t.f, "local_losses", 4);
    (void)state;

    assert_true(t.unit.count > 2 * t.unit.batch && t.unit.count % t.unit.batch > 0);
    assert_int_equal(run_local(&t, &options), DCGAN_OK);
    tensors_close(&t.model, "change", t.gradient,
                  fixture_get(t.f, "change", t.model.parameter_count));
    close_enough("statistics", t.statistics,
                 fixture_get(t.f, "local_statistics", t.model.statistics_count),
                 t.model.statistics_count, TOLERANCE);
    assert_true(fabs(t.result.loss_d - losses[0]) <= TOLERANCE);
    assert_true(fabs(t.result.loss_g - losses[1]) <= TOLERANCE);
    assert_true(fabs(t.result.accuracy_real - losses[2]) <= 1e-6);
    assert_true(fabs(t.result.accuracy_fake - losses[3]) <= 1e-6);
    close_test(&t);
}

/* One minibatch: D's step from the unit's gradient, then G's from the gradient at the new D. */
static void one_local_step_is_an_alternating_step(void **state) {
    unit_test t, hand;
    dcgan_local_options options = open_local(&t);
    (void)state;
    open_test(&hand, "local.bin");
    size_t parameters = t.model.parameter_count, border = t.model.generator.count;
    float *m = calloc(parameters, sizeof *m), *v = calloc(parameters, sizeof *v);

    t.unit.count = hand.unit.count = t.unit.batch;
    assert_int_equal(run_local(&t, &options), DCGAN_OK);
    assert_int_equal(run(&hand), DCGAN_OK);
    double loss_d = hand.result.loss_d, accuracy_fake = hand.result.accuracy_fake;
    assert_memory_equal(t.statistics, hand.statistics, t.model.statistics_count * sizeof(float));
    dcgan_adam(hand.weights + border, m + border, v + border, hand.gradient + border,
               parameters - border, 1, &options.discriminator);
    assert_int_equal(run(&hand), DCGAN_OK);
    dcgan_adam(hand.weights, m, v, hand.gradient, border, 1, &options.generator);
    for (size_t i = 0; i < parameters; i++)
        assert_true(t.gradient[i] == hand.weights[i] - t.weights[i]);
    assert_true(t.result.loss_d == loss_d && t.result.accuracy_fake == accuracy_fake);
    assert_true(t.result.loss_g == hand.result.loss_g);
    free(m), free(v);
    close_test(&t), close_test(&hand);
}

static void the_same_local_unit_gives_the_same_bits(void **state) {
    unit_test a, b;
    dcgan_local_options options = open_local(&a);
    (void)state;
    open_local(&b);
    b.unit.threads = 3;
    memset(b.workspace, 0xff, b.workspace_bytes);
    memset(b.gradient, 0xff, b.model.parameter_count * sizeof(float));
    assert_int_equal(run_local(&a, &options), DCGAN_OK);
    assert_int_equal(run_local(&b, &options), DCGAN_OK);
    assert_memory_equal(a.gradient, b.gradient, a.model.parameter_count * sizeof(float));
    assert_memory_equal(a.statistics, b.statistics, a.model.statistics_count * sizeof(float));
    assert_memory_equal(a.weights, fixture_get(a.f, "weights", a.model.parameter_count),
                        a.model.parameter_count * sizeof(float)); /* its own are not touched */
    close_test(&a), close_test(&b);
}

static void local_units_refuse_what_others_refuse(void **state) {
    unit_test t;
    dcgan_local_options options = open_local(&t), momentum = options;
    (void)state;
    t.workspace_bytes--;
    assert_int_equal(run_local(&t, &options), DCGAN_WORKSPACE);
    t.workspace_bytes++;
    momentum.norm_momentum = 0;
    assert_int_equal(run_local(&t, &momentum), DCGAN_INVALID_ARGUMENT);
    t.unit.networks = DCGAN_GENERATOR_ONLY;
    assert_int_equal(run_local(&t, &options), DCGAN_INVALID_ARGUMENT);
    t.unit.networks = DCGAN_BOTH;
    t.unit.images = NULL;
    assert_int_equal(run_local(&t, &options), DCGAN_INVALID_ARGUMENT);
    close_test(&t);
    for (int infinite = 0; infinite < 2; infinite++) {
        open_local(&t);
        t.weights[t.model.parameter_count - 1] = infinite ? INFINITY : NAN;
        assert_int_equal(run_local(&t, &options), DCGAN_NOT_FINITE);
        close_test(&t);
    }
}

/* A local unit tells progress like any other, and that D's change is final before G's is
 * computed. */
static void a_local_unit_is_ready_network_by_network(void **state) {
    unit_test t;
    told_ranges told = {.test = &t};
    dcgan_local_options options = open_local(&t);
    int calls = 0;
    (void)state;
    size_t parameters = t.model.parameter_count;
    told.copy = malloc(parameters * sizeof(float));
    told.times = calloc(parameters, 1);
    t.unit.ready = note_ready;
    t.unit.context = &told;
    assert_true(t.unit.count > t.unit.batch); /* the first minibatches must not tell anything */
    assert_int_equal(run_local(&t, &options), DCGAN_OK);
    assert_int_equal(told.calls, 2);
    for (size_t i = 0; i < parameters; i++)
        assert_int_equal(told.times[i], 1);
    assert_memory_equal(told.copy, t.gradient, parameters * sizeof(float));
    t.unit.ready = NULL;
    t.unit.progress = stop_at_once;
    t.unit.context = &calls;
    assert_int_equal(run_local(&t, &options), DCGAN_CANCELLED);
    assert_int_equal(calls, 3);
    free(told.copy), free(told.times);
    close_test(&t);
}

static void bad_arguments_are_refused(void **state) {
    unit_test t;
    int calls = 0;
    size_t bytes;
    (void)state;
    open_test(&t, "unit_a.bin");
    t.workspace_bytes--;
    assert_int_equal(run(&t), DCGAN_WORKSPACE);
    t.workspace_bytes++;
    t.unit.count = 0;
    assert_int_equal(run(&t), DCGAN_INVALID_ARGUMENT);
    t.unit.count = 7;
    t.unit.progress = stop_at_once;
    t.unit.context = &calls;
    assert_int_equal(run(&t), DCGAN_CANCELLED);
    assert_int_equal(calls, 3);
    assert_int_equal(dcgan_unit_workspace(&t.model, NULL, (size_t)1 << 60, &bytes),
                     DCGAN_TOO_LARGE);
    assert_int_equal(dcgan_unit_workspace(&t.model, NULL, 0, &bytes), DCGAN_INVALID_ARGUMENT);
    close_test(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unit_equals_pytorch),
        cmocka_unit_test(initial_weights_equal_pytorch),
        cmocka_unit_test(noise_equals_pytorch),
        cmocka_unit_test(ten_steps_equal_pytorch),
        cmocka_unit_test(discriminator_gradient_has_nothing_of_the_generators),
        cmocka_unit_test(a_last_short_minibatch_counts_by_its_images),
        cmocka_unit_test(the_same_unit_gives_the_same_bits),
        cmocka_unit_test(what_is_ready_is_final),
        cmocka_unit_test(not_a_number_in_is_an_error_out),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(one_network_alone_gives_the_same_bits),
        cmocka_unit_test(local_steps_equal_pytorch),
        cmocka_unit_test(one_local_step_is_an_alternating_step),
        cmocka_unit_test(the_same_local_unit_gives_the_same_bits),
        cmocka_unit_test(local_units_refuse_what_others_refuse),
        cmocka_unit_test(a_local_unit_is_ready_network_by_network),
    };
    return cmocka_run_group_tests_name("unit", tests, NULL, NULL);
}
