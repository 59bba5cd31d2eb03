/*
 * codec.c - the cost of encoding and decoding the bytes on the wire
 *
 *   codec SECONDS
 *
 * One line for each element type and direction, "encode int8 GB", in gigabytes of float32 a second:
 * the median of passes over a vector of the full-size model by shards, checksums and checks
 * included. make_change and apply_change are the work of the step and of the worker for a download;
 * validate is the work of the server on an upload before it is stored.
 */
#include "client.h"
#include "samples.h"
#include "../src/dcgan/dcgan.h"
#include "../src/formats/wire/change.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT ((size_t)6342272)

typedef struct wire {
    float *values, *copy, *scratch;
    unsigned char *blobs; /* shard k's begins at k * blob_size(SHARD_COUNT) */
} wire;

static unsigned char *blob_of(const wire *w, size_t shard) {
    return w->blobs + shard * blob_size(SHARD_COUNT);
}

static void encode(wire *w, blob_element element, size_t shard, size_t count) {
    if (!blob_encode(blob_of(w, shard), w->values + shard * SHARD_COUNT, count, element))
        client_fail("shard %zu can't be encoded", shard);
}

static void decode(wire *w, blob_element element, size_t shard, size_t count) {
    if (blob_check_element(blob_of(w, shard), blob_size_of(count, element), count, element) !=
        BLOB_OK)
        client_fail("shard %zu is damaged", shard);
    blob_decode(w->copy + shard * SHARD_COUNT, blob_of(w, shard), count, element);
}

/* As gan_upload: header, checksum, and whether the numbers are finite, with their norm. */
static void validate(wire *w, blob_element element, size_t shard, size_t count) {
    const unsigned char *blob = blob_of(w, shard);
    const float *values = (const float *)(const void *)(blob + BLOB_HEADER_SIZE);
    double squares;

    if (blob_check_element(blob, blob_size_of(count, element), count, element) != BLOB_OK)
        client_fail("shard %zu is damaged", shard);
    if (element != BLOB_FLOAT32) {
        blob_decode(w->copy, blob, count, element);
        values = w->copy;
    }
    if (!dcgan_finite(values, count, &squares))
        client_fail("shard %zu is not finite", shard);
}

static void make_change(wire *w, blob_element element, size_t shard, size_t count) {
    memset(w->copy + shard * SHARD_COUNT, 0, count * sizeof *w->copy);
    if (!change_make(blob_of(w, shard), w->copy + shard * SHARD_COUNT,
                     w->values + shard * SHARD_COUNT, w->scratch, count, element))
        client_fail("shard %zu has no change", shard);
}

static void apply_change(wire *w, blob_element element, size_t shard, size_t count) {
    memset(w->copy + shard * SHARD_COUNT, 0, count * sizeof *w->copy);
    if (change_apply(w->copy + shard * SHARD_COUNT, blob_of(w, shard), change_size(count, element),
                     count, element) != BLOB_OK)
        client_fail("the change of shard %zu leads elsewhere", shard);
}

typedef void (*direction)(wire *w, blob_element element, size_t shard, size_t count);

/* Measures passes for some seconds; prints the median. */
static void measure(wire *w, const char *name, direction one, blob_element element,
                    double seconds) {
    double end = samples_clock() + seconds;
    samples taken = {0};

    while (taken.count < 3 || samples_clock() < end) {
        double start = samples_clock();
        for (size_t shard = 0; shard < shard_total(COUNT); shard++)
            one(w, element, shard, shard_length(COUNT, shard));
        samples_add(&taken, samples_clock() - start);
    }
    printf("%s %s %.4f\n", name, blob_element_name(element),
           (double)(COUNT * sizeof(float)) * 1e-9 / samples_quantile(&taken, 0.5));
    samples_free(&taken);
}

int main(int count, char **arguments) {
    double seconds = count > 1 ? atof(arguments[1]) : 1;
    wire w = {.values = malloc(COUNT * sizeof(float)),
              .copy = calloc(COUNT, sizeof(float)),
              .scratch = malloc(SHARD_COUNT * sizeof(float)),
              .blobs = malloc(shard_total(COUNT) * blob_size(SHARD_COUNT))};
    uint32_t state = 12345;

    if (!w.values || !w.copy || !w.scratch || !w.blobs)
        client_fail("no memory for %zu numbers", COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        state = state * 1664525u + 1013904223u;
        w.values[i] = (float)(state >> 8) * 0x1p-24f * 0.002f - 0.001f;
    }
    for (blob_element element = BLOB_FLOAT32; element <= BLOB_INT8; element++) {
        measure(&w, "encode", encode, element, seconds);
        measure(&w, "decode", decode, element, seconds);
        measure(&w, "validate", validate, element, seconds);
        if (element == BLOB_FLOAT32)
            continue;
        measure(&w, "make_change", make_change, element, seconds);
        measure(&w, "apply_change", apply_change, element, seconds);
    }
    free(w.values), free(w.copy), free(w.scratch), free(w.blobs);
    return 0;
}
