/*
 * device.c - finds backends by name, and opens their devices
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

/* A new backend is a line here. */
static const dcgan_backend *const backends[] = {
    &dcgan_backend_cpu,
    &dcgan_backend_naive,
#ifdef DCGAN_GPU /* what students run; the extension computes on the CPU alone */
    &dcgan_backend_opencl,
#endif
};

enum { BACKEND_COUNT = sizeof backends / sizeof *backends };

static const dcgan_backend *find(const char *name) {
    for (int i = 0; i < BACKEND_COUNT; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

const char *dcgan_backend_name(int index) {
    return index >= 0 && index < BACKEND_COUNT ? backends[index]->name : NULL;
}

int dcgan_device_count(const char *backend) {
    const dcgan_backend *b = find(backend);

    return b ? b->count() : 0;
}

void dcgan_device_describe(const char *backend, int number, char *text, size_t size,
                           uint64_t *memory) {
    const dcgan_backend *b = find(backend);

    if (size)
        text[0] = '\0';
    *memory = 0;
    if (b && number >= 0 && number < b->count())
        b->describe(number, text, size, memory);
}

dcgan_status dcgan_device_open(dcgan_device **device, const char *backend, int number,
                               int threads) {
    const dcgan_backend *b = find(backend);

    *device = NULL;
    if (!b || number < 0 || number >= b->count() || threads < 1)
        return DCGAN_INVALID_ARGUMENT;
    *device = calloc(1, sizeof **device);
    if (!*device)
        return DCGAN_DEVICE_MEMORY;
    (*device)->backend = b;
    (*device)->number = number;
    (*device)->threads = threads;
    b->describe(number, (*device)->name, sizeof(*device)->name, &(*device)->memory);
    return b->open(*device);
}

void dcgan_device_close(dcgan_device *device) {
    if (device)
        device->backend->close(device);
    free(device);
}

const char *dcgan_device_name(const dcgan_device *device) {
    return device->name;
}

uint64_t dcgan_device_memory(const dcgan_device *device) {
    return device->memory;
}

const char *dcgan_device_error(const dcgan_device *device) {
    return device ? device->error : "";
}
