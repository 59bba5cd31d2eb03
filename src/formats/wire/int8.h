/*
 * int8.h - blocks of 8-bit numbers with a scale each, and back (docs/format.md section 8)
 *
 * A vector is cut into blocks of 256 numbers (the last one may be shorter). A block has a scale s
 * and for each number a whole q from -127 to 127 that stands for q s. The scale is a float32 of 17
 * significant bits, so that q s is exact: all machines read the same numbers from the same bytes,
 * and adding them to others rounds once, with fused multiply-adds or without.
 */
#ifndef GANN_INT8_H
#define GANN_INT8_H

#include <stddef.h>

#define INT8_BLOCK ((size_t)256)

/* Computes the bytes of count numbers: a float32 for each block, then a byte for each number. */
size_t int8_size(size_t count);

/*
 * Encodes x[count] into data[int8_size(count)], which must be aligned for floats. A block's scale
 * is its largest magnitude / 127, rounded up to 17 bits; a number is x / s, rounded to nearest,
 * ties to even. Returns 0 if there is NaN or infinity in x (data is then undefined), 1 otherwise.
 */
int int8_encode(unsigned char *data, const float *x, size_t count);

/* Tells whether data, of any origin and alignment, are such as int8_encode() could have written. */
int int8_check(const unsigned char *data, size_t count);

/* Computes the numbers of checked data of any alignment, or adds them to x. */
void int8_decode(float *x, const unsigned char *data, size_t count);
void int8_add(float *x, const unsigned char *data, size_t count);

#endif
