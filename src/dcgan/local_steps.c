/*
 * local_steps.c - a work unit of local steps: Adam on one machine, D and G in turn (docs/format.md
 * section 9)
 *
 * Alternating steps as in Goodfellow et al. 2014 and Radford et al. 2016, one pair for each
 * minibatch of the unit. Moments begin at zero, so that the unit can be recomputed from the weights
 * it began with.
 */
#include "net/passes.h"

#include <math.h>

/* A unit of local steps. */
typedef struct local_unit {
    dcgan_passes passes;
    const dcgan_local_options *options;
} local_unit;

dcgan_status dcgan_unit_local_workspace(const dcgan_model *model, dcgan_device *device,
                                        size_t batch, size_t *bytes) {
    dcgan_passes passes = {.model = model, .device = device, .local = 1};
    size_t reals;

    return passes_measure(&passes, batch, bytes, &reals);
}

/* Takes Adam's step number t of one network. */
static dcgan_status step_network(dcgan_passes *p, const dcgan_network *network,
                                 const dcgan_adam_options *adam, uint64_t t) {
    return p->device->backend->adam(
        p->device, tensor_at(p->weights, network->first), tensor_at(p->moment1, network->first),
        tensor_at(p->moment2, network->first), tensor_at(p->gradient, network->first),
        network->count, t, adam);
}

/*
 * Weighs minibatch j as running statistics with this momentum would after seeing all minibatches in
 * order: (1 - momentum)^(minibatches - 1 - j), divided by the sum of all of them.
 */
static double statistics_share(double momentum, size_t j, size_t minibatches) {
    double all = 1.0 - pow(1.0 - momentum, (double)minibatches);

    return momentum * pow(1.0 - momentum, (double)(minibatches - 1 - j)) / all;
}

/* Overwrites a network's gradient with the change of its weights, new - old, which is final. A
 * device gets the old weights again, in place of a moment that no step will need. */
static dcgan_status write_change(dcgan_passes *p, const dcgan_network *network) {
    const dcgan_backend *b = p->device->backend;
    const real *given = p->unit->weights + network->first;
    tensor old = b->on_host ? tensor_on_host(given) : tensor_at(p->moment1, network->first);

    TRY(b->write(p->device, old, given, network->count));
    TRY(b->difference(p->device, tensor_at(p->gradient, network->first),
                      tensor_at(p->weights, network->first), old, network->count));
    return passes_finish(p, network->first, network->count);
}

/*
 * Steps D on real and generated images, then G, whose images are the same ones, judged by the new
 * D. D's last step comes before G's: on a slow link its change is on its way while G's is computed.
 */
static dcgan_status do_minibatch(local_unit *l, size_t first, size_t count, uint64_t t,
                                 double share) {
    dcgan_passes *p = &l->passes;
    int last = first + count == p->unit->count;

    p->mean_over = count;
    TRY(passes_real(p, first, count, share));
    TRY(passes_continue(p, first));
    TRY(passes_generate(p, first, count, share));
    TRY(passes_judge(p, count));
    TRY(passes_fake(p, count, share, NULL));
    TRY(step_network(p, &p->model->discriminator, &l->options->discriminator, t));
    if (last)
        TRY(write_change(p, &p->model->discriminator));
    TRY(passes_continue(p, first));
    TRY(passes_judge(p, count));
    TRY(passes_generator(p, count, NULL));
    TRY(step_network(p, &p->model->generator, &l->options->generator, t));
    return last ? write_change(p, &p->model->generator) : DCGAN_OK;
}

/* Takes a step of both networks for every minibatch. */
static dcgan_status run_minibatches(local_unit *l) {
    const dcgan_unit *unit = l->passes.unit;
    size_t minibatches = unit->count / unit->batch + (unit->count % unit->batch > 0);

    for (size_t j = 0; j < minibatches; j++) {
        size_t first = j * unit->batch, left = unit->count - first;

        TRY(passes_begin_minibatch(&l->passes));
        TRY(passes_continue(&l->passes, first));
        TRY(do_minibatch(l, first, left < unit->batch ? left : unit->batch, j + 1,
                         statistics_share(l->options->norm_momentum, j, minibatches)));
        TRY(passes_end_minibatch(&l->passes));
    }
    return DCGAN_OK;
}

dcgan_status dcgan_unit_local(const dcgan_model *model, const dcgan_unit *unit,
                              const dcgan_local_options *options, dcgan_unit_result *result,
                              void *workspace, size_t workspace_bytes) {
    local_unit local = {.passes = {.model = model,
                                   .unit = unit,
                                   .result = result,
                                   .device = unit->device,
                                   .local = 1},
                        .options = options};
    dcgan_status status;

    if (unit->networks != DCGAN_BOTH ||
        !(options->norm_momentum > 0 && options->norm_momentum <= 1))
        return DCGAN_INVALID_ARGUMENT;
    status = passes_begin(&local.passes, workspace, workspace_bytes);
    return passes_end(&local.passes, status == DCGAN_OK ? run_minibatches(&local) : status);
}
