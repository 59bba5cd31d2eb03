/*
 * test_model.c - the table of parameters: counts, order, shapes, names, and what is refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint32_t sizes[] = {32, 64, 128};

static dcgan_config config_of(uint32_t image_size, uint32_t channels) {
    return (dcgan_config){.channels = channels,
                          .image_size = image_size,
                          .latent = 11,
                          .generator_features = 5,
                          .discriminator_features = 7};
}

typedef void (*model_check)(const dcgan_model *model, size_t stages);

/* Calls check for every image size with every number of channels. */
static void for_each_model(model_check check) {
    for (size_t i = 0; i < 3; i++)
        for (uint32_t channels = 1; channels <= 3; channels += 2) {
            dcgan_model model;
            dcgan_config config = config_of(sizes[i], channels);
            memset(&model, 0xa5, sizeof model); /* nothing may be left as it was */
            assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
            check(&model, 3 + i);
        }
}

static void counts_of_the_standard_model(void **state) {
    const dcgan_config config = {3, 64, 100, 64, 64};
    dcgan_model model;
    (void)state;
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    assert_int_equal(model.generator.first, 0);
    assert_int_equal(model.generator.count, 3576704);
    assert_int_equal(model.discriminator.first, 3576704);
    assert_int_equal(model.discriminator.count, 2765568);
    assert_int_equal(model.parameter_count, 6342272);
    assert_int_equal(model.statistics_count, 2 * (512 + 256 + 128 + 64) + 2 * (128 + 256 + 512));
    assert_int_equal(model.image_count, 64 * 64 * 3);
    assert_int_equal(model.tensor_count, 4 * 3 + 1 + 1 + 3 * 3 + 1);
}

/* What docs/format.md section 4 says, written down a second time. */
typedef struct expected_layer {
    size_t in, out, in_size, out_size;
    int normalised;
} expected_layer;

static expected_layer generator_layer(const dcgan_config *c, size_t n, size_t i) {
    size_t features = c->generator_features;
    return (expected_layer){.in = i ? features << (n - i) : c->latent,
                            .out = i < n ? features << (n - 1 - i) : c->channels,
                            .in_size = i ? (size_t)2 << i : 1,
                            .out_size = (size_t)4 << i,
                            .normalised = i < n};
}

static expected_layer discriminator_layer(const dcgan_config *c, size_t n, size_t i) {
    size_t features = c->discriminator_features;
    return (expected_layer){.in = i ? features << (i - 1) : c->channels,
                            .out = i < n ? features << i : 1,
                            .in_size = c->image_size >> i,
                            .out_size = i < n ? c->image_size >> (i + 1) : 1,
                            .normalised = i > 0 && i < n};
}

static void check_shape(const dcgan_layer *layer, const expected_layer *e) {
    const dcgan_convolution *s = &layer->shape;
    int up = layer->transposed, to_one = (up ? e->in_size : e->out_size) == 1;

    assert_int_equal(up ? s->small_channels : s->large_channels, e->in);
    assert_int_equal(up ? s->large_channels : s->small_channels, e->out);
    assert_int_equal(up ? s->small_height : s->large_height, e->in_size);
    assert_int_equal(up ? s->small_width : s->large_width, e->in_size);
    assert_int_equal(up ? s->large_height : s->small_height, e->out_size);
    assert_int_equal(up ? s->large_width : s->small_width, e->out_size);
    assert_int_equal(s->stride, to_one ? 1 : 2);
    assert_int_equal(s->padding, to_one ? 0 : 1);
    assert_int_equal(layer->normalised, e->normalised);
}

static void check_layers(const dcgan_model *model, size_t n) {
    assert_int_equal(model->generator.layer_count, n + 1);
    assert_int_equal(model->discriminator.layer_count, n + 1);
    assert_int_equal(model->image_count,
                     model->config.image_size * model->config.image_size * model->config.channels);
    for (size_t i = 0; i <= n; i++) {
        const dcgan_layer *g = &model->generator.layers[i], *d = &model->discriminator.layers[i];
        expected_layer eg = generator_layer(&model->config, n, i),
                       ed = discriminator_layer(&model->config, n, i);
        assert_int_equal(g->transposed, 1);
        assert_int_equal(d->transposed, 0);
        check_shape(g, &eg);
        check_shape(d, &ed);
        assert_int_equal(g->activation, i < n ? DCGAN_RECTIFIER : DCGAN_TANH);
        assert_int_equal(d->activation, i < n ? DCGAN_RECTIFIER : DCGAN_LOGIT);
        assert_true(g->slope == 0);
        assert_true(d->slope == (real)0.2);
    }
}

static void layers_of_every_size(void **state) {
    (void)state;
    for_each_model(check_layers);
}

