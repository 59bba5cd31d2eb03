/*
 * test_half.c - float16: every one of its numbers, every tie between two of them, and the scale
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/formats/wire/blob.h"
#include "../../src/formats/wire/half.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALL 65536

/* Computes the value of a float16 from the definition, in double precision. */
static double value_of(unsigned half) {
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double sign = half & 0x8000 ? -1 : 1;

    if (exponent == 31)
        return fraction ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

typedef void encoder(uint16_t *, const float *, size_t, int);
typedef void decoder(float *, const uint16_t *, size_t, int);
static encoder *const encoders[] = {half_encode, half_encode_portable};
static decoder *const decoders[] = {half_decode, half_decode_portable};

static void every_half_has_its_value(void **state) {
    static uint16_t halfs[ALL], again[ALL];
    static float wide[ALL];
    (void)state;
    for (unsigned h = 0; h < ALL; h++)
        halfs[h] = (uint16_t)h;
    for (int way = 0; way < 2; way++) {
        decoders[way](wide, halfs, ALL, 0);
        encoders[way](again, wide, ALL, 0);
        for (unsigned h = 0; h < ALL; h++) {
            double value = value_of(h);
            assert_int_equal(isnan(value), isnan((double)wide[h]));
            if (isnan(value)) {
                assert_true((again[h] & 0x7FFF) > 0x7C00); /* still NaN */
                continue;
            }
            assert_true((double)wide[h] == value && !signbit(wide[h]) == !signbit(value));
            assert_int_equal(again[h], h);
        }
    }
}

/* Rounds one number, which must come out the same as a part of a vector and at its end, by
 * instruction and without. */
static unsigned rounded(float x) {
    float many[17];
    uint16_t halfs[2][17];

    for (int i = 0; i < 17; i++)
        many[i] = x;
    for (int way = 0; way < 2; way++)
        encoders[way](halfs[way], many, 17, 0);
    for (int i = 0; i < 17; i++)
        if (halfs[0][i] != halfs[0][0] || halfs[1][i] != halfs[0][0])
            fail_msg("%a is rounded to %04x here and %04x there", (double)x, halfs[0][i],
                     halfs[1][i]);
    return halfs[0][0];
}

static void ties_go_to_the_even_one(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7C00; h++) {
        double above = h == 0x7BFF ? 65536.0 : value_of(h + 1); /* what would come after 65504 */
        float tie = (float)((value_of(h) + above) / 2);

        assert_true((double)tie == (value_of(h) + above) / 2);
        for (unsigned sign = 0; sign < 2; sign++) {
            float s = sign ? -1.0f : 1.0f;
            assert_int_equal(rounded(s * tie), (h + (h & 1)) | sign << 15);
            assert_int_equal(rounded(s * nextafterf(tie, 0)), h | sign << 15);
            assert_int_equal(rounded(s * nextafterf(tie, INFINITY)), (h + 1) | sign << 15);
        }
    }
    assert_int_equal(rounded(FLT_MAX), 0x7C00);
    assert_int_equal(rounded(-INFINITY), 0xFC00);
    assert_int_equal(rounded(FLT_TRUE_MIN), 0);
}

static void both_ways_agree(void **state) {
    enum { PART = 4096 };
    static float x[PART], wide[2][PART];
    static uint16_t halfs[2][PART];
    uint32_t bits = 0;
    (void)state;
    for (int part = 0; part < 512; part++) {
        int scale = part % 5 ? 0 : part % (HALF_SCALE_MAX - HALF_SCALE_MIN) + HALF_SCALE_MIN;
        for (int i = 0; i < PART;
             i++, bits += 2049) /* odd: all low bits occur, and all exponents */
            memcpy(&x[i], &bits, 4);
        for (int way = 0; way < 2; way++) {
            encoders[way](halfs[way], x, PART, scale);
            decoders[way](wide[way], halfs[way], PART, scale);
        }
        assert_memory_equal(halfs[0], halfs[1], sizeof halfs[0]);
        assert_memory_equal(wide[0], wide[1], sizeof wide[0]);
    }
}

