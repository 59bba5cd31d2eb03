/*
 * test_change.c - copies that follow a vector: the same bits on both sides, and errors that don't
 * add up
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/formats/wire/change.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 1500
#define STEPS 60

static double uniform(void) {
    return 2.0 * rand() / RAND_MAX - 1;
}

static void followers_hold_the_same_bits(void **state) {
    static float target[COUNT], copy[COUNT], follower[COUNT], late[COUNT], scratch[COUNT];
    (void)state;
    for (blob_element element = BLOB_FLOAT16; element <= BLOB_INT8; element++) {
        unsigned char *change = malloc(change_size(COUNT, element));
        srand(3);
        for (int i = 0; i < COUNT; i++)
            target[i] = (float)(0.02 * uniform());
        memcpy(copy, target, sizeof copy);
        memcpy(follower, target, sizeof copy);
        for (int step = 0; step < STEPS; step++) {
            double largest = 0, error = 0;
            for (int i = 0; i < COUNT; i++)
                target[i] += (float)(2e-4 * uniform() * pow(2, -(double)(rand() % 10)));
            for (int i = 0; i < COUNT; i++)
                largest = fmax(largest, fabs((double)target[i] - (double)copy[i]));
            assert_true(change_make(change, copy, target, scratch, COUNT, element));
            assert_int_equal(
                change_apply(follower, change, change_size(COUNT, element), COUNT, element),
                BLOB_OK);
            assert_memory_equal(follower, copy, sizeof copy);
            if (step == STEPS / 2) /* joins late with the whole copy, continues with changes */
                memcpy(late, copy, sizeof copy);
            else if (step > STEPS / 2) {
                assert_int_equal(
                    change_apply(late, change, change_size(COUNT, element), COUNT, element),
                    BLOB_OK);
                assert_memory_equal(late, copy, sizeof copy);
            }
            for (int i = 0; i < COUNT; i++)
                error = fmax(error, fabs((double)target[i] - (double)copy[i]));
            assert_true(largest < 4.1e-4 && error > 0); /* of one step, not of all of them */
            assert_true(error <= largest / (element == BLOB_INT8 ? 253.9 : 2047) + 0x1p-28);
        }
        free(change);
    }
}

static void what_does_not_fit_is_noticed(void **state) {
    enum { SIZE = 24 + 2 * 4 + 300 + 4 };
    float target[300], start[300], copy[300], scratch[300];
    _Alignas(4) unsigned char change[SIZE];
    (void)state;
    for (int i = 0; i < 300; i++) {
        start[i] = (float)i;
        target[i] = (float)i + 0.25f;
    }
    memcpy(copy, start, sizeof copy);
    assert_int_equal(change_size(300, BLOB_INT8), SIZE);
    assert_true(change_make(change, copy, target, scratch, 300, BLOB_INT8));
    for (size_t i = 0; i < SIZE; i++) { /* every byte matters */
        change[i] ^= 1;
        memcpy(copy, start, sizeof copy);
        assert_int_not_equal(change_apply(copy, change, SIZE, 300, BLOB_INT8), BLOB_OK);
        change[i] ^= 1;
    }
    for (size_t size = 0; size < SIZE; size++)
        assert_int_not_equal(change_apply(copy, change, size, 300, BLOB_INT8), BLOB_OK);
    assert_int_equal(change_apply(copy, change, SIZE, 299, BLOB_INT8), BLOB_LENGTH);
    memcpy(copy, start, sizeof copy);
    copy[299] = nextafterf(copy[299], 0); /* not the copy it was made for */
    assert_int_equal(change_apply(copy, change, SIZE, 300, BLOB_INT8), BLOB_CRC);
    memcpy(copy, start, sizeof copy);
    assert_int_equal(change_apply(copy, change, SIZE, 300, BLOB_INT8), BLOB_OK);
    assert_int_equal(change_apply(copy, change, SIZE, 300, BLOB_INT8), BLOB_CRC); /* twice */
    target[7] = FLT_MAX;
    copy[7] = -FLT_MAX;
    assert_false(change_make(change, copy, target, scratch, 300, BLOB_INT8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(followers_hold_the_same_bits),
        cmocka_unit_test(what_does_not_fit_is_noticed),
    };
    return cmocka_run_group_tests_name("change", tests, NULL, NULL);
}
