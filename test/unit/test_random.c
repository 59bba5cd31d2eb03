/*
 * test_random.c - random numbers, the order of the images and initial weights: against
 * test/fixture/vectors.txt (made by another implementation) and against what is known of their
 * distributions.
 *
 * Environment: GANN_FIXTURES, the folder of vectors.txt, by default test/fixture; GANN_TEST_SEED,
 * the seed of everything that is not a test vector, by default 1. The bounds of the statistical
 * tests are five standard deviations wide: about one seed in 100000 fails them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOISE_COUNT ((size_t)1 << 18)

static uint64_t test_seed = 1;

/* ---- test vectors ---- */

typedef void (*line_check)(const char *rest);

static FILE *open_vectors(void) {
    const char *folder = getenv("GANN_FIXTURES");
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/vectors.txt", folder ? folder : "test/fixture");
    file = fopen(path, "r");
    if (!file)
        fail_msg("can't read %s", path);
    return file;
}

/* Calls check with the rest of every line of a kind; fails if there are fewer than at_least of
 * them. */
static void for_each_line(const char *kind, size_t at_least, line_check check) {
    char line[256];
    size_t length = strlen(kind), lines = 0;
    FILE *file = open_vectors();

    while (fgets(line, sizeof line, file))
        if (strncmp(line, kind, length) == 0 && line[length] == ' ') {
            check(line + length);
            lines++;
        }
    fclose(file);
    assert_true(lines >= at_least);
}

static void check_philox(const char *rest) {
    uint32_t c[4], k[2], expected[4], got[4];

    assert_int_equal(sscanf(rest,
                            " %" SCNx32 " %" SCNx32 " %" SCNx32 " %" SCNx32 " %" SCNx32 " %" SCNx32
                            " %" SCNx32 " %" SCNx32 " %" SCNx32 " %" SCNx32,
                            &c[0], &c[1], &c[2], &c[3], &k[0], &k[1], &expected[0], &expected[1],
                            &expected[2], &expected[3]),
                     10);
    dcgan_philox(c, (uint64_t)k[1] << 32 | k[0], got);
    assert_memory_equal(got, expected, sizeof got);
}

static void check_normal(const char *rest) {
    int64_t seed;
    uint32_t c[3];
    size_t index;
    double expected;
    float z[64];

    assert_int_equal(sscanf(rest, " %" SCNd64 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %zu %lf", &seed,
                            &c[0], &c[1], &c[2], &index, &expected),
                     6);
    assert_true(index < 64);
    dcgan_noise((uint64_t)seed, c[0], c[1], c[2], index + 1, z);
    if (!(fabs(z[index] - expected) <= 1.2e-7 * fabs(expected)))
        fail_msg("normal%s got %.9g", rest, z[index]);
}

static void check_permute(const char *rest) {
    int64_t seed;
    uint64_t epoch, images, index, expected;

    assert_int_equal(sscanf(rest, " %" SCNd64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                            &seed, &epoch, &images, &index, &expected),
                     5);
    if (dcgan_permute((uint64_t)seed, epoch, images, index) != expected)
        fail_msg("permute%s got %" PRIu64, rest,
                 dcgan_permute((uint64_t)seed, epoch, images, index));
}

static void vectors_of_philox(void **state) {
    (void)state;
    for_each_line("philox", 6, check_philox);
}

static void vectors_of_noise(void **state) {
    (void)state;
    for_each_line("normal", 48, check_normal);
}

static void vectors_of_permute(void **state) {
    (void)state;
    for_each_line("permute", 100, check_permute);
}

/* ---- noise ---- */

static void noise_writes_exactly_count(void **state) {
    float whole[16], part[16];
    (void)state;
    dcgan_noise(test_seed, 1, 2, DCGAN_STREAM_UNIT, 16, whole);
    for (size_t count = 0; count < 16; count++) {
        for (size_t i = 0; i < 16; i++)
            part[i] = 99;
        dcgan_noise(test_seed, 1, 2, DCGAN_STREAM_UNIT, count, part);
        assert_memory_equal(part, whole, count * sizeof *part);
        for (size_t i = count; i < 16; i++)
            assert_true(part[i] == 99);
    }
}

/* Compares a mean with its expectation and standard deviation. */
static void plausible(const char *what, double mean, double expected, double deviation) {
    if (!(fabs(mean - expected) <= 5 * deviation))
        fail_msg("%s is %.9g, not %.9g +- %.2g (seed %" PRIu64 ")", what, mean, expected, deviation,
                 test_seed);
}