/* Checks one tensor against its layer and returns the end of it in the parameter vector. */
static size_t check_tensor(const dcgan_tensor *t, const char *network, size_t number,
                           const dcgan_layer *layer, dcgan_tensor_kind kind, size_t offset) {
    static const char *const kinds[] = {"weight", "scale", "shift"};
    const dcgan_convolution *s = &layer->shape;
    size_t out = layer->transposed ? s->large_channels : s->small_channels;
    size_t count = kind == DCGAN_WEIGHT ? 16 * s->small_channels * s->large_channels : out;
    char name[32];

    snprintf(name, sizeof name, "%s.%zu.%s", network, number, kinds[kind]);
    assert_string_equal(t->name, name);
    assert_int_equal(t->kind, kind);
    assert_int_equal(t->offset, offset);
    assert_int_equal(t->count, count);
    assert_int_equal(t->dimensions, kind == DCGAN_WEIGHT ? 4 : 1);
    assert_int_equal(t->shape[0], kind == DCGAN_WEIGHT ? s->small_channels : out);
    if (kind == DCGAN_WEIGHT) {
        assert_int_equal(t->shape[1], 4);
        assert_int_equal(t->shape[2], 4);
        assert_int_equal(t->shape[3], s->large_channels);
    }
    assert_true(t->mean == (kind == DCGAN_SCALE ? 1 : 0));
    assert_true(t->deviation == (kind == DCGAN_SHIFT ? 0 : 0.02));
    return offset + count;
}

/* Walks over one network's tensors; returns how many there are. */
static size_t check_network(const dcgan_tensor *t, const char *name, const dcgan_network *network) {
    const dcgan_tensor *start = t;
    size_t offset = network->first;

    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        assert_int_equal(layer->weight, offset);
        offset = check_tensor(t++, name, i, layer, DCGAN_WEIGHT, offset);
        assert_int_equal(layer->weight_count, offset - layer->weight);
        if (!layer->normalised)
            continue;
        assert_int_equal(layer->scale, offset);
        offset = check_tensor(t++, name, i, layer, DCGAN_SCALE, offset);
        assert_int_equal(layer->shift, offset);
        offset = check_tensor(t++, name, i, layer, DCGAN_SHIFT, offset);
    }
    assert_int_equal(offset, network->first + network->count);
    return (size_t)(t - start);
}

static void check_table(const dcgan_model *model, size_t stages) {
    size_t count = check_network(model->tensors, "generator", &model->generator);

    (void)stages;
    count += check_network(model->tensors + count, "discriminator", &model->discriminator);
    assert_int_equal(model->tensor_count, count);
    assert_true(count <= DCGAN_MAX_TENSORS);
    assert_int_equal(model->generator.first, 0);
    assert_int_equal(model->discriminator.first, model->generator.count);
    assert_int_equal(model->parameter_count, model->generator.count + model->discriminator.count);
}

static void table_has_order_and_no_gaps(void **state) {
    (void)state;
    for_each_model(check_table);
}

/* Checks the places of one network's means and variances; returns the end of them. */
static size_t check_norms(const dcgan_network *network, const real *initial, size_t offset) {
    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        size_t channels =
            layer->transposed ? layer->shape.large_channels : layer->shape.small_channels;
        if (!layer->normalised)
            continue;
        assert_int_equal(layer->statistics, offset);
        for (size_t c = 0; c < channels; c++) {
            assert_true(initial[offset + c] == 0);
            assert_true(initial[offset + channels + c] == 1);
        }
        offset += 2 * channels;
    }
    return offset;
}

static void check_statistics(const dcgan_model *model, size_t n) {
    /* 5 (1 + 2 + ... + 2^(n-1)) channels of the generator's, 7 (2 + ... + 2^(n-1)) of the
     * discriminator's */
    size_t expected = 2 * (5 * (((size_t)1 << n) - 1) + 7 * (((size_t)1 << n) - 2)), end;
    real *initial = malloc((model->statistics_count + 1) * sizeof *initial);

    assert_int_equal(model->statistics_count, expected);
    for (size_t i = 0; i <= model->statistics_count; i++)
        initial[i] = 99;
    dcgan_initialise_statistics(model, initial);
    assert_true(initial[model->statistics_count] == 99);
    end = check_norms(&model->discriminator, initial, check_norms(&model->generator, initial, 0));
    assert_int_equal(end, model->statistics_count);
    free(initial);
}

static void statistics_of_every_size(void **state) {
    (void)state;
    for_each_model(check_statistics);
}

/* ---- what is refused ---- */

typedef struct bad_config {
    dcgan_config config;
    const char *message;
} bad_config;

