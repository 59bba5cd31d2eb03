/*
 * test_int8.c - blocks of 8-bit numbers: how they are rounded, that they survive, and what is
 * refused
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/formats/wire/blob.h"
#include "../../src/formats/wire/int8.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((int)INT8_BLOCK)

/* The encoding as it is written down, in double precision. */
static double expected_scale(double largest) {
    int exponent;
    double fraction;

    if (largest <= 0x1p-127)
        return 0;
    /* 0.5 … 1: 17 bits are 2^-17 of it */
    fraction = frexp((double)(float)(largest / 127), &exponent);
    return fmin(fmax(ldexp(ceil(ldexp(fraction, 17)), exponent - 17), 0x1p-126),
                ldexp(floor(ldexp(FLT_MAX / 127, -103)), 103));
}

/* Encodes, checks, decodes and compares with what is written down. */
static void round_trip(const float *x, size_t count) {
    unsigned char *data = malloc(int8_size(count)), *again = malloc(int8_size(count));
    float *back = malloc(count * sizeof *back), *sum = malloc(count * sizeof *sum);
    size_t blocks = (count + INT8_BLOCK - 1) / INT8_BLOCK;

    assert_int_equal(int8_size(count), 4 * blocks + count);
    assert_true(int8_encode(data, x, count));
    assert_true(int8_check(data, count));
    int8_decode(back, data, count);
    for (size_t i = 0; i < count; i++)
        sum[i] = x[i] * 3;
    int8_add(sum, data, count);
    for (size_t b = 0; b < blocks; b++) {
        size_t first = b * INT8_BLOCK,
               end = first + INT8_BLOCK < count ? first + INT8_BLOCK : count;
        double largest = 0, bound;
        float scale;
        memcpy(&scale, data + 4 * b, 4);
        for (size_t i = first; i < end; i++)
            largest = fmax(largest, fabs((double)x[i]));
        if ((double)scale != expected_scale(largest))
            fail_msg("largest %a: scale %a, not %a", largest, (double)scale,
                     expected_scale(largest));
        bound = fmax((double)scale, 0x1p-126) / 2;
        for (size_t i = first; i < end; i++) {
            int q = ((signed char *)data)[4 * blocks + i];
            double error = fabs((double)back[i] - (double)x[i]);
            assert_true((double)back[i] == q * (double)scale); /* exact */
            assert_true(sum[i] == (float)((double)(x[i] * 3) + (double)back[i]));
            assert_true(error <= bound * (1 + 0x1p-16));
            assert_int_equal(q, scale > 0 ? (int)nearbyint((double)(x[i] / scale)) : 0);
        }
    }
    /* what was decoded is encoded into the same bytes */
    assert_true(int8_encode(again, back, count));
    assert_memory_equal(data, again, int8_size(count));
    free(data), free(again), free(back), free(sum);
}

static void numbers_are_rounded_as_written_down(void **state) {
    static const float sizes[] = {1,      1e-3f,  1e-8f,  3e38f, FLT_MAX,
                                  1e-37f, 1e-38f, 1e-40f, 127,   0x1p-119f};
    static const size_t counts[] = {1, 2, 255, 256, 257, 512, 1000, 4096};
    float *x = malloc(4096 * sizeof *x);
    (void)state;
    srand(11);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            for (size_t i = 0; i < counts[c]; i++)
                x[i] = (float)((2.0 * rand() / RAND_MAX - 1) * (double)sizes[s] *
                               pow(2, -(double)(rand() % 20)));
            x[counts[c] / 2] = -sizes[s];
            round_trip(x, counts[c]);
        }
    free(x);
}

/* The largest number of a block takes every pattern of leading bits, at every exponent. */
static void every_scale_survives(void **state) {
    float x[BLOCK];
    (void)state;
    for (uint32_t bits = 0; bits < 0x7F800000; bits += 0x1FFD) {
        uint32_t largest = bits;
        memcpy(&x[0], &largest, 4);
        for (int i = 1; i < BLOCK; i++)
            x[i] = x[0] * ((float)(i - 128) / 128);
        if (bits % 16 == 0)
            round_trip(x, BLOCK);
        else
            round_trip(x, 3);
    }
    memcpy(&x[0], &(uint32_t){0x7F7FFFFF}, 4);
    round_trip(x, 1);
}

