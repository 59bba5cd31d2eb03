/*
 * step.c - the whole step on plain arrays; read it before src/extension/step/, which does the same
 * shard by shard
 */
#include "../dcgan.h"

#include <math.h>
#include <string.h>

void dcgan_step(const dcgan_model *model, const dcgan_step_options *o, uint32_t iteration,
                const dcgan_part *parts, size_t count, const dcgan_state *state, double *sum,
                real *mean) {
    dcgan_networks networks = dcgan_networks_stepped(o->alternating, iteration);
    uint64_t number = dcgan_step_number(networks, iteration), images = 0;
    size_t g = model->generator.count, d = model->discriminator.count;
    double momentum = o->norm_momentum;

    /* The mean of the units' results, weighted by their images. */
    for (size_t i = 0; i < count; i++)
        images += parts[i].images;
    memset(sum, 0, model->parameter_count * sizeof *sum);
    for (size_t i = 0; i < count; i++)
        dcgan_mean_add(sum, parts[i].result, (double)parts[i].images / (double)images,
                       model->parameter_count);
    dcgan_mean_finish(mean, sum, model->parameter_count);

    /* The weights move. */
    if (o->local_steps > 0)
        dcgan_outer(state->weights, state->moment1, state->moment2, mean, g + d, number, &o->outer);
    else {
        if (networks != DCGAN_DISCRIMINATOR_ONLY)
            dcgan_adam(state->weights, state->moment1, state->moment2, mean, g, number,
                       &o->generator);
        if (networks != DCGAN_GENERATOR_ONLY)
            dcgan_adam(state->weights + g, state->moment1 + g, state->moment2 + g, mean + g, d,
                       number, &o->discriminator);
    }

    /* Batch norm's statistics are merged by the law of total variance; local units stand for all
     * their updates. */
    memset(sum, 0, model->statistics_count * sizeof *sum);
    for (size_t i = 0; i < count; i++)
        dcgan_statistics_add(model, sum, parts[i].statistics,
                             (double)parts[i].images / (double)images);
    dcgan_statistics_finish(model, mean, sum);
    if (o->local_steps > 0)
        momentum = 1 - pow(1 - momentum, (double)o->local_steps);
    dcgan_statistics_run(model, state->running, mean, momentum, images);
}
