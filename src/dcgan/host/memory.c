/*
 * memory.c - tensors in the caller's memory: copies, which are left out where both are one
 */
#include "host.h"

#include <stdio.h>
#include <string.h>

int host_count(void) {
    return 1;
}

void host_describe(int number, char *text, size_t size, uint64_t *memory) {
    (void)number;
    snprintf(text, size, "CPU");
    *memory = 0;
}

dcgan_status host_write(dcgan_device *device, tensor to, const real *from, size_t count) {
    (void)device;
    if (host_at(to) != from)
        memcpy(host_at(to), from, count * sizeof(real));
    return DCGAN_OK;
}

dcgan_status host_write_samples(dcgan_device *device, tensor to, const uint8_t *from,
                                size_t count) {
    real *x = host_at(to);

    (void)device;
    for (size_t i = 0; i < count; i++)
        x[i] = (real)((float)from[i] / 127.5f - 1.0f);
    return DCGAN_OK;
}

dcgan_status host_read(dcgan_device *device, real *to, tensor from, size_t count) {
    (void)device;
    if (to != host_at(from))
        memcpy(to, host_at(from), count * sizeof(real));
    return DCGAN_OK;
}

dcgan_status host_read_sums(dcgan_device *device, double *to, tensor sums, size_t count) {
    (void)device;
    memcpy(to, host_sums(sums), count * sizeof(double));
    return DCGAN_OK;
}

dcgan_status host_zero(dcgan_device *device, tensor x, size_t reals) {
    (void)device;
    memset(host_at(x), 0, reals * sizeof(real));
    return DCGAN_OK;
}

dcgan_status host_mark(dcgan_device *device, uint64_t *mark) {
    (void)device;
    *mark = 0;
    return DCGAN_OK;
}

dcgan_status host_passed(dcgan_device *device, uint64_t mark, int wait, int *passed) {
    (void)device, (void)mark, (void)wait;
    *passed = 1;
    return DCGAN_OK;
}
