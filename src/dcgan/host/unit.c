/*
 * unit.c - what a unit makes of the networks' outputs: loss, statistics, the change of its weights
 */
#include "host.h"
#include "loss.h"

#include <math.h>

/* Counts logits on the right side of zero, which belongs to neither side. */
static size_t count_right(const real *logits, size_t count, int target) {
    size_t right = 0;

    for (size_t i = 0; i < count; i++)
        right += target ? logits[i] > 0 : logits[i] < 0;
    return right;
}

dcgan_status host_judge(dcgan_device *device, tensor dlogits, tensor loss, tensor hits,
                        tensor logits, size_t count, int target, double weight) {
    const real *l = host_at(logits);

    (void)device;
    *host_sums(loss) += target ? loss_real(l, count) : loss_fake(l, count);
    *host_sums(hits) += (double)count_right(l, count, target);
    if (dlogits.memory)
        loss_backward(host_at(dlogits), l, count, target, weight);
    return DCGAN_OK;
}

dcgan_status host_add_statistics(dcgan_device *device, tensor sums, tensor mean, tensor variance,
                                 size_t channels, double weight) {
    double *first = host_sums(sums), *second = first + channels;
    const real *m = host_at(mean), *v = host_at(variance);

    (void)device;
    for (size_t c = 0; c < channels; c++) {
        first[c] += weight * (double)m[c];
        second[c] += weight * ((double)v[c] + (double)m[c] * (double)m[c]);
    }
    return DCGAN_OK;
}

dcgan_status host_difference(dcgan_device *device, tensor difference, tensor a, tensor b,
                             size_t count) {
    real *d = host_at(difference);
    const real *x = host_at(a), *y = host_at(b);

    (void)device;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] - y[i];
    return DCGAN_OK;
}

dcgan_status host_finite(dcgan_device *device, tensor sum, tensor x, size_t count) {
    (void)device;
    if (!dcgan_finite(host_at(x), count, host_sums(sum)))
        *host_sums(sum) = NAN;
    return DCGAN_OK;
}
