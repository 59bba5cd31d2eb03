/*
 * cpu.c - the CPU as a backend: the table, over threads that share each call's tasks
 */
#include "../host/host.h"
#include "gemm.h"
#include "layers.h"
#include "paths.h"

#include <stdio.h>
#include <stdlib.h>

#define PIECE                                                                                      \
    ((size_t)65536) /* parameters of a task: fixed, though every cut gives the same bits */

/* Starts the threads; the caller's alone needs none. */
static dcgan_status open_cpu(dcgan_device *device) {
    gemm_begin(); /* each of our threads multiplies for itself */
    if (device->threads > 1 && !(device->own = malloc(sizeof(pool)))) {
        snprintf(device->error, sizeof device->error, "no memory for threads");
        return DCGAN_DEVICE_MEMORY;
    }
    if (device->own)
        pool_start(device->own, device->threads);
    return DCGAN_OK;
}

static void close_cpu(dcgan_device *device) {
    if (device->own)
        pool_stop(device->own);
    free(device->own);
    device->own = NULL;
}

static dcgan_work work_of(const dcgan_device *device) {
    return (dcgan_work){host_at(device->scratch), device->own};
}

/* Counts what a layer's convolutions need, and batch norm's sums. */
static size_t scratch_count(const dcgan_convolution *s, size_t images) {
    size_t norm = layer_scratch_count(s), path = cpu_path_scratch_count(s, images);
    return norm > path ? norm : path;
}

static dcgan_status convolution(dcgan_device *device, tensor small, tensor large, tensor weights,
                                size_t images, const dcgan_convolution *s) {
    dcgan_work work = work_of(device);

    cpu_convolution(host_at(small), host_at(large), host_at(weights), images, s, &work);
    return DCGAN_OK;
}

static dcgan_status transposed_convolution(dcgan_device *device, tensor large, tensor small,
                                           tensor weights, size_t images,
                                           const dcgan_convolution *s) {
    dcgan_work work = work_of(device);

    cpu_transposed_convolution(host_at(large), host_at(small), host_at(weights), images, s, &work);
    return DCGAN_OK;
}

static dcgan_status weight_gradient(dcgan_device *device, tensor dweights, tensor large,
                                    tensor small, size_t images, const dcgan_convolution *s) {
    dcgan_work work = work_of(device);

    cpu_weight_gradient(host_at(dweights), host_at(large), host_at(small), images, s, &work);
    return DCGAN_OK;
}

static dcgan_status moments(dcgan_device *device, tensor mean, tensor variance, tensor x,
                            size_t rows, size_t channels) {
    dcgan_work work = work_of(device);

    layer_moments(host_at(mean), host_at(variance), host_at(x), rows, channels, &work);
    return DCGAN_OK;
}

static dcgan_status normalise(dcgan_device *device, tensor y, tensor x, tensor mean,
                              tensor variance, tensor scale, tensor shift, size_t rows,
                              size_t channels, real slope) {
    dcgan_work work = work_of(device);

    layer_normalise(host_at(y), host_at(x), host_at(mean), host_at(variance), host_at(scale),
                    host_at(shift), rows, channels, slope, &work);
    return DCGAN_OK;
}

static dcgan_status normalise_backward(dcgan_device *device, tensor dx, tensor dscale,
                                       tensor dshift, tensor dy, tensor x, tensor mean,
                                       tensor variance, tensor scale, tensor shift, size_t rows,
                                       size_t channels, real slope) {
    dcgan_work work = work_of(device);

    layer_normalise_backward(host_at(dx), host_at(dscale), host_at(dshift), host_at(dy), host_at(x),
                             host_at(mean), host_at(variance), host_at(scale), host_at(shift), rows,
                             channels, slope, &work);
    return DCGAN_OK;
}

static dcgan_status rectify(dcgan_device *device, tensor x, size_t count, real slope) {
    dcgan_work work = work_of(device);

    layer_rectify(host_at(x), count, slope, &work);
    return DCGAN_OK;
}

static dcgan_status rectify_backward(dcgan_device *device, tensor dy, tensor y, size_t count,
                                     real slope) {
    dcgan_work work = work_of(device);

    layer_rectify_backward(host_at(dy), host_at(y), count, slope, &work);
    return DCGAN_OK;
}

static dcgan_status hyperbolic_tangent(dcgan_device *device, tensor x, size_t count) {
    dcgan_work work = work_of(device);

    layer_hyperbolic_tangent(host_at(x), count, &work);
    return DCGAN_OK;
}

static dcgan_status hyperbolic_tangent_backward(dcgan_device *device, tensor dy, tensor y,
                                                size_t count) {
    dcgan_work work = work_of(device);

    layer_hyperbolic_tangent_backward(host_at(dy), host_at(y), count, &work);
    return DCGAN_OK;
}

/* A step of Adam, cut into pieces. */
typedef struct adam_step {
    real *weights, *moment1, *moment2, *gradient;
    size_t count;
    uint64_t t;
    const dcgan_adam_options *options;
} adam_step;

static void step_piece(void *context, size_t task) {
    const adam_step *s = context;
    size_t first = task * PIECE, left = s->count - first, count = left < PIECE ? left : PIECE;

    dcgan_adam(s->weights + first, s->moment1 + first, s->moment2 + first, s->gradient + first,
               count, s->t, s->options);
    for (size_t i = first; i < first + count; i++)
        s->gradient[i] = 0;
}

static dcgan_status adam(dcgan_device *device, tensor weights, tensor moment1, tensor moment2,
                         tensor gradient, size_t count, uint64_t t,
                         const dcgan_adam_options *options) {
    adam_step step = {
        host_at(weights), host_at(moment1), host_at(moment2), host_at(gradient), count, t, options};

    pool_run(device->own, (count + PIECE - 1) / PIECE, step_piece, &step);
    return DCGAN_OK;
}

const dcgan_backend dcgan_backend_cpu = {
    .name = "cpu",
    HOST_FUNCTIONS,
    .open = open_cpu,
    .close = close_cpu,
    .scratch_count = scratch_count,
    .convolution = convolution,
    .transposed_convolution = transposed_convolution,
    .weight_gradient = weight_gradient,
    .moments = moments,
    .normalise = normalise,
    .normalise_backward = normalise_backward,
    .rectify = rectify,
    .rectify_backward = rectify_backward,
    .hyperbolic_tangent = hyperbolic_tangent,
    .hyperbolic_tangent_backward = hyperbolic_tangent_backward,
    .adam = adam,
};
