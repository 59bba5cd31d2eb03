/*
 * products.c - convolutions and the gradient of their weights: how products.cl and narrow.cl are
 * launched
 *
 * A tile's size changes no bit (products.cl), so it may be chosen for the device at hand. How the
 * gradient's rows are cut changes bits: that depends on the shape alone.
 */
#include "gpu.h"

/* The groups of a tile that keep a processor busy: below that, small tiles are faster. */
#define GROUPS_A_PROCESSOR ((size_t)4)

/* The gradient's rows are cut until there are this many groups of the small tile, or a slice has
 * as few rows as this. */
#define GRADIENT_GROUPS ((size_t)512)
#define GRADIENT_ROWS ((size_t)256)

/* Checks that the kernels know a shape, and can count all numbers of its images. */
static dcgan_status check(const dcgan_convolution *s, size_t images) {
    const int one = s->stride == 1;
    size_t large, small;

    if (images < 1 || s->small_channels < 1 || s->large_channels < 1 || s->small_height < 1 ||
        s->small_width < 1 || s->stride != (one ? 1 : 2) || s->padding != (one ? 0 : 1) ||
        (one && (s->small_height != 1 || s->small_width != 1)) ||
        s->large_height != (one ? 4 : 2 * s->small_height) ||
        s->large_width != (one ? 4 : 2 * s->small_width))
        return DCGAN_INVALID_ARGUMENT;
    if (__builtin_mul_overflow(s->large_height * s->large_width, s->large_channels, &large) ||
        __builtin_mul_overflow(large, images, &large) || large > GPU_MAX_COUNT ||
        __builtin_mul_overflow(s->small_height * s->small_width, s->small_channels, &small) ||
        __builtin_mul_overflow(small, images, &small) || small > GPU_MAX_COUNT ||
        s->small_channels > GPU_MAX_CHANNELS || s->large_channels > GPU_MAX_CHANNELS ||
        s->small_channels * s->large_channels > GPU_MAX_COUNT / 16)
        return DCGAN_TOO_LARGE;
    return DCGAN_OK;
}

static size_t rows_of(const dcgan_convolution *s, size_t images) {
    return images * s->small_height * s->small_width;
}

static gpu_groups tiles(size_t tile, size_t rows, size_t columns, size_t parts) {
    return (gpu_groups){gpu_divide_up(rows, tile), gpu_divide_up(columns, tile), parts};
}

/* Chooses the large tile where it still occupies the whole device, and computes at most an eighth
 * more that is outside the matrix. */
static int use_large(const dcgan_device *device, size_t rows, size_t columns, size_t parts) {
    const gpu_state *gpu = gpu_of(device);
    const gpu_groups g = tiles(128, rows, columns, parts), small = tiles(64, rows, columns, parts);

    if (gpu->tile)
        return gpu->tile == 128;
    return g.x * g.y * g.z >= GROUPS_A_PROCESSOR * gpu->processors &&
           8 * 4 * g.x * g.y <= 9 * small.x * small.y;
}

#define SHAPE(s)                                                                                   \
    GPU_I((s)->small_height), GPU_I((s)->small_width), GPU_I((s)->small_channels),                 \
        GPU_I((s)->large_height), GPU_I((s)->large_width), GPU_I((s)->large_channels),             \
        GPU_I((s)->stride), GPU_I((s)->padding)

dcgan_status gpu_convolution(dcgan_device *device, tensor small, tensor large, tensor weights,
                             size_t images, const dcgan_convolution *s) {
    const size_t rows = rows_of(s, images), columns = s->small_channels;
    int wide;

    GPU_ENTER(device);
    TRY(check(s, images));
    if (s->stride == 1)
        return gpu_launch(device, KERNEL_down_one, ((gpu_groups){images, columns, 1}), GPU_T(small),
                          GPU_T(large), GPU_T(weights), GPU_I(16 * s->large_channels),
                          GPU_I(columns));
    wide = use_large(device, rows, columns, 1);
    return gpu_launch(device, wide ? KERNEL_down_128 : KERNEL_down_64,
                      tiles(wide ? 128 : 64, rows, columns, 1), GPU_T(small), GPU_T(large),
                      GPU_T(weights), GPU_I(images), SHAPE(s));
}

dcgan_status gpu_transposed_convolution(dcgan_device *device, tensor large, tensor small,
                                        tensor weights, size_t images, const dcgan_convolution *s) {
    const int one = s->stride == 1;
    const size_t rows = rows_of(s, images), parities = one ? 1 : 4,
                 columns = (one ? 16 : 1) * s->large_channels;
    int wide;

    GPU_ENTER(device);
    TRY(check(s, images));
    if (!one && columns <= 4)
        return gpu_launch(device, KERNEL_up_narrow,
                          ((gpu_groups){gpu_divide_up(rows, GPU_GROUP), parities, 1}), GPU_T(large),
                          GPU_T(small), GPU_T(weights), GPU_I(images), SHAPE(s));
    wide = use_large(device, rows, columns, parities);
    return gpu_launch(device, wide ? KERNEL_up_128 : KERNEL_up_64,
                      tiles(wide ? 128 : 64, rows, columns, parities), GPU_T(large), GPU_T(small),
                      GPU_T(weights), GPU_I(images), SHAPE(s));
}

/* Cuts the rows of the gradient's sums into slices of a number of rows: whole steps of a tile. */
static size_t slice_rows(const dcgan_convolution *s, size_t images) {
    const gpu_groups g = tiles(64, s->small_channels, 16 * s->large_channels, 1);
    const size_t rows = rows_of(s, images), most = gpu_divide_up(rows, GRADIENT_ROWS),
                 wanted = gpu_divide_up(GRADIENT_GROUPS, g.x * g.y);

    return gpu_divide_up(gpu_divide_up(rows, wanted < most ? wanted : most), 16) * 16;
}

static size_t slice_count(const dcgan_convolution *s, size_t images) {
    return gpu_divide_up(rows_of(s, images), slice_rows(s, images));
}

size_t gpu_scratch_count(const dcgan_convolution *s, size_t images) {
    return check(s, images) == DCGAN_OK
               ? slice_count(s, images) * 16 * s->small_channels * s->large_channels
               : 0;
}

dcgan_status gpu_weight_gradient(dcgan_device *device, tensor dweights, tensor large, tensor small,
                                 size_t images, const dcgan_convolution *s) {
    size_t columns, slices;
    int wide;

    GPU_ENTER(device);
    TRY(check(s, images));
    columns = 16 * s->large_channels;
    slices = slice_count(s, images);
    wide = use_large(device, s->small_channels, columns, slices);
    TRY(gpu_launch(device, wide ? KERNEL_gradient_128 : KERNEL_gradient_64,
                   tiles(wide ? 128 : 64, s->small_channels, columns, slices),
                   GPU_T(device->scratch), GPU_T(large), GPU_T(small), GPU_I(images), SHAPE(s),
                   GPU_I(slice_rows(s, images))));
    return gpu_launch(device, KERNEL_add_slices, gpu_elements(s->small_channels * columns),
                      GPU_T(dweights), GPU_T(device->scratch), GPU_I(s->small_channels * columns),
                      GPU_I(slices));
}
