/*
 * test_blob.c - the bytes of weights and gradients: what is right is read, what is wrong is named
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/formats/wire/blob.h"

#include <stdlib.h>
#include <string.h>

#define COUNT 5

static unsigned char *good_blob(void) {
    const float values[COUNT] = {1, -2, 0.5f, 0, 1e-30f};
    unsigned char *blob = malloc(blob_size(COUNT));
    blob_write(blob, values, COUNT);
    return blob;
}

static void crc_has_the_published_value(void **state) {
    unsigned char zeros[32] = {0};
    (void)state;
    assert_int_equal(blob_crc32c("123456789", 9), 0xE3069283u);
    assert_int_equal(blob_crc32c(zeros, 32), 0x8A9136AAu); /* RFC 3720, B.4 */
    assert_int_equal(blob_crc32c("", 0), 0);
}

/* Computes a CRC-32C bit by bit. */
static uint32_t crc_by_bit(const unsigned char *p, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* Every path (streams, words, bytes), any alignment, and in two parts. */
static void crc_is_right_at_every_length(void **state) {
    static unsigned char data[9000];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t size = 0; size < 8900; size += 1 + size / 9) {
        uint32_t expected = crc_by_bit(data + size % 11, size);
        size_t first = size / 3;
        assert_int_equal(blob_crc32c(data + size % 11, size), expected);
        assert_int_equal(blob_crc32c_extend(blob_crc32c(data + size % 11, first),
                                            data + size % 11 + first, size - first),
                         expected);
    }
}

static void a_blob_is_laid_out_as_written_down(void **state) {
    unsigned char *blob = good_blob();
    const unsigned char header[16] = {'G', 'A', 'N', 'F', 1, 0, 1, 0, COUNT};
    float second;
    (void)state;
    assert_int_equal(blob_size(COUNT), 24 + 4 * COUNT);
    assert_memory_equal(blob, header, 16);
    memcpy(&second, blob + 28, 4);
    assert_true(second == -2);
    assert_int_equal(blob_check(blob, blob_size(COUNT), COUNT), BLOB_OK);
    assert_int_equal(blob_stored_crc(blob), blob_crc32c(blob + 24, 4 * COUNT));
    free(blob);
}

static void values_may_lie_in_place(void **state) {
    unsigned char *blob = good_blob(), *twice = malloc(blob_size(COUNT));
    float values[COUNT];
    (void)state;
    memcpy(values, blob + BLOB_HEADER_SIZE, sizeof values);
    memcpy(twice + BLOB_HEADER_SIZE, values, sizeof values);
    blob_write(twice, (const float *)(void *)(twice + BLOB_HEADER_SIZE), COUNT);
    assert_memory_equal(blob, twice, blob_size(COUNT));
    free(blob), free(twice);
}

/* Every byte of the header and of the data matters. */
static void every_changed_byte_is_noticed(void **state) {
    (void)state;
    for (size_t i = 0; i < blob_size(COUNT); i++)
        for (int bit = 0; bit < 8; bit++) {
            unsigned char *blob = good_blob();
            blob[i] ^= (unsigned char)(1 << bit);
            assert_int_not_equal(blob_check(blob, blob_size(COUNT), COUNT), BLOB_OK);
            free(blob);
        }
}

static void every_length_is_survived(void **state) {
    (void)state;
    for (size_t size = 0; size < blob_size(COUNT); size++) {
        unsigned char *blob = good_blob(),
                      *cut = malloc(size + 1); /* exactly as long as it says, for the sanitizer */
        memcpy(cut, blob, size);
        cut = realloc(cut, size ? size : 1);
        assert_int_equal(blob_check(cut, size, COUNT),
                         size < BLOB_HEADER_SIZE ? BLOB_SHORT : BLOB_LENGTH);
        free(blob), free(cut);
    }
}

static void each_mistake_has_its_name(void **state) {
    static const struct {
        size_t offset;
        unsigned char value;
        blob_status status;
    } mistakes[] = {{0, 'X', BLOB_MAGIC}, {4, 2, BLOB_VERSION_NEW}, {6, 2, BLOB_ELEMENT},
                    {8, 4, BLOB_COUNT},   {15, 255, BLOB_COUNT},    {20, 1, BLOB_RESERVED},
                    {30, 9, BLOB_CRC}};
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        unsigned char *blob = good_blob();
        blob[mistakes[i].offset] = mistakes[i].value;
        assert_int_equal(blob_check(blob, blob_size(COUNT), COUNT), mistakes[i].status);
        assert_true(strlen(blob_status_text(mistakes[i].status)) > 10);
        free(blob);
    }
}

static void shards_cover_a_vector(void **state) {
    const size_t counts[] = {1, SHARD_COUNT - 1, SHARD_COUNT, SHARD_COUNT + 1, 6342272};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        size_t sum = 0;
        for (size_t shard = 0; shard < shard_total(counts[i]); shard++) {
            assert_true(shard_length(counts[i], shard) > 0);
            sum += shard_length(counts[i], shard);
        }
        assert_int_equal(sum, counts[i]);
        assert_int_equal(shard_length(counts[i], shard_total(counts[i])), 0);
    }
    assert_int_equal(shard_total(6342272), 25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_has_the_published_value),
        cmocka_unit_test(crc_is_right_at_every_length),
        cmocka_unit_test(a_blob_is_laid_out_as_written_down),
        cmocka_unit_test(values_may_lie_in_place),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(every_length_is_survived),
        cmocka_unit_test(each_mistake_has_its_name),
        cmocka_unit_test(shards_cover_a_vector),
    };
    return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
