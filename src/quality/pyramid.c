/*
 * pyramid.c - levels of a Laplacian pyramid (Burt and Adelson 1983): each is an image minus its
 * half-sized copy, doubled again; the last level is the smallest copy
 *
 * The kernel is (1, 4, 6, 4, 1) / 16 in both directions; beyond the edge the image is mirrored
 * about its outermost pixels (numpy's "reflect").
 */
#include "pyramid.h"

#include <string.h>

size_t pyramid_count(size_t size, size_t channels) {
    return size * size * channels;
}

/* Mirrors a row or column number that may be up to 2 beyond the edge. */
static size_t mirror(ptrdiff_t i, size_t size) {
    ptrdiff_t last = (ptrdiff_t)size - 1;
    return (size_t)(i < 0 ? -i : i > last ? 2 * last - i : i);
}

/* Blurs down the columns; lines of width floats (pixels x channels). */
static void blur_columns(float *to, const float *from, size_t size, size_t width) {
    for (size_t y = 0; y < size; y++) {
        const float *line[5];
        for (int k = 0; k < 5; k++)
            line[k] = from + mirror((ptrdiff_t)y + k - 2, size) * width;
        for (size_t x = 0; x < width; x++)
            to[y * width + x] =
                (line[0][x] + line[4][x] + 4 * (line[1][x] + line[3][x]) + 6 * line[2][x]) *
                (1.0f / 16);
    }
}

/* Blurs along the rows. */
static void blur_rows(float *to, const float *from, size_t size, size_t channels) {
    for (size_t y = 0; y < size; y++, to += size * channels, from += size * channels)
        for (size_t x = 0; x < size; x++) {
            const float *pixel[5];
            for (int k = 0; k < 5; k++)
                pixel[k] = from + mirror((ptrdiff_t)x + k - 2, size) * channels;
            for (size_t c = 0; c < channels; c++)
                to[x * channels + c] = (pixel[0][c] + pixel[4][c] +
                                        4 * (pixel[1][c] + pixel[3][c]) + 6 * pixel[2][c]) *
                                       (1.0f / 16);
        }
}

/* Halves an image of size x size: blurs it and takes every other pixel. The result is in spare,
 * image is overwritten. */
static void halve(float *image, float *spare, size_t size, size_t channels) {
    size_t half = size / 2;

    blur_columns(spare, image, size, size * channels);
    blur_rows(image, spare, size, channels);
    for (size_t y = 0; y < half; y++)
        for (size_t x = 0; x < half; x++)
            memcpy(spare + (y * half + x) * channels, image + (2 * y * size + 2 * x) * channels,
                   channels * sizeof *spare);
}

/* Doubles the image in half to size x size: spreads its pixels, times 4, and blurs. The result is
 * in whole, half is overwritten and must have as much room. */
static void enlarge(float *whole, float *half, size_t size, size_t channels) {
    memset(whole, 0, pyramid_count(size, channels) * sizeof *whole);
    for (size_t y = 0; y < size / 2; y++)
        for (size_t x = 0; x < size / 2; x++)
            for (size_t c = 0; c < channels; c++)
                whole[(2 * y * size + 2 * x) * channels + c] =
                    4 * half[(y * (size / 2) + x) * channels + c];
    blur_columns(half, whole, size, size * channels);
    blur_rows(whole, half, size, channels);
}

const float *pyramid_level(const uint8_t *image, size_t size, size_t channels, size_t level,
                           size_t levels, float *buffers[3]) {
    float *now = buffers[0], *next = buffers[1], *spare = buffers[2];
    size_t count = pyramid_count(size, channels);

    for (size_t i = 0; i < count; i++)
        now[i] = image[i];
    for (size_t l = 0; l < level; l++, size /= 2, count /= 4) {
        float *half = next;
        halve(now, half, size, channels);
        next = now, now = half;
    }
    if (level == levels - 1)
        return now;
    memcpy(next, now, count * sizeof *next);
    halve(next, spare, size, channels);
    enlarge(next, spare, size, channels);
    for (size_t i = 0; i < count; i++)
        now[i] -= next[i];
    return now;
}
