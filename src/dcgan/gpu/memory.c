/*
 * memory.c - the arena of a unit, and copies to and fro
 */
#include "gpu.h"

#include <stdlib.h>

/* Units of one size follow each other: what is large enough is used again. */
dcgan_status gpu_reserve(dcgan_device *device, size_t reals, tensor *memory) {
    gpu_state *gpu = gpu_of(device);
    size_t bytes;

    GPU_ENTER(device);
    if (__builtin_mul_overflow(reals, sizeof(real), &bytes))
        return DCGAN_TOO_LARGE;
    if (gpu->memory_limit && bytes > gpu->memory_limit)
        return gpu_fail(device, DCGAN_DEVICE_MEMORY, "%zu bytes are needed, %zu are there", bytes,
                        gpu->memory_limit);
    if (!gpu->arena || reals > gpu->arena_reals) {
        gpu->driver->release(device, gpu->arena);
        gpu->arena = NULL;
        TRY(gpu->driver->allocate(device, bytes ? bytes : 1, &gpu->arena));
        gpu->arena_reals = reals;
    }
    *memory = (tensor){gpu->arena, 0};
    return DCGAN_OK;
}

dcgan_status gpu_write(dcgan_device *device, tensor to, const real *from, size_t count) {
    GPU_ENTER(device);
    return gpu_of(device)->driver->copy_in(device, to.memory, to.first * sizeof(real), from,
                                           count * sizeof(real));
}

/* Bytes arrive in memory of their own, which grows when it must; the queue's order keeps one
 * minibatch's from overtaking the last one's. */
dcgan_status gpu_write_samples(dcgan_device *device, tensor to, const uint8_t *from, size_t count) {
    gpu_state *gpu = gpu_of(device);

    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    if (count > gpu->byte_count) {
        gpu->driver->release(device, gpu->bytes);
        gpu->bytes = NULL;
        gpu->byte_count = 0;
        TRY(gpu->driver->allocate(device, count, &gpu->bytes));
        gpu->byte_count = count;
    }
    TRY(gpu->driver->copy_in(device, gpu->bytes, 0, from, count));
    return gpu_launch(device, KERNEL_samples, gpu_elements(count), GPU_T(to), GPU_M(gpu->bytes),
                      GPU_I(count));
}

dcgan_status gpu_read(dcgan_device *device, real *to, tensor from, size_t count) {
    GPU_ENTER(device);
    return gpu_of(device)->driver->copy_out(device, to, from.memory, from.first * sizeof(real),
                                            count * sizeof(real), 0);
}

/* A sum is a pair of floats (unit.cl). */
dcgan_status gpu_read_sums(dcgan_device *device, double *to, tensor sums, size_t count) {
    float *pairs;
    dcgan_status status;

    GPU_ENTER(device);
    pairs = malloc(count * 2 * sizeof *pairs);
    if (!pairs)
        return gpu_fail(device, DCGAN_DEVICE_MEMORY, "no memory for %zu sums", count);
    status = gpu_of(device)->driver->copy_out(device, pairs, sums.memory, sums.first * sizeof(real),
                                              count * 2 * sizeof *pairs, 1);
    for (size_t i = 0; i < count && status == DCGAN_OK; i++)
        to[i] = (double)pairs[2 * i] + (double)pairs[2 * i + 1];
    free(pairs);
    return status;
}

dcgan_status gpu_zero(dcgan_device *device, tensor x, size_t reals) {
    GPU_ENTER(device);
    if (reals > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_zero, gpu_elements(reals), GPU_T(x), GPU_I(reals));
}
