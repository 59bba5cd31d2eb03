/*
 * host.h - what the backends share whose tensors are the caller's memory
 *
 * Nothing is queued: a call is done when it returns, and every mark has passed. backend.h says what
 * each function computes.
 */
#ifndef DCGAN_HOST_H
#define DCGAN_HOST_H

#include "../backend.h"

/* A tensor's numbers; null: no tensor. */
static inline real *host_at(tensor t) {
    return t.memory ? (real *)t.memory + t.first : NULL;
}

static inline double *host_sums(tensor t) {
    return (double *)(void *)host_at(t);
}

/* ---- memory.c ---- */

int host_count(void);
void host_describe(int number, char *text, size_t size, uint64_t *memory);
dcgan_status host_write(dcgan_device *device, tensor to, const real *from, size_t count);
dcgan_status host_write_samples(dcgan_device *device, tensor to, const uint8_t *from, size_t count);
dcgan_status host_read(dcgan_device *device, real *to, tensor from, size_t count);
dcgan_status host_read_sums(dcgan_device *device, double *to, tensor sums, size_t count);
dcgan_status host_zero(dcgan_device *device, tensor x, size_t reals);
dcgan_status host_mark(dcgan_device *device, uint64_t *mark);
dcgan_status host_passed(dcgan_device *device, uint64_t mark, int wait, int *passed);

/* ---- unit.c ---- */

dcgan_status host_judge(dcgan_device *device, tensor dlogits, tensor loss, tensor hits,
                        tensor logits, size_t count, int target, double weight);
dcgan_status host_add_statistics(dcgan_device *device, tensor sums, tensor mean, tensor variance,
                                 size_t channels, double weight);
dcgan_status host_difference(dcgan_device *device, tensor difference, tensor a, tensor b,
                             size_t count);
dcgan_status host_finite(dcgan_device *device, tensor sum, tensor x, size_t count);

/* In a backend's table: that it is one on the host, and all of the above. */
#define HOST_FUNCTIONS                                                                             \
    .on_host = 1, .count = host_count, .describe = host_describe, .write = host_write,             \
    .write_samples = host_write_samples, .read = host_read, .read_sums = host_read_sums,           \
    .zero = host_zero, .mark = host_mark, .passed = host_passed, .judge = host_judge,              \
    .add_statistics = host_add_statistics, .difference = host_difference, .finite = host_finite

#endif
