/*
 * state.c - the beginning and the end of a device, failures, and failures that a test asks for
 */
#include "gpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPU_NAME(name) #name,
const char *const gpu_kernel_names[] = {GPU_KERNELS(GPU_NAME)};

/* GANN_DEVICE_FAULT=convolution:3, GANN_DEVICE_MEMORY=1000000 */
static void read_faults(gpu_state *gpu) {
    const char *text = getenv("GANN_DEVICE_FAULT"), *colon = text ? strchr(text, ':') : NULL,
               *memory = getenv("GANN_DEVICE_MEMORY");

    if (memory)
        gpu->memory_limit = strtoull(memory, NULL, 10);
    if (colon) {
        gpu->fault = text;
        gpu->fault_length = (size_t)(colon - text);
        gpu->fault_call = strtol(colon + 1, NULL, 10);
    }
}

dcgan_status gpu_begin(dcgan_device *device) {
    gpu_state *gpu = gpu_of(device);

    read_faults(gpu);
    return gpu->driver->allocate(device, GPU_SLICE_REALS * sizeof(real), &gpu->slices.memory);
}

void gpu_end(dcgan_device *device) {
    gpu_state *gpu = gpu_of(device);

    gpu->driver->release(device, gpu->arena);
    gpu->driver->release(device, gpu->slices.memory);
    gpu->driver->release(device, gpu->bytes);
}

dcgan_status gpu_fail(dcgan_device *device, dcgan_status status, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(device->error, sizeof device->error, format, arguments);
    va_end(arguments);
    return status;
}

dcgan_status gpu_enter(dcgan_device *device, const char *function) {
    gpu_state *gpu = gpu_of(device);

    if (gpu->fault && strlen(function) == gpu->fault_length &&
        memcmp(function, gpu->fault, gpu->fault_length) == 0 && --gpu->fault_call == 0)
        return gpu_fail(device, DCGAN_DEVICE, "%s: GANN_DEVICE_FAULT asks for a failure", function);
    return DCGAN_OK;
}
