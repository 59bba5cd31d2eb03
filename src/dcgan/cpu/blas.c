/*
 * blas.c - the convolutions over OpenBLAS
 *
 * A 4x4 patch of an NHWC image is four runs of 4 channels-long rows. Patches of a few images at a time are
 * written down as a matrix that stays in cache, and all three operations are one matrix product with the
 * weights [b][4 4 a]:
 *
 *     convolution             small[pixels][b]   = patches[pixels][16 a]  weights^T
 *     transposed convolution  patches[pixels][16 a] = small[pixels][b]  weights, then added up where patches
 * overlap weight gradient         dweights[b][16 a] += small^T  patches
 */
#include "../backend.h"
#include "layers.h"

#include <cblas.h>
#include <string.h>

/* Patches are cut for as many images at a time as this many floats hold (4 MiB): they stay in the second or
 * third level cache. */
#define PATCH_COUNT ((size_t)1 << 20)

#ifdef DCGAN_DOUBLE
#define gemm cblas_dgemm
#else
#define gemm cblas_sgemm
#endif

static size_t pixels_of(const dcgan_convolution *s) {
    return s->small_height * s->small_width;
}

static size_t large_of(const dcgan_convolution *s) {
    return s->large_height * s->large_width * s->large_channels;
}

/* Tells whether the one patch is the larger image itself (4x4 to 1x1): no copy is needed then. */
static int patch_is_image(const dcgan_convolution *s) {
    return pixels_of(s) == 1 && s->padding == 0 && large_of(s) == 16 * s->large_channels;
}

/* Counts the images whose patches are held at a time. */
static size_t block_of(const dcgan_convolution *s) {
    size_t patches = pixels_of(s) * 16 * s->large_channels;
    return patches < PATCH_COUNT ? PATCH_COUNT / patches : 1;
}

/* Computes the floats of scratch memory: the patches of one block. */
static size_t scratch_count(const dcgan_convolution *s) {
    return block_of(s) * pixels_of(s) * 16 * s->large_channels;
}

/* Finds the range of kernel columns (or rows) that fall inside the image for an output at start = stride i -
 * padding. */
static void clip(size_t stride, size_t i, size_t padding, size_t size, size_t *first, size_t *end) {
    size_t start = stride * i; /* kernel column k is image column start + k - padding */
    *first = start < padding ? padding - start : 0;
    *end = start + 4 - padding > size ? size + padding - start : 4;
}

/* Writes the patches of one image: patches[pixels][ky][kx][a], zero outside the image. */
static void cut_patches(real *patches, const real *large, const dcgan_convolution *s) {
    size_t a = s->large_channels, row = s->large_width * a, y0, y1, x0, x1;

    for (size_t i = 0; i < s->small_height; i++) {
        clip(s->stride, i, s->padding, s->large_height, &y0, &y1);
        for (size_t j = 0; j < s->small_width; j++, patches += 16 * a) {
            clip(s->stride, j, s->padding, s->large_width, &x0, &x1);
            if (y1 - y0 < 4 || x1 - x0 < 4)
                memset(patches, 0, 16 * a * sizeof *patches);
            for (size_t ky = y0; ky < y1; ky++)
                memcpy(patches + (4 * ky + x0) * a,
                       large + (s->stride * i + ky - s->padding) * row + (s->stride * j + x0 - s->padding) * a,
                       (x1 - x0) * a * sizeof *patches);
        }
    }
}

/* Adds the patches of one image up where they overlap: the adjoint of cut_patches. */
static void add_patches(real *large, const real *patches, const dcgan_convolution *s) {
    size_t a = s->large_channels, row = s->large_width * a, y0, y1, x0, x1;

    memset(large, 0, large_of(s) * sizeof *large);
    for (size_t i = 0; i < s->small_height; i++) {
        clip(s->stride, i, s->padding, s->large_height, &y0, &y1);
        for (size_t j = 0; j < s->small_width; j++, patches += 16 * a) {
            clip(s->stride, j, s->padding, s->large_width, &x0, &x1);
            for (size_t ky = y0; ky < y1; ky++) {
                const real *from = patches + (4 * ky + x0) * a;
                real *to =
                    large + (s->stride * i + ky - s->padding) * row + (s->stride * j + x0 - s->padding) * a;
                for (size_t k = 0; k < (x1 - x0) * a; k++)
                    to[k] += from[k];
            }
        }
    }
}

/* Returns the patches of a block of images: cut into scratch, or the images themselves. */
static const real *block_patches(real *scratch, const real *large, size_t images, const dcgan_convolution *s) {
    if (patch_is_image(s))
        return large;
    for (size_t n = 0; n < images; n++)
        cut_patches(scratch + n * pixels_of(s) * 16 * s->large_channels, large + n * large_of(s), s);
    return scratch;
}

static void convolution(real *small, const real *large, const real *weights, size_t images,
                        const dcgan_convolution *s, real *scratch) {
    size_t b = s->small_channels, k = 16 * s->large_channels, block = block_of(s);

    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block, pixels = count * pixels_of(s);
        const real *patches = block_patches(scratch, large + n * large_of(s), count, s);
        gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)pixels, (int)b, (int)k, 1, patches, (int)k, weights,
             (int)k, 0, small + n * pixels_of(s) * b, (int)b);
    }
}

static void transposed_convolution(real *large, const real *small, const real *weights, size_t images,
                                   const dcgan_convolution *s, real *scratch) {
    size_t b = s->small_channels, k = 16 * s->large_channels, block = block_of(s);

    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block, pixels = count * pixels_of(s);
        real *patches = patch_is_image(s) ? large + n * large_of(s) : scratch;
        gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)pixels, (int)k, (int)b, 1,
             small + n * pixels_of(s) * b, (int)b, weights, (int)k, 0, patches, (int)k);
        for (size_t m = 0; m < count && !patch_is_image(s); m++)
            add_patches(large + (n + m) * large_of(s), patches + m * pixels_of(s) * k, s);
    }
}

static void weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                            const dcgan_convolution *s, real *scratch) {
    size_t b = s->small_channels, k = 16 * s->large_channels, block = block_of(s);

    for (size_t n = 0; n < images; n += block) {
        size_t count = images - n < block ? images - n : block, pixels = count * pixels_of(s);
        const real *patches = block_patches(scratch, large + n * large_of(s), count, s);
        gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)b, (int)k, (int)pixels, 1,
             small + n * pixels_of(s) * b, (int)b, patches, (int)k, 1, dweights, (int)k);
    }
}

const dcgan_backend dcgan_backend_blas = {
    .name = "OpenBLAS",
    .scratch_count = scratch_count,
    .convolution = convolution,
    .transposed_convolution = transposed_convolution,
    .weight_gradient = weight_gradient,
    .moments = layer_moments,
    .normalise = layer_normalise,
    .normalise_backward = layer_normalise_backward,
    .rectify = layer_rectify,
    .rectify_backward = layer_rectify_backward,
    .hyperbolic_tangent = layer_hyperbolic_tangent,
    .hyperbolic_tangent_backward = layer_hyperbolic_tangent_backward,
};
