/*
 * test_swd.c - summaries of images and their distance: what must hold of any, and what no summary
 * can be
 *
 * That the numbers are right is shown by test/independent/swd.py, which was written from
 * docs/format.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/dcgan.h"
#include "../../src/quality/pyramid.h"
#include "../../src/quality/swd.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 24
#define SIZE 32
#define CHANNELS 3
#define NUMBERS (2 * SWD_DIRECTIONS * SWD_QUANTILES)

static uint8_t images[COUNT * SIZE * SIZE * CHANNELS];
static float summary[NUMBERS], other[NUMBERS];

/* Draws images: noise of some contrast over a slope that turns with the number. */
static void draw(uint64_t seed, double contrast) {
    const size_t count = sizeof images;
    float *noise = malloc(count * sizeof *noise);

    dcgan_noise(seed, 0, 0, 99, count, noise);
    for (size_t i = 0; i < count; i++) {
        size_t x = i / CHANNELS % SIZE, y = i / (CHANNELS * SIZE) % SIZE;
        double v = 128 + 2.0 * (double)x - 1.5 * (double)y + contrast * (double)noise[i];
        images[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
    free(noise);
}

static void summarise(const uint8_t *of, size_t count, float *to) {
    const swd_set set = {.images = of, .count = count, .size = SIZE, .channels = CHANNELS};
    size_t bytes;
    void *workspace;

    assert_int_equal(swd_workspace(count, CHANNELS, &bytes), SWD_OK);
    workspace = malloc(bytes);
    assert_int_equal(swd_summarise(&set, 7, to, workspace, bytes, NULL, NULL), SWD_OK);
    free(workspace);
}

static void a_pyramid_adds_up_to_the_image(void **state) {
    /* A constant image has nothing in its fine levels, and itself in the last one. */
    static uint8_t flat[64 * 64 * CHANNELS];
    float *buffers[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        buffers[i] = malloc(pyramid_count(64, CHANNELS) * sizeof(float));
    memset(flat, 100, sizeof flat);
    for (size_t level = 0; level < 3; level++) {
        const float *at = pyramid_level(flat, 64, CHANNELS, level, 3, buffers);
        for (size_t i = 0; i < pyramid_count(64 >> level, CHANNELS); i++)
            assert_true(fabsf(at[i] - (level == 2 ? 100.0f : 0.0f)) < 1e-3f);
    }
    /* One bright pixel: the finest level holds it less the kernel's two passes over it. */
    memset(flat, 0, sizeof flat);
    flat[(32 * 64 + 32) * CHANNELS] = 255;
    const float *at = pyramid_level(flat, 64, CHANNELS, 0, 3, buffers);
    double kept = 0;
    for (int k = -2; k <= 2;
         k += 2) /* of those that halving keeps, what doubling brings back to this place */
        kept += (k == 0 ? 6 : 1) / 16.0 * (k == 0 ? 6 : 1) / 16.0;
    assert_true(fabs((double)at[(32 * 64 + 32) * CHANNELS] - 255 * (1 - 4 * kept * kept)) < 1e-3);
    assert_true(at[(32 * 64 + 32) * CHANNELS + 1] == 0);
    for (int i = 0; i < 3; i++)
        free(buffers[i]);
}

static void a_summary_can_be_one(void **state) {
    (void)state;
    draw(1, 20);
    summarise(images, COUNT, summary);
    assert_int_equal(swd_check(summary, SIZE, CHANNELS), SWD_OK);
    summarise(images, COUNT, other);
    assert_memory_equal(summary, other, sizeof summary);
    memset(images, 77, sizeof images); /* no variance: all 0, not NaN */
    summarise(images, 1, other);
    for (size_t i = 0; i < NUMBERS / 2; i++)
        assert_true(other[i] == 0);
}

static void what_cannot_be_one_is_found(void **state) {
    (void)state;
    draw(1, 20);
    summarise(images, COUNT, summary);
    for (int what = 0; what < 5; what++) {
        memcpy(other, summary, sizeof other);
        size_t last = NUMBERS - 1;
        if (what == 0)
            other[last] = NAN;
        else if (what == 1)
            other[last] = INFINITY;
        else if (what == 2)
            other[last] = other[last - 1] - 1e-3f;
        else if (what == 3)
            other[last] = 16.0f * 2.0f * SWD_PATCH * SWD_PATCH * CHANNELS;
        else
            other[0] = -FLT_MAX;
        assert_int_equal(swd_check(other, SIZE, CHANNELS), what < 2    ? SWD_NOT_FINITE
                                                           : what == 2 ? SWD_NOT_SORTED
                                                                       : SWD_IMPOSSIBLE);
    }
    assert_int_equal(swd_check(summary, SIZE, CHANNELS), SWD_OK);
}

static void the_distance_grows_with_the_difference(void **state) {
    double distances[SWD_MAX_LEVELS], same, some, much;
    (void)state;
    draw(1, 20);
    summarise(images, COUNT, summary);
    draw(2, 20);
    summarise(images, COUNT, other);
    same = swd_distance(summary, other, SIZE, distances);
    draw(2, 30);
    summarise(images, COUNT, other);
    some = swd_distance(summary, other, SIZE, distances);
    memset(images, 0, sizeof images);
    for (size_t i = 0; i < sizeof images; i += 64) /* dots */
        images[i] = 255;
    summarise(images, COUNT, other);
    much = swd_distance(summary, other, SIZE, distances);
    assert_true(swd_distance(summary, summary, SIZE, distances) == 0);
    assert_true(same > 0 && same < some && some < much);
    assert_true(swd_difference(summary, summary, SIZE) == 0);
    memcpy(other, summary, sizeof other);
    other[NUMBERS - 1] += 0.25f;
    assert_true(fabs(swd_difference(summary, other, SIZE) - 0.25) < 1e-6);
    assert_true(fabs(swd_distance(summary, other, SIZE, distances) - 1000 * 0.25 / NUMBERS) < 1e-6);
}

static int stop_at(void *context) {
    return --*(int *)context < 0;
}

static void it_refuses_and_it_stops(void **state) {
    const swd_set set = {.images = images, .count = COUNT, .size = SIZE, .channels = CHANNELS};
    swd_set wrong = set;
    size_t bytes;
    void *workspace;
    (void)state;
    assert_int_equal(swd_workspace(0, 3, &bytes), SWD_INVALID_ARGUMENT);
    assert_int_equal(swd_workspace(SWD_MAX_IMAGES + 1, 3, &bytes), SWD_INVALID_ARGUMENT);
    assert_int_equal(swd_workspace(1, 2, &bytes), SWD_INVALID_ARGUMENT);
    assert_int_equal(swd_workspace(COUNT, CHANNELS, &bytes), SWD_OK);
    workspace = malloc(bytes);
    assert_int_equal(swd_summarise(&set, 7, summary, workspace, bytes - 1, NULL, NULL),
                     SWD_WORKSPACE);
    wrong.size = 48;
    assert_int_equal(swd_summarise(&wrong, 7, summary, workspace, bytes, NULL, NULL),
                     SWD_INVALID_ARGUMENT);
    for (int calls = 0; calls < 60; calls += 7)
        assert_int_equal(swd_summarise(&set, 7, summary, workspace, bytes, stop_at, &(int){calls}),
                         SWD_CANCELLED);
    free(workspace);
}

static void the_sample_is_of_different_images(void **state) {
    uint8_t seen[100] = {0};
    (void)state;
    for (uint64_t k = 0; k < 100; k++)
        seen[swd_sample(7, 100, k)]++;
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pyramid_adds_up_to_the_image),
        cmocka_unit_test(a_summary_can_be_one),
        cmocka_unit_test(what_cannot_be_one_is_found),
        cmocka_unit_test(the_distance_grows_with_the_difference),
        cmocka_unit_test(it_refuses_and_it_stops),
        cmocka_unit_test(the_sample_is_of_different_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
