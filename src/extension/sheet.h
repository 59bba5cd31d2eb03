/*
 * sheet.h - a sheet of images as one PNG, in memory
 */
#ifndef GANN_SHEET_H
#define GANN_SHEET_H

#include <stddef.h>

/* Computes the bytes that any PNG of this size fits into. */
size_t png_capacity(size_t width, size_t height, size_t channels);

/* Encodes samples[height][width][channels], 8 bits each; channels is 1 (grey) or 3 (RGB). Returns 0, or -1 on
 * failure. */
int png_encode(unsigned char *png_bytes, size_t capacity, size_t *size, const unsigned char *samples,
               size_t width, size_t height, size_t channels);

#endif