static void noise_is_standard_normal(void **state) {
    double n = (double)NOISE_COUNT, power[5] = {0}, neighbours = 0;
    float *z = malloc(NOISE_COUNT * sizeof *z);
    (void)state;
    dcgan_noise(test_seed, 5, 6, DCGAN_STREAM_UNIT, NOISE_COUNT, z);
    for (size_t i = 0; i < NOISE_COUNT; i++) {
        double x = z[i], p = 1;
        for (int k = 1; k <= 4; k++)
            power[k] += (p *= x) / n;
        /* the cosine's and the sine's: each pair is counted twice */
        neighbours += x * (double)z[i ^ 1] / n;
    }
    free(z);
    plausible("mean", power[1], 0, sqrt(1 / n));
    plausible("variance", power[2], 1, sqrt(2 / n));
    plausible("third moment", power[3], 0, sqrt(15 / n));
    plausible("fourth moment", power[4], 3, sqrt(96 / n));
    plausible("correlation of pairs", neighbours, 0, sqrt(2 / n));
}

/* Correlates two sequences of noise. */
static double correlation(const uint32_t a[3], const uint32_t b[3], uint64_t seed_a,
                          uint64_t seed_b) {
    enum { COUNT = 4096 };
    static float x[COUNT], y[COUNT];
    double sum = 0;

    dcgan_noise(seed_a, a[0], a[1], a[2], COUNT, x);
    dcgan_noise(seed_b, b[0], b[1], b[2], COUNT, y);
    for (size_t i = 0; i < COUNT; i++)
        sum += (double)x[i] * (double)y[i] / COUNT;
    return sum;
}

static void streams_have_nothing_in_common(void **state) {
    const uint32_t base[3] = {7, 8, DCGAN_STREAM_UNIT},
                   others[3][3] = {{8, 8, 1}, {7, 9, 1}, {7, 8, 4}};
    (void)state;
    assert_true(correlation(base, base, test_seed, test_seed) > 0.8); /* the measure can tell */
    for (size_t i = 0; i < 3; i++)
        plausible("correlation of streams", correlation(base, others[i], test_seed, test_seed), 0,
                  1 / 64.0);
    plausible("correlation of seeds", correlation(base, base, test_seed, test_seed + 1), 0,
              1 / 64.0);
    plausible("correlation of seeds",
              correlation(base, base, test_seed, test_seed ^ (uint64_t)1 << 63), 0, 1 / 64.0);
}

static void box_muller_at_its_edges(void **state) {
    double n[4];
    (void)state;
    dcgan_normal((const uint32_t[4]){0, 0, UINT32_MAX, 5}, n);
    assert_true(fabs(n[0] - sqrt(64 * log(2))) <= 1e-12); /* the largest there is */
    assert_true(n[1] == 0);
    assert_true(n[2] == 0 && n[3] == 0);
    dcgan_normal((const uint32_t[4]){UINT32_MAX / 2, 0x40000000, 0, 0x80000000}, n);
    assert_true(fabs(n[0]) <= 1e-12);
    assert_true(fabs(n[1] - sqrt(2 * log(2))) <= 1e-12);
    assert_true(fabs(n[2] + sqrt(64 * log(2))) <= 1e-12);
    assert_true(fabs(n[3]) <= 1e-12);
}

/* ---- the order of the images ---- */

static void check_bijection(uint64_t seed, uint64_t epoch, uint64_t images) {
    unsigned char *seen = calloc(images, 1);

    for (uint64_t place = 0; place < images; place++) {
        uint64_t image = dcgan_permute(seed, epoch, images, place);
        assert_true(image < images);
        assert_int_equal(seen[image]++, 0);
    }
    free(seen);
}

static void permute_is_a_bijection(void **state) {
    const uint64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 97, 1000, 8000};
    const uint64_t epochs[] = {0, 1, UINT32_MAX, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t e = 0; e < 4; e++)
            check_bijection(test_seed * (e + 1), epochs[e], sizes[i]);
}

/* Counts the places where two orders agree; one of 1000 is expected by chance. */
static size_t agreement(uint64_t seed_a, uint64_t epoch_a, uint64_t seed_b, uint64_t epoch_b) {
    size_t same = 0;
    for (uint64_t place = 0; place < 1000; place++)
        same += dcgan_permute(seed_a, epoch_a, 1000, place) ==
                dcgan_permute(seed_b, epoch_b, 1000, place);
    return same;
}

static void orders_differ(void **state) {
    size_t fixed = 0, rising = 0;
    (void)state;
    assert_int_equal(agreement(test_seed, 3, test_seed, 3), 1000);
    assert_true(agreement(test_seed, 0, test_seed, 1) < 20);
    assert_true(agreement(test_seed, 0, test_seed + 1, 0) < 20);
    assert_true(agreement(test_seed, 0, test_seed ^ (uint64_t)1 << 40, 0) < 20);
    for (uint64_t place = 0; place < 999; place++) {
        uint64_t here = dcgan_permute(test_seed, 0, 1000, place);
        fixed += here == place;
        rising += dcgan_permute(test_seed, 0, 1000, place + 1) > here;
    }
    assert_true(fixed < 20);
    assert_true(rising > 400 && rising < 600);
}

