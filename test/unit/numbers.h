/*
 * numbers.h - seeded data for tests of layers, and comparisons that say which number is off
 *
 * Environment: GANN_TEST_SEED, the seed of the random data, by default 1.
 */
#ifndef TEST_NUMBERS_H
#define TEST_NUMBERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "on_host.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof *(array))

static uint64_t test_seed = 1, random_state;

/* ---- data ---- */

/* Draws 64 random bits (SplitMix64). */
static inline uint64_t random_bits(void) {
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Draws from -1 ... 1. */
static inline double random_unit(void) {
    return (double)(random_bits() >> 11) * 0x1p-52 - 1;
}

static inline float *filled(size_t count, float value) {
    float *x = malloc((count + 1) * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = value;
    return x;
}

/* Integers -3 ... 3 without 0. */
static inline float *integers(size_t count) {
    float *x = filled(count, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(random_bits() % 3 + 1) * (random_bits() % 2 ? 1 : -1);
    return x;
}

static inline float *reals(size_t count, double centre, double spread) {
    float *x = filled(count, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(centre + spread * random_unit());
    return x;
}

static inline float *copy_of(const float *x, size_t count) {
    return memcpy(filled(count, 0), x, count * sizeof *x);
}

static inline double largest(const float *x, size_t count) {
    double m = 0;
    for (size_t i = 0; i < count; i++)
        m = fabs((double)x[i]) > m ? fabs((double)x[i]) : m;
    return m;
}

/* Fails where most of the expected values are zero: equality would say nothing. */
static inline void says_something(const char *what, const float *expected, size_t count) {
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++)
        zeros += expected[i] == 0;
    if (!(2 * zeros <= count))
        fail_msg("%s: %zu of %zu expected values are zero", what, zeros, count);
}

static inline void same(const char *what, const float *got, const float *expected, size_t count) {
    says_something(what, expected, count);
    for (size_t i = 0; i < count; i++)
        if (!(got[i] == expected[i]))
            fail_msg("%s: number %zu of %zu is %.9g instead of %.9g", what, i, count, got[i],
                     expected[i]);
}

static inline void close_to(const char *what, const float *got, const float *expected, size_t count,
                            double tolerance) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)expected[i]) <= tolerance))
            fail_msg("%s: number %zu of %zu is %.9g instead of %.9g +- %.2g", what, i, count,
                     got[i], expected[i], tolerance);
}

static inline int reseed(void **state) {
    (void)state;
    random_state = test_seed;
    return 0;
}

#define seeded_test(f) cmocka_unit_test_setup(f, reseed)

/* Reads the seed and says which it is. */
static inline void choose_seed(void) {
    if (getenv("GANN_TEST_SEED"))
        test_seed = strtoull(getenv("GANN_TEST_SEED"), NULL, 10);
    printf("# GANN_TEST_SEED=%" PRIu64 "\n", test_seed);
    fflush(stdout);
}

#endif
