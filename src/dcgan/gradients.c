/*
 * gradients.c - both gradients of a work unit at the same weights (docs/format.md section 6)
 */
#include "net/passes.h"

dcgan_status dcgan_unit_workspace(const dcgan_model *model, dcgan_device *device, size_t batch,
                                  size_t *bytes) {
    dcgan_passes passes = {.model = model, .device = device};
    size_t reals;

    return passes_measure(&passes, batch, bytes, &reals);
}

/* Learns from as many generated images: one forward pass of both networks serves both losses. */
static dcgan_status fake_pass(dcgan_passes *p, size_t first, size_t count, double share) {
    const network_listener finish = {passes_finish, p};
    /* What the last minibatch has added up is final. */
    const network_listener *listener = first + count == p->unit->count ? &finish : NULL;

    TRY(passes_generate(p, first, count, share));
    TRY(passes_judge(p, count));
    TRY(passes_fake(p, count, share, listener));
    return passes_generator(p, count, listener);
}

/* Runs all minibatches; the result holds sums afterwards. */
static dcgan_status run_minibatches(dcgan_passes *p) {
    const dcgan_unit *unit = p->unit;

    for (size_t first = 0; first < unit->count; first += unit->batch) {
        size_t count = unit->count - first < unit->batch ? unit->count - first : unit->batch;
        double share = (double)count / (double)unit->count;

        TRY(passes_begin_minibatch(p));
        TRY(passes_continue(p, first));
        TRY(passes_real(p, first, count, share));
        TRY(passes_continue(p, first));
        TRY(fake_pass(p, first, count, share));
        TRY(passes_end_minibatch(p));
    }
    return DCGAN_OK;
}

dcgan_status dcgan_unit_gradients(const dcgan_model *model, const dcgan_unit *unit,
                                  dcgan_unit_result *result, void *workspace,
                                  size_t workspace_bytes) {
    dcgan_passes passes = {.model = model,
                           .unit = unit,
                           .result = result,
                           .device = unit->device,
                           .mean_over = unit->count};
    dcgan_status status = passes_begin(&passes, workspace, workspace_bytes);

    return passes_end(&passes, status == DCGAN_OK ? run_minibatches(&passes) : status);
}
