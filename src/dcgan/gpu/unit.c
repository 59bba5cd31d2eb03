/*
 * unit.c - what a unit makes of the networks' outputs
 *
 * Numbers that a whole call shares are computed here, in double precision.
 */
#include "gpu.h"

#include <math.h>

/* What a double loses as a float. */
static float rest(double x) {
    return (float)(x - (double)(float)x);
}

dcgan_status gpu_judge(dcgan_device *device, tensor dlogits, tensor loss, tensor hits,
                       tensor logits, size_t count, int target, double weight) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_judge, ((gpu_groups){1, 1, 1}),
                      GPU_T(dlogits.memory ? dlogits : logits), GPU_T(loss), GPU_T(hits),
                      GPU_T(logits), GPU_I(count), GPU_I(target), GPU_F(weight),
                      GPU_I(dlogits.memory != NULL));
}

dcgan_status gpu_add_statistics(dcgan_device *device, tensor sums, tensor mean, tensor variance,
                                size_t channels, double weight) {
    GPU_ENTER(device);
    if (channels > GPU_MAX_CHANNELS)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_add_statistics, gpu_elements(channels), GPU_T(sums),
                      GPU_T(mean), GPU_T(variance), GPU_I(channels), GPU_F(weight),
                      GPU_F(rest(weight)));
}

/* The factors are those of dcgan_adam. */
dcgan_status gpu_adam(dcgan_device *device, tensor weights, tensor moment1, tensor moment2,
                      tensor gradient, size_t count, uint64_t t,
                      const dcgan_adam_options *options) {
    const double rate = options->learning_rate / (1.0 - pow(options->beta1, (double)t)),
                 root = sqrt(1.0 - pow(options->beta2, (double)t));

    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_adam, gpu_elements(count), GPU_T(weights), GPU_T(moment1),
                      GPU_T(moment2), GPU_T(gradient), GPU_I(count), GPU_F(options->beta1),
                      GPU_F(options->beta2), GPU_F(1.0 - options->beta1),
                      GPU_F(1.0 - options->beta2), GPU_F(rate), GPU_F(root),
                      GPU_F(options->epsilon));
}

dcgan_status gpu_difference(dcgan_device *device, tensor difference, tensor a, tensor b,
                            size_t count) {
    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    return gpu_launch(device, KERNEL_difference, gpu_elements(count), GPU_T(difference), GPU_T(a),
                      GPU_T(b), GPU_I(count));
}

dcgan_status gpu_finite(dcgan_device *device, tensor sum, tensor x, size_t count) {
    const tensor found = gpu_of(device)->slices; /* one number of each group */
    gpu_groups groups = gpu_elements(count);

    GPU_ENTER(device);
    if (count > GPU_MAX_COUNT)
        return DCGAN_TOO_LARGE;
    if (groups.x > GPU_GROUP)
        groups.x = GPU_GROUP;
    TRY(gpu_launch(device, KERNEL_finite_groups, groups, GPU_T(found), GPU_T(x), GPU_I(count)));
    return gpu_launch(device, KERNEL_finite_total, ((gpu_groups){1, 1, 1}), GPU_T(sum),
                      GPU_T(found), GPU_I(groups.x));
}
