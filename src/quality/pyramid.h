/*
 * pyramid.h - levels of a Laplacian pyramid (Burt and Adelson 1983)
 */
#ifndef SWD_PYRAMID_H
#define SWD_PYRAMID_H

#include <stddef.h>
#include <stdint.h>

/* Counts the floats of each of the three buffers that a level of an image of size x size x channels
 * needs. */
size_t pyramid_count(size_t size, size_t channels);

/*
 * Computes one level (0: full size) of an image; every level but the last holds the details that
 * the next one lacks. Returns where in the buffers the level lies: (size >> level) squared x
 * channels floats, in the scale of 8 bits.
 */
const float *pyramid_level(const uint8_t *image, size_t size, size_t channels, size_t level,
                           size_t levels, float *buffers[3]);

#endif
