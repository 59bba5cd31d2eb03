/*
 * test_average.c - the moving average of weights, batch-norm statistics for it, and ways between
 * two images
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"

#include <math.h>
#include <stdlib.h>

#define BATCH 8

static void the_decay_is_less_at_first(void **state) {
    (void)state;
    assert_true(fabs(dcgan_average_decay(0.999, 0) - 2.0 / 11) < 1e-12);
    assert_true(fabs(dcgan_average_decay(0.999, 89) - 91.0 / 100) < 1e-12);
    assert_true(dcgan_average_decay(0.999, 8988) < 0.999);
    assert_true(dcgan_average_decay(0.999, 8989) == 0.999 &&
                dcgan_average_decay(0.999, 1000000) == 0.999);
    assert_true(dcgan_average_decay(0.1, 0) == 0.1);
}

static void an_average_moves_by_its_share(void **state) {
    float average[3] = {1, -2, 0}, weights[3] = {2, -2, 8};
    (void)state;
    dcgan_average(average, weights, 3, 0.75);
    assert_true(average[0] == 1.25f && average[1] == -2 && average[2] == 2);
    dcgan_average(average, weights, 3, 0);
    assert_true(average[0] == 2 && average[2] == 8);
    for (int i = 0; i < 20000; i++) /* towards constant weights, without an end short of them */
        dcgan_average(average, &(float){3.25f}, 1, 0.999);
    assert_true(fabsf(average[0] - 3.25f) < 1e-3f);
}

typedef struct network {
    dcgan_model model;
    float *weights, *statistics, *images;
    void *workspace;
    size_t bytes;
} network;

static network make_network(void) {
    const dcgan_config config = {.channels = 1,
                                 .image_size = 32,
                                 .latent = 6,
                                 .generator_features = 4,
                                 .discriminator_features = 4};
    network n;

    assert_int_equal(dcgan_model_init(&n.model, &config), DCGAN_OK);
    assert_int_equal(dcgan_generate_workspace(&n.model, NULL, BATCH, &n.bytes), DCGAN_OK);
    n.weights = malloc(n.model.parameter_count * sizeof *n.weights);
    n.statistics = malloc(n.model.statistics_count * sizeof *n.statistics);
    n.images = malloc(BATCH * n.model.image_count * sizeof *n.images);
    n.workspace = malloc(n.bytes);
    dcgan_initialise(&n.model, 3, 0, n.model.parameter_count, n.weights);
    for (size_t i = 0; i < n.model.generator.count;
         i++) /* enough contrast to see what statistics do */
        n.weights[i] *= 20;
    return n;
}

static dcgan_generator generator_of(const network *n) {
    return (dcgan_generator){.model = &n->model,
                             .weights = n->weights,
                             .running_statistics = n->statistics,
                             .workspace = n->workspace,
                             .workspace_bytes = n->bytes};
}

static void free_network(network *n) {
    free(n->weights), free(n->statistics), free(n->images), free(n->workspace);
}

/* The mean and the variance of the first layer, by the definition: a 1x1 image times 4x4
 * weights. */
static void first_layer(const network *n, size_t count, size_t channel, double *mean,
                        double *variance) {
    const dcgan_layer *layer = &n->model.generator.layers[0];
    size_t latent = n->model.config.latent, channels = layer->shape.large_channels;
    float z[16];
    double first = 0, second = 0, many = (double)(count * 16);

    for (size_t i = 0; i < count; i++) {
        dcgan_sample_latent(&n->model, 9, UINT32_MAX - (uint32_t)i, z);
        for (size_t place = 0; place < 16; place++) {
            double y = 0;
            for (size_t k = 0; k < latent; k++)
                y += (double)z[k] *
                     (double)n->weights[layer->weight + (k * 16 + place) * channels + channel];
            first += y;
            second += y * y;
        }
    }
    *mean = first / many;
    *variance = second / many - *mean * *mean;
}

static void statistics_are_those_of_what_is_drawn(void **state) {
    network n = make_network();
    dcgan_generator generator = generator_of(&n);
    const dcgan_layer *layer = &n.model.generator.layers[0];
    size_t channels = layer->shape.large_channels;
    (void)state;
    assert_int_equal(dcgan_generator_statistics(&generator, 9, BATCH, 4, n.statistics), DCGAN_OK);
    for (size_t c = 0; c < channels; c++) {
        double mean, variance;
        first_layer(&n, (size_t)4 * BATCH, c, &mean, &variance);
        assert_true(fabs((double)n.statistics[layer->statistics + c] - mean) <
                    1e-5 * (1 + fabs(mean)));
        assert_true(fabs((double)n.statistics[layer->statistics + channels + c] - variance) <
                    1e-4 * variance);
    }
    assert_int_equal(dcgan_generator_statistics(&generator, 9, BATCH, 0, n.statistics),
                     DCGAN_INVALID_ARGUMENT);
    generator.workspace_bytes--;
    assert_int_equal(dcgan_generator_statistics(&generator, 9, BATCH, 4, n.statistics),
                     DCGAN_WORKSPACE);
    free_network(&n);
}

static void a_seed_and_its_vectors_draw_the_same(void **state) {
    network n = make_network();
    const dcgan_generator generator = generator_of(&n);
    float *vectors = malloc(BATCH * n.model.config.latent * sizeof *vectors);
    float *again = malloc(BATCH * n.model.image_count * sizeof *again);
    (void)state;
    dcgan_initialise_statistics(&n.model, n.statistics);
    for (uint32_t i = 0; i < BATCH; i++)
        dcgan_sample_latent(&n.model, 5, 2 + i, vectors + i * n.model.config.latent);
    assert_int_equal(dcgan_generate(&generator, 5, 2, BATCH, n.images), DCGAN_OK);
    assert_int_equal(dcgan_generate_from(&generator, vectors, BATCH, again), DCGAN_OK);
    assert_memory_equal(n.images, again, BATCH * n.model.image_count * sizeof *again);
    free(vectors), free(again);
    free_network(&n);
}

static void a_way_keeps_to_the_sphere(void **state) {
    const float a[2] = {2, 0}, b[2] = {0, 2}, opposite[2] = {-2, 0};
    float between[2];
    (void)state;
    dcgan_interpolate(a, b, 2, 0, between);
    assert_true(between[0] == 2 && between[1] == 0);
    dcgan_interpolate(a, b, 2, 1, between);
    assert_true(fabsf(between[0]) < 1e-6f && between[1] == 2);
    for (double share = 0.1; share < 1; share += 0.1) {
        dcgan_interpolate(a, b, 2, share, between);
        assert_true(fabs(hypot((double)between[0], (double)between[1]) - 2) < 1e-6);
        assert_true(fabs(atan2((double)between[1], (double)between[0]) - share * acos(0)) < 1e-6);
    }
    dcgan_interpolate(a, a, 2, 0.3, between);
    assert_true(fabsf(between[0] - 2) < 1e-6f && between[1] == 0);
    dcgan_interpolate(a, opposite, 2, 0.25, between); /* no circle leads there: straight on */
    assert_true(between[0] == 1 && between[1] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_decay_is_less_at_first),
        cmocka_unit_test(an_average_moves_by_its_share),
        cmocka_unit_test(statistics_are_those_of_what_is_drawn),
        cmocka_unit_test(a_seed_and_its_vectors_draw_the_same),
        cmocka_unit_test(a_way_keeps_to_the_sphere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