static void epochs_count_modulo_2_to_the_32(void **state) {
    (void)state;
    assert_int_equal(agreement(test_seed, 3, test_seed, 3 + ((uint64_t)1 << 32)), 1000);
}

/* Undoes the six rounds for 2^32 images, where no walk is needed. */
static uint64_t unpermute(uint64_t seed, uint32_t epoch, uint64_t image) {
    uint32_t left = (uint32_t)(image >> 16), right = (uint32_t)image & 0xffff;

    for (uint32_t round = 6; round-- > 0;) {
        uint32_t block[4], before = left;
        dcgan_philox((const uint32_t[4]){before, round, epoch, DCGAN_STREAM_ORDER}, seed, block);
        left = right ^ (block[0] & 0xffff);
        right = before;
    }
    return (uint64_t)left << 16 | right;
}

static void permute_of_2_to_the_32_images(void **state) {
    const uint64_t images = (uint64_t)1 << 32;
    (void)state;
    for (uint64_t i = 0; i < 2000; i++) {
        uint64_t place = i % 2 ? images - 1 - i : i * 1000003 % images;
        uint64_t image = dcgan_permute(test_seed, 9, images, place);
        assert_true(image < images);
        assert_int_equal(unpermute(test_seed, 9, image), place);
    }
}

/* ---- initial weights ---- */

static void check_tensor(const dcgan_tensor *tensor, const float *x) {
    double n = (double)tensor->count, mean = 0, square = 0, expected = tensor->kind == DCGAN_SCALE;
    char what[80];

    for (size_t j = 0; j < tensor->count; j++) {
        double d = ((double)x[j] - expected) / 0.02;
        if (tensor->kind == DCGAN_SHIFT)
            assert_true(x[j] == 0);
        mean += d / n;
        square += d * d / n;
    }
    if (tensor->kind == DCGAN_SHIFT)
        return;
    snprintf(what, sizeof what, "mean of %s", tensor->name);
    plausible(what, mean, 0, sqrt(1 / n));
    snprintf(what, sizeof what, "variance of %s", tensor->name);
    plausible(what, square, 1, sqrt(2 / n));
}

static void initial_weights_have_their_distribution(void **state) {
    const dcgan_config config = {3, 32, 31, 16, 16};
    dcgan_model model;
    float *weights, *other;
    size_t same = 0, tensor;
    (void)state;
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    weights = malloc(model.parameter_count * sizeof *weights);
    other = malloc(model.parameter_count * sizeof *other);
    dcgan_initialise(&model, test_seed, 0, model.parameter_count, weights);
    for (tensor = 0; tensor < model.tensor_count; tensor++)
        check_tensor(&model.tensors[tensor], weights + model.tensors[tensor].offset);
    dcgan_initialise(&model, test_seed + 1, 0, model.parameter_count, other);
    for (size_t j = 0; j < model.tensors[0].count; j++)
        same += weights[j] == other[j];
    assert_true(same <= 2);
    free(weights), free(other);
}

static void any_slice_of_the_initial_weights(void **state) {
    const dcgan_config config = {1, 32, 7, 3, 2};
    dcgan_model model;
    float *whole, part[102];
    (void)state;
    assert_int_equal(dcgan_model_init(&model, &config), DCGAN_OK);
    whole = malloc(model.parameter_count * sizeof *whole);
    dcgan_initialise(&model, test_seed, 0, model.parameter_count, whole);
    for (size_t first = 0; first < model.parameter_count; first += 101) {
        size_t count = model.parameter_count - first < 101 ? model.parameter_count - first : 101;
        part[count] = 99;
        dcgan_initialise(&model, test_seed, first, count, part);
        assert_memory_equal(part, whole + first, count * sizeof *part);
        assert_true(part[count] == 99);
    }
    free(whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_philox),
        cmocka_unit_test(vectors_of_noise),
        cmocka_unit_test(vectors_of_permute),
        cmocka_unit_test(noise_writes_exactly_count),
        cmocka_unit_test(noise_is_standard_normal),
        cmocka_unit_test(streams_have_nothing_in_common),
        cmocka_unit_test(box_muller_at_its_edges),
        cmocka_unit_test(permute_is_a_bijection),
        cmocka_unit_test(orders_differ),
        cmocka_unit_test(epochs_count_modulo_2_to_the_32),
        cmocka_unit_test(permute_of_2_to_the_32_images),
        cmocka_unit_test(initial_weights_have_their_distribution),
        cmocka_unit_test(any_slice_of_the_initial_weights),
    };
    if (getenv("GANN_TEST_SEED"))
        test_seed = strtoull(getenv("GANN_TEST_SEED"), NULL, 10);
    printf("# GANN_TEST_SEED=%" PRIu64 "\n", test_seed);
    fflush(stdout);
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
