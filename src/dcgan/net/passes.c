/*
 * passes.c - the passes of a minibatch (docs/format.md section 6)
 */
#include "passes.h"
#include "loss.h"

#include "../cpu/gemm.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Checks that every matrix dimension of a minibatch fits the BLAS's int. */
static int fits_blas(const dcgan_model *model, size_t batch) {
    size_t rows;
    return !__builtin_mul_overflow(batch, model->image_count, &rows) && rows <= INT_MAX;
}

dcgan_status passes_take(dcgan_passes *p, dcgan_arena *arena, size_t batch) {
    const dcgan_model *model = p->model;
    size_t g = network_widest(&model->generator), d = network_widest(&model->discriminator);
    size_t sg, sd;

    if (batch < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (!fits_blas(model, batch))
        return DCGAN_TOO_LARGE;
    sg = network_scratch_count(&model->generator, p->backend, batch);
    sd = network_scratch_count(&model->discriminator, p->backend, batch);
    tape_take(&p->generator, arena, &model->generator, batch);
    tape_take(&p->discriminator, arena, &model->discriminator, batch);
    p->images = arena_take(arena, batch, model->image_count);
    p->latent = arena_take(arena, batch, model->config.latent);
    p->dlogits = arena_take(arena, batch, 1);
    p->buffers[0] = arena_take(arena, batch, g > d ? g : d);
    p->buffers[1] = arena_take(arena, batch, g > d ? g : d);
    p->work.scratch = arena_take(arena, sg > sd ? sg : sd, 1);
    p->statistics_sums = arena_take_doubles(arena, model->statistics_count);
    return DCGAN_OK;
}

dcgan_status passes_check(const dcgan_unit *unit, const dcgan_unit_result *result,
                          const void *workspace) {
    return unit->weights && unit->images && workspace && unit->count >= 1 && unit->threads >= 1 &&
                   result->gradient && result->statistics
               ? DCGAN_OK
               : DCGAN_INVALID_ARGUMENT;
}

void passes_begin(dcgan_passes *p) {
    dcgan_unit_result *r = p->result;

    gemm_begin();
    pool_start(&p->threads, p->unit->threads);
    p->work.pool = &p->threads;
    memset(r->gradient, 0, p->model->parameter_count * sizeof(real));
    memset(p->statistics_sums, 0, p->model->statistics_count * sizeof(double));
    r->loss_d = r->loss_g = r->accuracy_real = r->accuracy_fake = 0;
}

/* Turns sums into means and looks for NaN and infinity in all of the result. */
static dcgan_status finish_result(dcgan_passes *p) {
    dcgan_unit_result *r = p->result;
    double images = (double)p->unit->count;

    r->loss_d /= images;
    r->loss_g /= images;
    r->accuracy_real /= images;
    r->accuracy_fake /= images;
    dcgan_statistics_finish(p->model, r->statistics, p->statistics_sums);
    if (!isfinite(r->loss_d) || !isfinite(r->loss_g) ||
        !dcgan_finite(r->gradient, p->model->parameter_count, NULL) ||
        !dcgan_finite(r->statistics, p->model->statistics_count, NULL))
        return DCGAN_NOT_FINITE;
    return DCGAN_OK;
}

dcgan_status passes_end(dcgan_passes *p, dcgan_status status) {
    pool_stop(&p->threads);
    return status == DCGAN_OK ? finish_result(p) : status;
}

int passes_cancelled(const dcgan_passes *p, size_t images_done) {
    return p->unit->progress && p->unit->progress(p->unit->context, images_done);
}

/* Counts logits on the right side of zero, which belongs to neither side. */
static size_t count_right(const real *logits, size_t count, int real_images) {
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += real_images ? logits[i] > 0 : logits[i] < 0;
    return right;
}

const real *passes_judge(dcgan_passes *p, const real *images, size_t count) {
    p->discriminator.input = images;
    return network_forward(&p->discriminator, &p->model->discriminator, p->backend, p->weights,
                           NULL, count, &p->work);
}

/*
 * Backpropagates the loss that wants the logits to be target through the discriminator. Each image
 * weighs 1 / mean_over, so that a unit's minibatches add up to its mean, a short last one by its
 * images. For the discriminator's own loss the gradient of its weights is wanted, for the
 * generator's loss only the derivative of the image: neither gets anything of the other's.
 */
static real *judge_backward(dcgan_passes *p, const real *logits, size_t count, double target,
                            int own_loss, const network_listener *listener) {
    loss_backward(p->buffers[0], logits, count, target, 1.0 / (double)p->mean_over);
    return network_backward(&p->discriminator, &p->model->discriminator, p->backend, p->weights,
                            own_loss ? p->result->gradient : NULL, !own_loss, p->buffers[0],
                            p->buffers[1], count, &p->work, listener);
}

void passes_real(dcgan_passes *p, size_t first, size_t count, double share) {
    size_t floats = count * p->model->image_count;
    const uint8_t *samples = p->unit->images + first * p->model->image_count;
    const real *logits;

    for (size_t i = 0; i < floats; i++)
        p->images[i] = (real)((float)samples[i] / 127.5f - 1.0f);
    logits = passes_judge(p, p->images, count);
    p->result->loss_d += loss_real(logits, count);
    p->result->accuracy_real += (double)count_right(logits, count, 1);
    tape_add_statistics(&p->discriminator, &p->model->discriminator, p->statistics_sums,
                        0.5 * share);
    if (p->unit->networks != DCGAN_GENERATOR_ONLY)
        judge_backward(p, logits, count, 1.0, 1, NULL);
}

const real *passes_generate(dcgan_passes *p, size_t first, size_t count, double share) {
    const dcgan_unit *unit = p->unit;
    size_t latent = p->model->config.latent;
    const real *fake;

    for (size_t i = 0; i < count; i++)
        dcgan_noise(unit->seed, (uint32_t)(unit->position + first + i), unit->iteration,
                    DCGAN_STREAM_UNIT, latent, p->latent + i * latent);
    p->generator.input = p->latent;
    fake = network_forward(&p->generator, &p->model->generator, p->backend, p->weights, NULL, count,
                           &p->work);
    tape_add_statistics(&p->generator, &p->model->generator, p->statistics_sums, share);
    return fake;
}

void passes_fake(dcgan_passes *p, const real *logits, size_t count, double share,
                 const network_listener *listener) {
    p->result->loss_d += loss_fake(logits, count);
    p->result->accuracy_fake += (double)count_right(logits, count, 0);
    tape_add_statistics(&p->discriminator, &p->model->discriminator, p->statistics_sums,
                        0.5 * share);
    if (p->unit->networks != DCGAN_GENERATOR_ONLY)
        judge_backward(p, logits, count, 0.0, 1, listener);
}

void passes_generator(dcgan_passes *p, const real *logits, size_t count,
                      const network_listener *listener) {
    real *dfake, *other;

    p->result->loss_g += loss_real(logits, count);
    if (p->unit->networks == DCGAN_DISCRIMINATOR_ONLY)
        return;
    dfake = judge_backward(p, logits, count, 1.0, 0, NULL);
    other = dfake == p->buffers[0] ? p->buffers[1] : p->buffers[0];
    network_backward(&p->generator, &p->model->generator, p->backend, p->weights,
                     p->result->gradient, 0, dfake, other, count, &p->work, listener);
}
