/*
 * passes.c - the passes of a minibatch (docs/format.md section 6)
 */
#include "passes.h"

tensor passes_sum(const dcgan_passes *p, passes_sum_number number) {
    return tensor_sum_at(p->sums, p->model->statistics_count + (size_t)number);
}

static dcgan_status run_discriminator(dcgan_passes *p, tensor images, size_t count) {
    p->discriminator.input = images;
    return network_forward(&p->discriminator, &p->model->discriminator, p->device, p->weights,
                           (tensor){0}, count);
}

/* What the discriminator should say of images, and where that is counted. */
typedef struct verdict {
    int target; /* 1: real */
    size_t loss, right;
    int wanted; /* the derivative */
} verdict;

/* Each image weighs 1 / mean_over, so that a unit's minibatches add up to its mean, a short last
 * one by its images. */
static dcgan_status judge(dcgan_passes *p, const verdict *v, size_t count) {
    return p->device->backend->judge(p->device, v->wanted ? p->buffers[0] : (tensor){0},
                                     passes_sum(p, v->loss), passes_sum(p, v->right),
                                     tape_output(&p->discriminator, &p->model->discriminator),
                                     count, v->target, 1.0 / (double)p->mean_over);
}

/*
 * Backpropagates the derivative of a loss through the discriminator. For the discriminator's own
 * loss the gradient of its weights is wanted, for the generator's loss only the derivative of the
 * image: neither gets anything of the other's.
 */
static dcgan_status judge_backward(dcgan_passes *p, size_t count, int own_loss,
                                   const network_listener *listener,
                                   network_backward_state *state) {
    *state = (network_backward_state){.weights = p->weights,
                                      .dweights = own_loss ? p->gradient : (tensor){0},
                                      .dy = p->buffers[0],
                                      .spare = p->buffers[1],
                                      .want_dinput = !own_loss,
                                      .images = count,
                                      .listener = listener};
    return network_backward(&p->discriminator, &p->model->discriminator, p->device, state);
}

/* Counts the discriminator's loss, and learns from it where its gradient is wanted. */
static dcgan_status learn_own(dcgan_passes *p, int target, size_t count, double share,
                              const network_listener *listener) {
    const verdict v = {target, SUM_LOSS_D, target ? SUM_RIGHT_REAL : SUM_RIGHT_FAKE,
                       p->unit->networks != DCGAN_GENERATOR_ONLY};
    network_backward_state state;

    TRY(judge(p, &v, count));
    TRY(tape_add_statistics(&p->discriminator, &p->model->discriminator, p->device, p->sums,
                            0.5 * share));
    return v.wanted ? judge_backward(p, count, 1, listener, &state) : DCGAN_OK;
}

dcgan_status passes_real(dcgan_passes *p, size_t first, size_t count, double share) {
    size_t image = p->model->image_count;

    TRY(p->device->backend->write_samples(p->device, p->images, p->unit->images + first * image,
                                          count * image));
    TRY(run_discriminator(p, p->images, count));
    return learn_own(p, 1, count, share, NULL);
}

dcgan_status passes_generate(dcgan_passes *p, size_t first, size_t count, double share) {
    const dcgan_unit *unit = p->unit;
    size_t latent = p->model->config.latent;
    real *noise = p->noise[p->minibatch % PASSES_AHEAD];

    for (size_t i = 0; i < count; i++)
        dcgan_noise(unit->seed, (uint32_t)(unit->position + first + i), unit->iteration,
                    DCGAN_STREAM_UNIT, latent, noise + i * latent);
    if (p->device->backend->on_host)
        p->latent = tensor_on_host(noise);
    TRY(p->device->backend->write(p->device, p->latent, noise, count * latent));
    p->generator.input = p->latent;
    TRY(network_forward(&p->generator, &p->model->generator, p->device, p->weights, (tensor){0},
                        count));
    return tape_add_statistics(&p->generator, &p->model->generator, p->device, p->sums, share);
}

dcgan_status passes_judge(dcgan_passes *p, size_t count) {
    return run_discriminator(p, tape_output(&p->generator, &p->model->generator), count);
}

dcgan_status passes_fake(dcgan_passes *p, size_t count, double share,
                         const network_listener *listener) {
    return learn_own(p, 0, count, share, listener);
}

dcgan_status passes_generator(dcgan_passes *p, size_t count, const network_listener *listener) {
    const verdict v = {1, SUM_LOSS_G, SUM_RIGHT_G, p->unit->networks != DCGAN_DISCRIMINATOR_ONLY};
    network_backward_state state;

    TRY(judge(p, &v, count));
    if (!v.wanted)
        return DCGAN_OK;
    TRY(judge_backward(p, count, 0, NULL, &state));
    state.dweights = p->gradient;
    state.want_dinput = 0;
    state.listener = listener;
    return network_backward(&p->generator, &p->model->generator, p->device, &state);
}
