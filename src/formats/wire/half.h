/*
 * half.h - float16 (IEEE 754 binary16) and back, scaled by a power of two (docs/format.md section
 * 8)
 *
 * Gradients are small numbers, and a float16 has only 5 bits of exponent. So all numbers of a
 * vector share a scale that brings the largest one near the upper end. Then nothing overflows, and
 * the digits that are lost lie far below the largest number.
 */
#ifndef GANN_HALF_H
#define GANN_HALF_H

#include <stddef.h>
#include <stdint.h>

#define HALF_SCALE_MIN (-112)
#define HALF_SCALE_MAX 113

/*
 * Chooses the scale for a vector: the largest number is 2^14 to 2^15 times 2^scale, within the
 * limits of the scale. Infinities and NaN don't count.
 */
int half_scale(const float *x, size_t count);

/* Rounds x / 2^scale to float16: to nearest, ties to even. A number that is too large becomes
 * infinity; NaN stays NaN. */
void half_encode(uint16_t *half, const float *x, size_t count, int scale);

/* Computes half * 2^scale, which is exact or, for scales that half_scale() does not choose, may be
 * infinity. */
void half_decode(float *x, const uint16_t *half, size_t count, int scale);

/* The same without the machine's instructions: the reference in tests. */
void half_encode_portable(uint16_t *half, const float *x, size_t count, int scale);
void half_decode_portable(float *x, const uint16_t *half, size_t count, int scale);

#endif