static void the_scale_keeps_the_error_small(void **state) {
    const float largest[] = {3e38f, 1e30f, 65504, 1, 0.9999999f, 1e-3f, 1e-10f, 1e-25f};
    (void)state;
    for (size_t k = 0; k < sizeof largest / sizeof *largest; k++) {
        float x[1000], back[1000];
        uint16_t half[1000];
        double squares = 0, errors = 0;
        int scale;

        srand(7);
        for (int i = 0; i < 1000; i++)
            x[i] = (float)((double)largest[k] * (2.0 * rand() / RAND_MAX - 1) *
                           pow(10, -6.0 * rand() / RAND_MAX));
        x[500] = -largest[k];
        scale = half_scale(x, 1000);
        half_encode(half, x, 1000, scale);
        half_decode(back, half, 1000, scale);
        for (int i = 0; i < 1000; i++) {
            double error = fabs((double)back[i] - (double)x[i]);
            double bound = fmax(fabs((double)x[i]) * 0x1p-11, (double)largest[k] * 0x1p-39);
            squares += (double)x[i] * (double)x[i] / (double)largest[k] / (double)largest[k];
            errors += error * error / (double)largest[k] / (double)largest[k];
            assert_true(error <= bound);
        }
        assert_true(sqrt(errors / squares) <= 2.5e-4);
        /* 2^14 … 2^15 */
        assert_true((half[500] & 0x7FFF) >= 0x7400 && (half[500] & 0x7FFF) <= 0x7800);
    }
}

static void odd_vectors_have_a_scale(void **state) {
    const float zeros[3] = {0, -0.0f, 0}, tiny[2] = {FLT_TRUE_MIN, 1e-44f},
                bad[3] = {NAN, 2, INFINITY};
    uint16_t half[3];
    (void)state;
    assert_int_equal(half_scale(zeros, 3), 0);
    assert_int_equal(half_scale(zeros, 0), 0);
    assert_int_equal(half_scale(tiny, 2), HALF_SCALE_MIN);
    assert_int_equal(half_scale(bad, 3), 1 - 14);
    half_encode(half, bad, 3, 1 - 14);
    assert_true((half[0] & 0x7FFF) > 0x7C00);
    assert_int_equal(half[2], 0x7C00);
}

static void blobs_of_halfs_are_checked(void **state) {
    const float values[5] = {1e-8f, -3e-9f, 0, 5e-8f, 1e-12f};
    unsigned char *blob = malloc(blob_size_of(5, BLOB_FLOAT16));
    const unsigned char header[16] = {'G', 'A', 'N', 'F', 1, 0, 2, 0, 5};
    float back[5];
    int16_t scale = HALF_SCALE_MAX + 1;
    (void)state;
    assert_int_equal(blob_size_of(5, BLOB_FLOAT16), 24 + 10);
    blob_encode(blob, values, 5, BLOB_FLOAT16);
    assert_memory_equal(blob, header, 16);
    assert_int_equal(blob_check_element(blob, 34, 5, BLOB_FLOAT16), BLOB_OK);
    assert_int_equal(blob_check(blob, 34, 5), BLOB_ELEMENT);
    assert_int_equal(blob_check_element(blob, 33, 5, BLOB_FLOAT16), BLOB_LENGTH);
    assert_int_equal(blob_check_element(blob, 34, 4, BLOB_FLOAT16), BLOB_COUNT);
    blob_decode(back, blob, 5, BLOB_FLOAT16);
    for (int i = 0; i < 5; i++)
        assert_true(fabsf(back[i] - values[i]) <= fabsf(values[i]) * 0x1p-11f);
    memcpy(blob + 20, &scale, 2);
    assert_int_equal(blob_check_element(blob, 34, 5, BLOB_FLOAT16), BLOB_RESERVED);
    blob_write(blob, values, 2);
    assert_int_equal(blob_check_element(blob, blob_size(2), 2, BLOB_FLOAT16), BLOB_ELEMENT);
    free(blob);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_has_its_value),
        cmocka_unit_test(ties_go_to_the_even_one),
        cmocka_unit_test(both_ways_agree),
        cmocka_unit_test(the_scale_keeps_the_error_small),
        cmocka_unit_test(odd_vectors_have_a_scale),
        cmocka_unit_test(blobs_of_halfs_are_checked),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
