/*
 * blob.c - fuzzing of what the server does with the bytes of an upload, and the worker with those
 * of the server
 *
 * The input's first byte chooses element type and number of elements, and whether header and
 * checksum are put right, so that the checks behind them are reached; the rest is the blob. What
 * passes the checks must decode, encode and check again; what doesn't must be named.
 */
#include "fuzz.h"

#include "../../src/dcgan/dcgan.h"
#include "../../src/formats/wire/change.h"

#include <math.h>

static const size_t counts[] = {0, 1, 2, 7, 8, 9, 31, 33, 63, 65, 255, 256, 257, 300};

/* Puts right what random bytes never are: magic, version, element type, number, checksum. */
static void mend(unsigned char *blob, size_t size, size_t count, blob_element element) {
    uint16_t version = BLOB_VERSION, type = (uint16_t)element;
    uint64_t number = count;
    uint32_t crc;

    if (size < BLOB_HEADER_SIZE)
        return;
    crc = blob_crc32c(blob + BLOB_HEADER_SIZE, size - BLOB_HEADER_SIZE);
    memcpy(blob, "GANF", 4);
    memcpy(blob + 4, &version, 2);
    memcpy(blob + 6, &type, 2);
    memcpy(blob + 8, &number, 8);
    memcpy(blob + 16, &crc, 4);
}

/* A blob that passed the checks: the same numbers, whatever way they take. */
static void check_accepted(const unsigned char *blob, size_t size, size_t count,
                           blob_element element) {
    float *values = fuzz_alloc(count * sizeof *values), *again = fuzz_alloc(count * sizeof *again);
    unsigned char *coded = fuzz_alloc(blob_size_of(count, element));
    double squares = 0;

    FUZZ_REQUIRE(size == blob_size_of(count, element));
    blob_decode(values, blob, count, element);
    if (dcgan_finite(values, count, &squares)) {
        FUZZ_REQUIRE(isfinite(squares) && squares >= 0);
        FUZZ_REQUIRE(blob_encode(coded, values, count, element));
        FUZZ_REQUIRE(blob_check_element(coded, size, count, element) == BLOB_OK);
        blob_decode(again, coded, count, element);
        /* With a scale that no sender would choose, encoding rounds again; test/fuzz/codec.c has
         * the scales that senders choose. */
        FUZZ_REQUIRE(element != BLOB_FLOAT32 || memcmp(values, again, count * sizeof *values) == 0);
    } else
        FUZZ_REQUIRE(element != BLOB_INT8);
    free(values), free(again), free(coded);
}

/* The same bytes as a change: what is applied must end in the checksum that it names. */
static void check_change(const unsigned char *bytes, size_t size, size_t count,
                         blob_element element) {
    float *copy = fuzz_alloc(count * sizeof *copy);
    uint32_t crc;

    if (element != BLOB_FLOAT32 && change_apply(copy, bytes, size, count, element) == BLOB_OK) {
        memcpy(&crc, bytes + size - sizeof crc, sizeof crc);
        FUZZ_REQUIRE(blob_crc32c(copy, count * sizeof *copy) == crc);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    blob_element element;
    unsigned char *blob;
    size_t size, count;
    blob_status status;

    if (length < 1)
        return 0;
    element = (blob_element)(1 + input[0] % 3);
    count = counts[input[0] / 6 % (sizeof counts / sizeof *counts)];
    size = length - 1;
    blob = fuzz_alloc(size); /* of its own, so that one byte too far is seen */
    memcpy(blob, input + 1, size);
    if (input[0] / 3 % 2)
        mend(blob, size, count, element);
    status = blob_check_element(blob, size, count, element);
    FUZZ_REQUIRE(strcmp(blob_status_text(status), "has an unknown status") != 0);
    FUZZ_REQUIRE(element != BLOB_FLOAT32 || status == blob_check(blob, size, count));
    if (status == BLOB_OK)
        check_accepted(blob, size, count, element);
    check_change(blob, size, count, element);
    free(blob);
    return 0;
}
