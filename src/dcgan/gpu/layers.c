/*
 * layers.c - batch norm and activations: how layers.cl is launched
 *
 * How rows are cut depends on the shape alone, so that the sums have the same bits every time.
 */
#include "gpu.h"

/* How batch norm's rows and channels are cut (layers.cl). */
typedef struct norm_cut {
    size_t width, slice_rows, slices;
    gpu_groups parts; /* channel blocks x slices */
} norm_cut;

static dcgan_status cut(norm_cut *c, size_t rows, size_t channels) {
    size_t slices;

    if (rows < 1 || channels < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (channels > GPU_MAX_CHANNELS || rows > GPU_MAX_COUNT / channels)
        return DCGAN_TOO_LARGE;
    for (c->width = 4; c->width < 64 && c->width < channels;)
        c->width *= 2;
    /* at least 16 rows a thread, so that adding up slices costs less than they gain */
    slices = gpu_divide_up(rows, 16 * (GPU_GROUP / c->width));
    if (slices > GPU_SLICES)
        slices = GPU_SLICES;
    if (slices > GPU_SLICE_SUMS / channels)
        slices = GPU_SLICE_SUMS / channels;
    c->slice_rows = gpu_divide_up(rows, slices);
    c->slices = gpu_divide_up(rows, c->slice_rows);
    c->parts = (gpu_groups){gpu_divide_up(channels, c->width), c->slices, 1};
    return DCGAN_OK;
}

/* The groups that add up slices. */
static gpu_groups blocks(const norm_cut *c) {
    return (gpu_groups){c->parts.x, 1, 1};
}

dcgan_status gpu_moments(dcgan_device *device, tensor mean, tensor variance, tensor x, size_t rows,
                         size_t channels) {
    const tensor slices = gpu_of(device)->slices;
    const double one = 1.0 / (double)rows;
    norm_cut c;

    GPU_ENTER(device);
    TRY(cut(&c, rows, channels));
    TRY(gpu_launch(device, KERNEL_moments_slices, c.parts, GPU_T(slices), GPU_T(x), GPU_I(rows),
                   GPU_I(channels), GPU_I(c.width), GPU_I(c.slice_rows)));
    return gpu_launch(device, KERNEL_moments_total, blocks(&c), GPU_T(mean), GPU_T(variance),
                      GPU_T(slices), GPU_I(c.slices), GPU_I(channels), GPU_I(c.width), GPU_F(one),
                      GPU_F(one - (double)(float)one));
}

dcgan_status gpu_normalise(dcgan_device *device, tensor y, tensor x, tensor mean, tensor variance,
                           tensor scale, tensor shift, size_t rows, size_t channels, real slope) {
    norm_cut c;

    GPU_ENTER(device);
    TRY(cut(&c, rows, channels));
    return gpu_launch(device, KERNEL_normalise, c.parts, GPU_T(y), GPU_T(x), GPU_T(mean),
                      GPU_T(variance), GPU_T(scale), GPU_T(shift), GPU_I(rows), GPU_I(channels),
                      GPU_I(c.width), GPU_I(c.slice_rows), GPU_F(DCGAN_NORM_EPSILON), GPU_F(slope));
}

dcgan_status gpu_normalise_backward(dcgan_device *device, tensor dx, tensor dscale, tensor dshift,
                                    tensor dy, tensor x, tensor mean, tensor variance, tensor scale,
                                    tensor shift, size_t rows, size_t channels, real slope) {
    const tensor slices = gpu_of(device)->slices, total = tensor_at(slices, 4 * GPU_SLICE_SUMS);
    norm_cut c;

    GPU_ENTER(device);
    TRY(cut(&c, rows, channels));
    TRY(gpu_launch(device, KERNEL_normalise_backward_slices, c.parts, GPU_T(slices), GPU_T(dy),
                   GPU_T(x), GPU_T(mean), GPU_T(variance), GPU_T(scale), GPU_T(shift), GPU_I(rows),
                   GPU_I(channels), GPU_I(c.width), GPU_I(c.slice_rows), GPU_F(DCGAN_NORM_EPSILON),
                   GPU_F(slope)));
    TRY(gpu_launch(device, KERNEL_normalise_backward_total, blocks(&c), GPU_T(total),
                   GPU_T(dscale.memory ? dscale : total), GPU_T(dshift.memory ? dshift : total),
                   GPU_T(slices), GPU_I(c.slices), GPU_I(channels), GPU_I(c.width),
                   GPU_F(1.0 / (double)rows), GPU_I(dscale.memory != NULL),
                   GPU_I(dshift.memory != NULL)));
    return gpu_launch(device, KERNEL_normalise_backward, c.parts, GPU_T(dx), GPU_T(dy),
                      GPU_T(total), GPU_T(x), GPU_T(mean), GPU_T(variance), GPU_T(scale),
                      GPU_T(shift), GPU_I(rows), GPU_I(channels), GPU_I(c.width),
                      GPU_I(c.slice_rows), GPU_F(DCGAN_NORM_EPSILON), GPU_F(slope));
}

dcgan_status gpu_rectify(dcgan_device *device, tensor x, size_t count, real slope) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_rectify, gpu_elements(count), GPU_T(x), GPU_I(count),
                      GPU_F(slope));
}

dcgan_status gpu_rectify_backward(dcgan_device *device, tensor dy, tensor y, size_t count,
                                  real slope) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_rectify_backward, gpu_elements(count), GPU_T(dy), GPU_T(y),
                      GPU_I(count), GPU_F(slope));
}

dcgan_status gpu_hyperbolic_tangent(dcgan_device *device, tensor x, size_t count) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_hyperbolic_tangent, gpu_elements(count), GPU_T(x),
                      GPU_I(count));
}

dcgan_status gpu_hyperbolic_tangent_backward(dcgan_device *device, tensor dy, tensor y,
                                             size_t count) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_hyperbolic_tangent_backward, gpu_elements(count), GPU_T(dy),
                      GPU_T(y), GPU_I(count));
}
