/*
 * im2col.c - the three convolutions as products of matrices: the exact path
 *
 * A 4x4 patch of an NHWC image is four runs of 4 channels-long rows. Patches of a few images at a
 * time are written down as a matrix that stays in cache, and all three operations are one matrix
 * product with the weights [b][4 4 a]:
 *
 *     convolution             small[pixels][b]   = patches[pixels][16 a]  weights^T
 *     transposed convolution  patches[pixels][16 a] = small[pixels][b]  weights,
 *                             then added up where patches overlap
 *     weight gradient         dweights[b][16 a] += small^T  patches
 *
 * A thread's task is a group of images, for the weight gradient a group of outputs.
 */
#include "im2col.h"
#include "gemm.h"

#include <string.h>

/* Patches are cut for as many images at a time as this many floats hold (4 MiB): they stay in the
 * second or third level cache. */
#define PATCH_COUNT ((size_t)1 << 20)

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
static size_t block_of(const dcgan_convolution *s, size_t images) {
    size_t patches = pixels_of(s) * 16 * s->large_channels;
    size_t block = patches < PATCH_COUNT ? PATCH_COUNT / patches : 1;
    return images < block ? images : block;
}

int im2col_takes(const dcgan_convolution *s) {
    (void)s;
    return 1;
}

/* Computes the floats of scratch memory: the patches of one block. */
size_t im2col_scratch_count(const dcgan_convolution *s, size_t images) {
    return block_of(s, images) * pixels_of(s) * 16 * s->large_channels;
}

/* Finds the range of kernel columns (or rows) that fall inside the image for an output at start =
 * stride i - padding. */
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
                       large + (s->stride * i + ky - s->padding) * row +
                           (s->stride * j + x0 - s->padding) * a,
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
                real *to = large + (s->stride * i + ky - s->padding) * row +
                           (s->stride * j + x0 - s->padding) * a;
                for (size_t k = 0; k < (x1 - x0) * a; k++)
                    to[k] += from[k];
            }
        }
    }
}

/* What the tasks of one block share. */
typedef struct im2col {
    const dcgan_convolution *shape;
    const real *large, *small, *weights;
    real *to_large, *to_small, *dweights, *patches;
    size_t images, group; /* of the block, of a task */
    size_t pixels, depth; /* rows of an image, columns of its patches */
} im2col;

#define GROUP_ROWS ((size_t)32)    /* least rows of the matrix product of a task */
#define GROUP_OUTPUTS ((size_t)32) /* outputs of a task of the weight gradient */

/* Prepares for blocks of images. */
static im2col begin(const dcgan_convolution *s, const dcgan_work *work) {
    im2col c = {.shape = s,
                .pixels = pixels_of(s),
                .depth = 16 * s->large_channels,
                .patches = work->scratch};
    c.group = c.pixels < GROUP_ROWS ? GROUP_ROWS / c.pixels : 1;
    return c;
}

static size_t group_count(const im2col *c) {
    return (c->images + c->group - 1) / c->group;
}

/* Finds the images of a task. */
static size_t group_images(const im2col *c, size_t task, size_t *first) {
    *first = task * c->group;
    return c->images - *first < c->group ? c->images - *first : c->group;
}

/* Cuts the patches of a group and returns them, or the images themselves. */
static const real *group_patches(const im2col *c, size_t first, size_t count) {
    if (patch_is_image(c->shape))
        return c->large + first * large_of(c->shape);
    for (size_t n = first; n < first + count; n++)
        cut_patches(c->patches + n * c->pixels * c->depth, c->large + n * large_of(c->shape),
                    c->shape);
    return c->patches + first * c->pixels * c->depth;
}

static void convolve_group(void *context, size_t task) {
    const im2col *c = context;
    size_t first, count = group_images(c, task, &first), b = c->shape->small_channels;
    const real *patches = group_patches(c, first, count);

    gemm(&(gemm_product){.form = GEMM_ABT,
                         .rows = count * c->pixels,
                         .columns = b,
                         .depth = c->depth,
                         .a = patches,
                         .a_step = c->depth,
                         .b = c->weights,
                         .b_step = c->depth,
                         .c = c->to_small + first * c->pixels * b,
                         .c_step = b});
}

void im2col_convolution(real *small, const real *large, const real *weights, size_t images,
                        const dcgan_convolution *s, const dcgan_work *work) {
    im2col c = begin(s, work);
    size_t block = block_of(s, images);

    c.weights = weights;
    for (size_t n = 0; n < images; n += block) {
        c.images = images - n < block ? images - n : block;
        c.large = large + n * large_of(s);
        c.to_small = small + n * c.pixels * s->small_channels;
        pool_run(work->pool, group_count(&c), convolve_group, &c);
    }
}

static void transpose_group(void *context, size_t task) {
    const im2col *c = context;
    size_t first, count = group_images(c, task, &first), b = c->shape->small_channels;
    real *patches = patch_is_image(c->shape) ? c->to_large + first * large_of(c->shape)
                                             : c->patches + first * c->pixels * c->depth;

    gemm(&(gemm_product){.form = GEMM_AB,
                         .rows = count * c->pixels,
                         .columns = c->depth,
                         .depth = b,
                         .a = c->small + first * c->pixels * b,
                         .a_step = b,
                         .b = c->weights,
                         .b_step = c->depth,
                         .c = patches,
                         .c_step = c->depth});
    for (size_t n = 0; n < count && !patch_is_image(c->shape); n++)
        add_patches(c->to_large + (first + n) * large_of(c->shape),
                    patches + n * c->pixels * c->depth, c->shape);
}

void im2col_transposed_convolution(real *large, const real *small, const real *weights,
                                   size_t images, const dcgan_convolution *s,
                                   const dcgan_work *work) {
    im2col c = begin(s, work);
    size_t block = block_of(s, images);

    c.weights = weights;
    for (size_t n = 0; n < images; n += block) {
        c.images = images - n < block ? images - n : block;
        c.small = small + n * c.pixels * s->small_channels;
        c.to_large = large + n * large_of(s);
        pool_run(work->pool, group_count(&c), transpose_group, &c);
    }
}

static void cut_group(void *context, size_t task) {
    const im2col *c = context;
    size_t first, count = group_images(c, task, &first);
    group_patches(c, first, count);
}

static void weigh_outputs(void *context, size_t task) {
    const im2col *c = context;
    size_t b = c->shape->small_channels, first = task * GROUP_OUTPUTS;
    size_t count = b - first < GROUP_OUTPUTS ? b - first : GROUP_OUTPUTS;
    const real *patches = patch_is_image(c->shape) ? c->large : c->patches;

    gemm(&(gemm_product){.form = GEMM_ATB,
                         .rows = count,
                         .columns = c->depth,
                         .depth = c->images * c->pixels,
                         .a = c->small + first,
                         .a_step = b,
                         .b = patches,
                         .b_step = c->depth,
                         .c = c->dweights + first * c->depth,
                         .c_step = c->depth,
                         .add = 1});
}

void im2col_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                            const dcgan_convolution *s, const dcgan_work *work) {
    im2col c = begin(s, work);
    size_t block = block_of(s, images);

    c.dweights = dweights;
    for (size_t n = 0; n < images; n += block) {
        c.images = images - n < block ? images - n : block;
        c.large = large + n * large_of(s);
        c.small = small + n * c.pixels * s->small_channels;
        if (!patch_is_image(s))
            pool_run(work->pool, group_count(&c), cut_group, &c);
        pool_run(work->pool, (s->small_channels + GROUP_OUTPUTS - 1) / GROUP_OUTPUTS, weigh_outputs,
                 &c);
    }
}
