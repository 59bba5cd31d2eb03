/*
 * codec.c - fuzzing of encoding: any numbers, as each element type, and as a change
 *
 * The input is an element type and floats of any bits. What is encoded must pass the checks, decode
 * to numbers as near as docs/format.md section 8 promises, and be encoded into the same bytes
 * again; one flipped bit must not pass.
 */
#include "fuzz.h"

#include "../../src/formats/wire/change.h"

#include <math.h>

#define COUNT_MAX 600
#define HALF_RANGE                                                                                 \
    (65504.0 / 65536.0 * 0x1p128) /* what float16 with a scale reaches, of float32's range */

/* The largest magnitude of a block. */
static double largest_of(const float *x, size_t count) {
    double largest = 0;

    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)x[i]));
    return largest;
}

/* Half a step of a number whose block's largest one is given: int8 1/254 of that, and a little for
 * the scale's 17 bits; float16 2^-11 of the number, or 2^-39 of the largest. Scales have limits,
 * below which everything becomes 0. */
static double allowed(double x, double largest, blob_element element) {
    if (element == BLOB_FLOAT32)
        return 0;
    if (element == BLOB_INT8)
        return largest / 254 * (1 + 0x1p-15) + 0x1p-117;
    return fmax(fabs(x) * 0x1p-11, largest * 0x1p-39) + 0x1p-136;
}

/* Compares numbers with what became of them, block by block; float16 has one block. */
static void check_near(const float *decoded, const float *x, size_t count, blob_element element) {
    size_t block = element == BLOB_FLOAT16 ? count : 256;

    for (size_t first = 0; first < count; first += block) {
        size_t part = count - first < block ? count - first : block;
        double largest = largest_of(x + first, part);
        if (element == BLOB_FLOAT16 && largest > HALF_RANGE)
            continue; /* may become infinite, which is refused */
        for (size_t j = first; j < first + part; j++)
            FUZZ_REQUIRE(fabs((double)decoded[j] - (double)x[j]) <=
                         allowed((double)x[j], largest, element));
    }
}

static void check_codec(const float *x, size_t count, blob_element element) {
    size_t size = blob_size_of(count, element);
    unsigned char *blob = fuzz_alloc(size), *again = fuzz_alloc(size);
    float *decoded = fuzz_alloc(count * sizeof *decoded);
    int finite = 1;

    for (size_t j = 0; j < count; j++)
        finite = finite && isfinite(x[j]);
    FUZZ_REQUIRE(blob_encode(blob, x, count, element) == (finite || element != BLOB_INT8));
    if (finite) {
        FUZZ_REQUIRE(blob_check_element(blob, size, count, element) == BLOB_OK);
        blob_decode(decoded, blob, count, element);
        check_near(decoded, x, count, element);
        FUZZ_REQUIRE(blob_encode(again, decoded, count, element));
        FUZZ_REQUIRE(element == BLOB_FLOAT16 || memcmp(blob, again, size) == 0);
        if (size > BLOB_HEADER_SIZE) {
            blob[BLOB_HEADER_SIZE + (size - BLOB_HEADER_SIZE) / 2] ^= 1;
            FUZZ_REQUIRE(blob_check_element(blob, size, count, element) != BLOB_OK);
        }
    }
    free(blob), free(again), free(decoded);
}

/* Two copies that follow the same changes hold the same bits. */
static void check_changes(const float *x, size_t count, blob_element element) {
    size_t half = count / 2, size = change_size(half, element);
    unsigned char *change = fuzz_alloc(size);
    float *server = fuzz_alloc(half * sizeof *server), *worker = fuzz_alloc(half * sizeof *worker),
          *scratch = fuzz_alloc(half * sizeof *scratch);

    memcpy(server, x, half * sizeof *x);
    memcpy(worker, x, half * sizeof *x);
    if (change_make(change, server, x + half, scratch, half, element)) {
        blob_status status = change_apply(worker, change, size, half, element);
        FUZZ_REQUIRE(status == BLOB_OK && memcmp(server, worker, half * sizeof *server) == 0);
    }
    free(change), free(server), free(worker), free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    float x[COUNT_MAX];
    size_t count;
    blob_element element;

    if (length < 1)
        return 0;
    element = (blob_element)(1 + input[0] % 3);
    count = (length - 1) / sizeof *x;
    count = count < COUNT_MAX ? count : COUNT_MAX;
    memcpy(x, input + 1, count * sizeof *x);
    check_codec(x, count, element);
    if (element != BLOB_FLOAT32)
        check_changes(x, count, element);
    return 0;
}
