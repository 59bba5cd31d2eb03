/*
 * int8.c - blocks of 8-bit numbers with a scale each, and back
 *
 * The inner loops run over whole blocks, so that the compiler knows their length and vectorises
 * them; the last block of a vector is padded in a buffer.
 */
#include "int8.h"

#include "bits.h"

#include <float.h>
#include <stdint.h>
#include <string.h>

/* Has the compiler generate a function once for every width of vector registers, to be chosen when
 * the program starts. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VECTORISED
#endif

#define SCALE_TAIL 0x7Fu     /* the bits of a float that are 0 in a scale */
#define SMALLEST 0x00800000u /* the bits of 2^-126, the smallest scale but 0 */

/* Returns the bits of the largest scale: 127 times it is still finite. */
static uint32_t largest_scale(void) {
    return bits_of(FLT_MAX / 127) & ~SCALE_TAIL;
}

static size_t blocks_of(size_t count) {
    return (count + INT8_BLOCK - 1) / INT8_BLOCK;
}

size_t int8_size(size_t count) {
    return blocks_of(count) * sizeof(float) + count;
}

/* Chooses a scale for the largest magnitude of a block; 0 if everything would be rounded to 0. */
static float choose_scale(float largest) {
    uint32_t bits;

    if (largest <= 0x1p-127f)
        return 0;
    bits = (bits_of(largest / 127) + SCALE_TAIL) & ~SCALE_TAIL;
    bits = bits < SMALLEST ? SMALLEST : bits > largest_scale() ? largest_scale() : bits;
    return float_of(bits);
}

/* Finds the bits of the largest magnitude of a block: of non-negative floats the larger one has the
 * larger bits, and NaN and infinity have larger ones than any number. */
VECTORISED static uint32_t largest_bits(const float *x) {
    uint32_t largest = 0;

    for (size_t i = 0; i < INT8_BLOCK; i++) {
        uint32_t magnitude = bits_of(x[i]) & 0x7FFFFFFF;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* Rounds a block: adding a large constant leaves the whole number in the last bits of the sum,
 * rounded by the processor. */
VECTORISED static void round_block(int8_t *q, const float *x, float scale) {
    const float magic = 0x1.8p23f;

    for (size_t i = 0; i < INT8_BLOCK; i++)
        q[i] = (int8_t)(bits_of(x[i] / scale + magic) & 0xFF);
}

/* Encodes one whole block. */
static int encode_block(float *scale, int8_t *q, const float *x) {
    uint32_t largest = largest_bits(x);

    if (largest >= 0x7F800000)
        return 0;
    *scale = choose_scale(float_of(largest));
    if (*scale > 0)
        round_block(q, x, *scale);
    else
        memset(q, 0, INT8_BLOCK);
    return 1;
}

int int8_encode(unsigned char *data, const float *x, size_t count) {
    float *scales = (float *)(void *)data, padded[INT8_BLOCK] = {0};
    int8_t *q = (int8_t *)(data + blocks_of(count) * sizeof(float)), last[INT8_BLOCK];

    for (; count >= INT8_BLOCK; x += INT8_BLOCK, q += INT8_BLOCK, count -= INT8_BLOCK)
        if (!encode_block(scales++, q, x))
            return 0;
    if (count == 0)
        return 1;
    memcpy(padded, x, count * sizeof *x);
    if (!encode_block(scales, last, padded))
        return 0;
    memcpy(q, last, count);
    return 1;
}

/* Reads the scale of a block. */
static float scale_of(const unsigned char *data, size_t block) {
    float scale;
    memcpy(&scale, data + block * sizeof scale, sizeof scale);
    return scale;
}

/* Tells whether bits are those of a possible scale: 0, or positive, normal, of 17 bits and not too
 * large. */
static int scale_is_fine(uint32_t bits) {
    return bits == 0 || (bits >= SMALLEST && bits <= largest_scale() && (bits & SCALE_TAIL) == 0);
}

/* Looks for -128 in a block. */
VECTORISED static int has_lowest(const int8_t *q) {
    int8_t lowest = 0;

    for (size_t i = 0; i < INT8_BLOCK; i++)
        lowest = q[i] < lowest ? q[i] : lowest;
    return lowest == -128;
}

int int8_check(const unsigned char *data, size_t count) {
    const int8_t *q = (const int8_t *)data + blocks_of(count) * sizeof(float);
    int8_t last[INT8_BLOCK] = {0};

    for (size_t block = 0; block < blocks_of(count); block++)
        if (!scale_is_fine(bits_of(scale_of(data, block))))
            return 0;
    for (; count >= INT8_BLOCK; q += INT8_BLOCK, count -= INT8_BLOCK)
        if (has_lowest(q))
            return 0;
    if (count > 0)
        memcpy(last, q, count);
    return !has_lowest(last);
}

VECTORISED static void decode_block(float *restrict x, const int8_t *restrict q, float scale) {
    for (size_t i = 0; i < INT8_BLOCK; i++)
        x[i] = (float)q[i] * scale;
}

VECTORISED static void add_block(float *restrict x, const int8_t *restrict q, float scale) {
    for (size_t i = 0; i < INT8_BLOCK; i++)
        x[i] += (float)q[i] * scale;
}

void int8_decode(float *x, const unsigned char *data, size_t count) {
    const int8_t *q = (const int8_t *)data + blocks_of(count) * sizeof(float);

    for (; count >= INT8_BLOCK;
         x += INT8_BLOCK, q += INT8_BLOCK, data += sizeof(float), count -= INT8_BLOCK)
        decode_block(x, q, scale_of(data, 0));
    for (size_t i = 0; i < count; i++)
        x[i] = (float)q[i] * scale_of(data, 0);
}

void int8_add(float *x, const unsigned char *data, size_t count) {
    const int8_t *q = (const int8_t *)data + blocks_of(count) * sizeof(float);

    for (; count >= INT8_BLOCK;
         x += INT8_BLOCK, q += INT8_BLOCK, data += sizeof(float), count -= INT8_BLOCK)
        add_block(x, q, scale_of(data, 0));
    for (size_t i = 0; i < count; i++)
        x[i] += (float)q[i] * scale_of(data, 0);
}
