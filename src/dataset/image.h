/*
 * image.h - an image in memory: decoding, and the preparation of docs/format.md, section 3 (grey or
 * colour, resizing, cutting out the middle). Errors are return values and a text, never output.
 */
#ifndef GANN_IMAGE_H
#define GANN_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Larger images count as broken, so that a small file can't ask for all memory. */
#define IMAGE_SIDE_MAX 16384
#define IMAGE_PIXELS_MAX ((size_t)64 * 1024 * 1024)

/* A file longer than this counts as broken without being read. */
#define IMAGE_FILE_MAX ((uint64_t)64 * 1024 * 1024)

enum {
    IMAGE_OK = 0,
    IMAGE_BROKEN = -1, /* the bytes are at fault: every machine gives this answer for them */
    IMAGE_FAILED = -2  /* this machine is at fault: memory is short, the bytes can't be read */
};

/* Samples of 8 bits, in the order [row][column][channel]; 1 channel is grey, 3 are red, green,
 * blue. */
typedef struct image {
    size_t width;
    size_t height;
    size_t channels;
    unsigned char *pixels;
} image;

/* Multiplies two sizes. Returns false if the product does not fit. */
static inline bool size_multiply(size_t a, size_t b, size_t *product) {
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}

/* Allocates the pixels after checking the size. Returns IMAGE_OK, or IMAGE_BROKEN or IMAGE_FAILED
 * with the error filled. */
int image_allocate(image *made, size_t width, size_t height, size_t channels, char *error,
                   size_t error_size);

/* Frees the pixels. */
void image_free(image *gone);

/* Decodes a JPEG or PNG file in memory to 1 or 3 channels. Returns the same values as
 * image_allocate(); does not free the input. */
int image_decode(const unsigned char *bytes, size_t size, image *decoded, char *error,
                 size_t error_size);

/* Writes the middle of the image, side x side x channels bytes. Returns -1 when memory is short. */
int image_prepare(const image *decoded, size_t side, size_t channels, unsigned char *pixels);

#endif
