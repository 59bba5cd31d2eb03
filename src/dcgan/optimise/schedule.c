/*
 * schedule.c - the schedule of iterations: learning rates, and which network is
 * stepped
 */
#include "../dcgan.h"

/* Computes the factor of the learning rates in an iteration. */
double dcgan_schedule_factor(const dcgan_schedule *schedule, uint32_t iteration) {
    if (iteration < schedule->warmup)
        return ((double)iteration + 1) / (double)schedule->warmup;
    if (!schedule->linear || iteration >= schedule->target)
        return 1;
    return (double)(schedule->target - iteration) / (double)(schedule->target - schedule->warmup);
}

/* Names the networks that an iteration steps. */
dcgan_networks dcgan_networks_stepped(int alternating, uint32_t iteration) {
    if (!alternating)
        return DCGAN_BOTH;
    return iteration % 2 == 0 ? DCGAN_DISCRIMINATOR_ONLY : DCGAN_GENERATOR_ONLY;
}

/* Tells which part of the parameter vector belongs to them. */
void dcgan_networks_range(const dcgan_model *model, dcgan_networks networks, size_t *first,
                          size_t *count) {
    *first = networks == DCGAN_DISCRIMINATOR_ONLY ? model->discriminator.first : 0;
    *count = networks == DCGAN_BOTH                 ? model->parameter_count
             : networks == DCGAN_DISCRIMINATOR_ONLY ? model->discriminator.count
                                                    : model->generator.count;
}

/* Counts the steps that these networks have taken when an iteration's is taken: Adam's t. */
uint64_t dcgan_step_number(dcgan_networks networks, uint32_t iteration) {
    return (networks == DCGAN_BOTH ? iteration : iteration / 2) + (uint64_t)1;
}