static const bad_config bad[] = {
    {{0, 64, 100, 64, 64}, "channels is 0, but must be 1 or 3"},
    {{2, 64, 100, 64, 64}, "channels is 2, but must be 1 or 3"},
    {{4, 64, 100, 64, 64}, "channels is 4, but must be 1 or 3"},
    {{UINT32_MAX, 64, 100, 64, 64}, "channels is 4294967295, but must be 1 or 3"},
    {{3, 0, 100, 64, 64}, "image_size is 0, but must be 32, 64 or 128"},
    {{3, 16, 100, 64, 64}, "image_size is 16, but must be 32, 64 or 128"},
    {{3, 63, 100, 64, 64}, "image_size is 63, but must be 32, 64 or 128"},
    {{3, 256, 100, 64, 64}, "image_size is 256, but must be 32, 64 or 128"},
    {{3, 64, 0, 64, 64}, "latent is 0, but must be between 1 and 1024"},
    {{3, 64, 1025, 64, 64}, "latent is 1025, but must be between 1 and 1024"},
    {{3, 64, 100, 0, 64}, "generator_features is 0, but must be between 1 and 512"},
    {{3, 64, 100, 513, 64}, "generator_features is 513, but must be between 1 and 512"},
    {{3, 64, 100, 64, 0}, "discriminator_features is 0, but must be between 1 and 512"},
    {{3, 64, 100, 64, 513}, "discriminator_features is 513, but must be between 1 and 512"},
    {{3, 64, 100, 64, UINT32_MAX},
     "discriminator_features is 4294967295, but must be between 1 and 512"},
};

static void bad_configurations_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dcgan_model model;
        char error[128] = "";
        assert_int_equal(dcgan_config_check(&bad[i].config, error, sizeof error),
                         DCGAN_INVALID_CONFIG);
        assert_string_equal(error, bad[i].message);
        assert_int_equal(dcgan_config_check(&bad[i].config, NULL, 0), DCGAN_INVALID_CONFIG);
        assert_int_equal(dcgan_model_init(&model, &bad[i].config), DCGAN_INVALID_CONFIG);
    }
}

static void a_message_never_overflows_its_buffer(void **state) {
    char error[12] = "abcdefghijk";
    (void)state;
    assert_int_equal(dcgan_config_check(&bad[0].config, error, 0), DCGAN_INVALID_CONFIG);
    assert_string_equal(error, "abcdefghijk");
    assert_int_equal(dcgan_config_check(&bad[0].config, error, 9), DCGAN_INVALID_CONFIG);
    assert_string_equal(error, "channels");
    assert_int_equal(error[9], 'j');
}

static void limits_themselves_are_allowed(void **state) {
    const dcgan_config good[] = {
        {1, 32, 1, 1, 1}, {3, 128, 1024, 1, 1}, {3, 32, 1024, 512, 1}, {1, 32, 1, 1, 512}};
    dcgan_model model;
    char error[128] = "untouched";
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(dcgan_config_check(&good[i], error, sizeof error), DCGAN_OK);
        assert_string_equal(error, "untouched");
        assert_int_equal(dcgan_model_init(&model, &good[i]), DCGAN_OK);
    }
}

static void too_many_parameters_are_refused(void **state) {
    const dcgan_config huge = {3, 128, 1024, 512, 512};
    dcgan_model model;
    (void)state;
    assert_int_equal(dcgan_model_init(&model, &huge), DCGAN_TOO_LARGE);
}

/* In a process of its own, so that a loop without end fails this test alone. */
static void an_absurd_image_size_is_refused_at_once(void **state) {
    int status;
    pid_t child = fork();
    (void)state;
    if (child == 0) {
        const dcgan_config absurd = {3, UINT32_MAX, 100, 64, 64};
        dcgan_model model;
        alarm(3);
        _exit(dcgan_model_init(&model, &absurd) == DCGAN_INVALID_CONFIG ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        fail_msg("dcgan_model_init with image_size 4294967295 was ended by signal %d",
                 WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void every_status_has_a_text_of_its_own(void **state) {
    const char *unknown = dcgan_status_text((dcgan_status)1000);
    (void)state;
    assert_non_null(unknown);
    for (int i = DCGAN_OK; i <= DCGAN_CANCELLED; i++) {
        const char *text = dcgan_status_text((dcgan_status)i);
        assert_true(strlen(text) > 0);
        assert_string_not_equal(text, unknown);
        for (int j = DCGAN_OK; j < i; j++)
            assert_string_not_equal(text, dcgan_status_text((dcgan_status)j));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_the_standard_model),
        cmocka_unit_test(layers_of_every_size),
        cmocka_unit_test(table_has_order_and_no_gaps),
        cmocka_unit_test(statistics_of_every_size),
        cmocka_unit_test(bad_configurations_are_named),
        cmocka_unit_test(a_message_never_overflows_its_buffer),
        cmocka_unit_test(limits_themselves_are_allowed),
        cmocka_unit_test(too_many_parameters_are_refused),
        cmocka_unit_test(an_absurd_image_size_is_refused_at_once),
        cmocka_unit_test(every_status_has_a_text_of_its_own),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
