/*
 * gradients.c - both gradients of a work unit at the same weights (docs/format.md section 6)
 */
#include "net/passes.h"

/* Computes the bytes of workspace that units with minibatches of up to batch images need. */
dcgan_status dcgan_unit_workspace(const dcgan_model *model, size_t batch, size_t *bytes) {
    dcgan_passes passes = {.model = model, .backend = &dcgan_backend_cpu};
    dcgan_arena arena = arena_begin(NULL);
    dcgan_status status = passes_take(&passes, &arena, batch);

    return status == DCGAN_OK ? arena_end(&arena, bytes) : status;
}

/* Learns from as many generated images: one forward pass of both networks serves both losses. */
static void fake_pass(dcgan_passes *p, size_t first, size_t count, double share) {
    const dcgan_unit *unit = p->unit;
    const network_listener ready = {unit->ready, unit->context};
    /* What the last minibatch has added up is final. */
    const network_listener *listener = unit->ready && first + count == unit->count ? &ready : NULL;
    const real *logits = passes_judge(p, passes_generate(p, first, count, share), count);

    passes_fake(p, logits, count, share, listener);
    passes_generator(p, logits, count, listener);
}

/* Runs all minibatches; the result holds sums afterwards. */
static dcgan_status run_minibatches(dcgan_passes *p) {
    const dcgan_unit *unit = p->unit;

    for (size_t first = 0; first < unit->count; first += unit->batch) {
        size_t count = unit->count - first < unit->batch ? unit->count - first : unit->batch;
        double share = (double)count / (double)unit->count;

        if (passes_cancelled(p, first))
            return DCGAN_CANCELLED;
        passes_real(p, first, count, share);
        if (passes_cancelled(p, first))
            return DCGAN_CANCELLED;
        fake_pass(p, first, count, share);
    }
    return DCGAN_OK;
}

/* Computes both gradients of a unit at the same weights. The result is undefined on error. */
dcgan_status dcgan_unit_gradients(const dcgan_model *model, const dcgan_unit *unit,
                                  dcgan_unit_result *result, void *workspace,
                                  size_t workspace_bytes) {
    dcgan_passes passes = {.model = model,
                           .backend = &dcgan_backend_cpu,
                           .unit = unit,
                           .result = result,
                           .weights = unit->weights,
                           .mean_over = unit->count};
    dcgan_arena arena = arena_begin(workspace);
    dcgan_status status = passes_check(unit, result, workspace);
    size_t needed;

    if (status != DCGAN_OK ||
        (status = dcgan_unit_workspace(model, unit->batch, &needed)) != DCGAN_OK)
        return status;
    if (workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    passes_take(&passes, &arena, unit->batch);
    passes_begin(&passes);
    return passes_end(&passes, run_minibatches(&passes));
}
