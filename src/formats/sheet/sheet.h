/*
 * sheet.h - a sheet of images as one PNG, in memory
 *
 * Knows neither PostgreSQL nor files, so that the server's gan_generate and the worker's sheets
 * share it.
 */
#ifndef GANN_SHEET_H
#define GANN_SHEET_H

#include <stddef.h>

#include "../../dcgan/dcgan.h"

/* Chooses the columns of a sheet of n images: about square. The rows follow: n / columns, rounded
 * up. */
size_t sheet_columns(size_t n);

/* Puts an image of values in [-1, 1] (NHWC) into place number index of samples[rows * size][columns
 * * size][channels]. */
void sheet_place(unsigned char *samples, size_t columns, size_t index, const real *image,
                 const dcgan_config *config);

/* Computes the bytes that any PNG of this size fits into. */
size_t png_capacity(size_t width, size_t height, size_t channels);

/* Encodes samples[height][width][channels], 8 bits each; channels is 1 (grey) or 3 (RGB). Returns
 * 0, or -1 on failure. */
int png_encode(unsigned char *png_bytes, size_t capacity, size_t *size,
               const unsigned char *samples, size_t width, size_t height, size_t channels);

#endif