/* Every q, and every tie between two: to the even one. */
static void ties_go_to_the_even_one(void **state) {
    float x[BLOCK];
    signed char data[4 + BLOCK];
    (void)state;
    for (int power = -100; power <= 100; power += 25) {
        float scale = ldexpf(1, power);
        for (int i = 0; i < 255; i++)
            x[i] = (float)(i - 127) * scale;
        x[255] = 0;
        assert_true(int8_encode((unsigned char *)data, x, BLOCK));
        for (int i = 0; i < 255; i++)
            assert_int_equal(data[4 + i], i - 127);
        for (int i = 0; i < 254; i++)
            x[i] = ((float)(i - 127) + 0.5f) * scale;
        x[254] = 127 * scale;
        assert_true(int8_encode((unsigned char *)data, x, BLOCK));
        for (int i = 0; i < 254; i++)
            assert_int_equal(data[4 + i], (i - 127) + ((i - 127) & 1));
        for (int i = 0; i < 254; i++)
            x[i] = nextafterf(x[i], -INFINITY);
        assert_true(int8_encode((unsigned char *)data, x, BLOCK));
        for (int i = 0; i < 254; i++) /* x / s is rounded itself: next to 0 it is told from a tie */
            assert_int_equal(data[4 + i], i - 127);
    }
}

static void zeros_have_no_scale(void **state) {
    float x[BLOCK] = {0}, back[BLOCK];
    unsigned char data[4 + BLOCK], zeros[4 + BLOCK] = {0};
    (void)state;
    x[7] = -0.0f;
    x[9] = 0x1p-127f; /* half a step of the smallest scale: to the even one */
    assert_true(int8_encode(data, x, BLOCK));
    assert_memory_equal(data, zeros, sizeof data);
    int8_decode(back, data, BLOCK);
    for (int i = 0; i < BLOCK; i++)
        assert_true(back[i] == 0);
    assert_int_equal(int8_size(0), 0);
    assert_true(int8_encode(data, x, 0) && int8_check(data, 0));
}

static void what_is_not_finite_is_refused_wherever_it_is(void **state) {
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    float x[BLOCK + 5];
    unsigned char data[8 + BLOCK + 5], blob[24 + 8 + BLOCK + 5];
    (void)state;
    for (int i = 0; i < BLOCK + 5; i++)
        x[i] = (float)i;
    for (int i = 0; i < BLOCK + 5; i++)
        for (int k = 0; k < 4; k++) {
            x[i] = bad[k];
            assert_false(int8_encode(data, x, BLOCK + 5));
            assert_false(blob_encode(blob, x, BLOCK + 5, BLOB_INT8));
            x[i] = (float)i;
        }
    assert_true(int8_encode(data, x, BLOCK + 5));
}

static void every_hostile_scale_is_refused(void **state) {
    enum { COUNT = 2 * BLOCK + 3 };
    unsigned char data[3 * 4 + COUNT] = {0};
    const uint32_t largest = 0x7C010200 & ~0x7Fu; /* FLT_MAX / 127 = 2^121 1.00787… */
    (void)state;
    assert_true((double)FLT_MAX >= 127 * 0x1.0204p121); /* 17 bits: 1.0204 */
    for (int block = 0; block < 3; block++)
        for (uint64_t bits = 0; bits <= UINT32_MAX;
             bits += bits < 0x800000 || bits > 0x7C000000 ? 509 : 8191) {
            uint32_t word = (uint32_t)bits;
            float scale;
            bool fine;
            memcpy(&scale, &word, 4);
            memcpy(data + 4 * block, &word, 4);
            fine = word == 0 ||
                   (isnormal(scale) && scale > 0 && (word & 0x7F) == 0 && word <= largest);
            assert_int_equal(int8_check(data, COUNT), fine);
            if (bits % 64 == 0) { /* as well the neighbour with 17 bits */
                word &= ~0x7Fu;
                memcpy(&scale, &word, 4);
                memcpy(data + 4 * block, &word, 4);
                fine = word == 0 || (isnormal(scale) && scale > 0 && word <= largest);
                assert_int_equal(int8_check(data, COUNT), fine);
            }
            memset(data + 4 * block, 0, 4);
        }
}

static void every_hostile_number_is_refused(void **state) {
    enum { COUNT = 2 * BLOCK + 3 };
    unsigned char data[3 * 4 + COUNT] = {0};
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        for (int q = 0; q < 256; q++) {
            data[12 + i] = (unsigned char)q;
            assert_int_equal(int8_check(data, COUNT), q != 128);
        }
        data[12 + i] = 0;
    }
}

static void blobs_of_int8_are_checked(void **state) {
    enum { COUNT = 300, SIZE = 24 + 8 + COUNT };
    const unsigned char header[16] = {'G', 'A', 'N', 'F', 1, 0, 3, 0, COUNT & 255, COUNT >> 8};
    _Alignas(4) unsigned char blob[SIZE];
    unsigned char cut[SIZE];
    float x[COUNT], back[COUNT];
    uint32_t crc;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i - 150) * 1e-6f;
    assert_int_equal(blob_size_of(COUNT, BLOB_INT8), SIZE);
    assert_true(blob_encode(blob, x, COUNT, BLOB_INT8));
    assert_memory_equal(blob, header, 16);
    assert_int_equal(blob_check_element(blob, SIZE, COUNT, BLOB_INT8), BLOB_OK);
    assert_int_equal(blob_check_element(blob, SIZE, COUNT, BLOB_FLOAT16), BLOB_ELEMENT);
    assert_int_equal(blob_check(blob, SIZE, COUNT), BLOB_ELEMENT);
    assert_int_equal(blob_check_element(blob, SIZE, COUNT - 1, BLOB_INT8), BLOB_COUNT);
    for (size_t size = 0; size < SIZE; size++)
        assert_int_equal(blob_check_element(blob, size, COUNT, BLOB_INT8),
                         size < 24 ? BLOB_SHORT : BLOB_LENGTH);
    blob_decode(back, blob, COUNT, BLOB_INT8);
    for (int i = 0; i < COUNT; i++)
        assert_true(fabsf(back[i] - x[i]) <= 150e-6f / 127 / 2 * 1.0001f);
    for (size_t i = 0; i < SIZE; i++) { /* every byte matters */
        memcpy(cut, blob, SIZE);
        cut[i] ^= 1;
        assert_int_not_equal(blob_check_element(cut, SIZE, COUNT, BLOB_INT8), BLOB_OK);
    }
    blob[24 + 8 + 299] = 128; /* with a checksum that fits */
    crc = blob_crc32c(blob + 24, SIZE - 24);
    memcpy(blob + 16, &crc, 4);
    assert_int_equal(blob_check_element(blob, SIZE, COUNT, BLOB_INT8), BLOB_NUMBERS);
    assert_true(strlen(blob_status_text(BLOB_NUMBERS)) > 10);
}

static void element_types_have_names(void **state) {
    blob_element element;
    (void)state;
    for (int e = BLOB_FLOAT32; e <= BLOB_INT8; e++) {
        assert_true(blob_element_read(&element, blob_element_name((blob_element)e)));
        assert_int_equal(element, e);
    }
    assert_false(blob_element_read(&element, "float64"));
    assert_false(blob_element_read(&element, ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_rounded_as_written_down),
        cmocka_unit_test(every_scale_survives),
        cmocka_unit_test(ties_go_to_the_even_one),
        cmocka_unit_test(zeros_have_no_scale),
        cmocka_unit_test(what_is_not_finite_is_refused_wherever_it_is),
        cmocka_unit_test(every_hostile_scale_is_refused),
        cmocka_unit_test(every_hostile_number_is_refused),
        cmocka_unit_test(blobs_of_int8_are_checked),
        cmocka_unit_test(element_types_have_names),
    };
    return cmocka_run_group_tests_name("int8", tests, NULL, NULL);
}
