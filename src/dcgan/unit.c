/*
 * unit.c - both gradients of a work unit at the same weights (docs/format.md section 6)
 */
#include "loss.h"
#include "network.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

/* Everything the passes of a minibatch share. */
typedef struct unit_state {
    const dcgan_model *model;
    const dcgan_backend *backend;
    const dcgan_unit *unit;
    dcgan_unit_result *result;
    dcgan_tape generator, discriminator;
    real *images;            /* [batch][image] the minibatch's real images in [-1, 1] */
    real *latent;            /* [batch][latent] */
    real *dlogits;           /* [batch] */
    real *buffers[2];        /* [batch][widest] derivatives, back and forth */
    dcgan_work work;         /* scratch memory and threads */
    double *statistics_sums; /* [statistics_count] */
} unit_state;

/* Lays out the workspace for minibatches of up to batch images. */
static void take_state(unit_state *s, dcgan_arena *arena, size_t batch) {
    const dcgan_model *model = s->model;
    size_t g = network_widest(&model->generator), d = network_widest(&model->discriminator);
    size_t sg = network_scratch_count(&model->generator, s->backend, batch);
    size_t sd = network_scratch_count(&model->discriminator, s->backend, batch);

    tape_take(&s->generator, arena, &model->generator, batch);
    tape_take(&s->discriminator, arena, &model->discriminator, batch);
    s->images = arena_take(arena, batch, model->image_count);
    s->latent = arena_take(arena, batch, model->config.latent);
    s->dlogits = arena_take(arena, batch, 1);
    s->buffers[0] = arena_take(arena, batch, g > d ? g : d);
    s->buffers[1] = arena_take(arena, batch, g > d ? g : d);
    s->work.scratch = arena_take(arena, sg > sd ? sg : sd, 1);
    s->statistics_sums = arena_take_doubles(arena, model->statistics_count);
}

/* Checks that every matrix dimension of a minibatch fits the BLAS's int. */
static int fits_blas(const dcgan_model *model, size_t batch) {
    size_t rows;
    return !__builtin_mul_overflow(batch, model->image_count, &rows) && rows <= INT_MAX;
}

/* Computes the bytes of workspace that units with minibatches of up to batch images need. */
dcgan_status dcgan_unit_workspace(const dcgan_model *model, size_t batch, size_t *bytes) {
    unit_state state = {.model = model, .backend = &dcgan_backend_cpu};
    dcgan_arena arena = arena_begin(NULL);

    if (batch < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (!fits_blas(model, batch))
        return DCGAN_TOO_LARGE;
    take_state(&state, &arena, batch);
    return arena_end(&arena, bytes);
}

/* Counts logits on the right side of zero, which belongs to neither side. */
static size_t count_right(const real *logits, size_t count, int real_images) {
    size_t right = 0;
    for (size_t i = 0; i < count; i++)
        right += real_images ? logits[i] > 0 : logits[i] < 0;
    return right;
}

/* Runs the discriminator on images; returns the logits. */
static const real *judge(unit_state *s, const real *images, size_t count) {
    s->discriminator.input = images;
    return network_forward(&s->discriminator, &s->model->discriminator, s->backend, s->unit->weights, NULL,
                           count, &s->work);
}

/*
 * Backpropagates the loss that wants the logits to be target through the discriminator. Each image weighs 1 /
 * unit's images, so that minibatches add up to the unit's mean, a short last one by its images. For the
 * discriminator's own loss the gradient of its weights is wanted, for the generator's loss only the derivative
 * of the image: neither gets anything of the other's.
 */
static real *judge_backward(unit_state *s, const real *logits, size_t count, double target, int own_loss,
                            const network_listener *listener) {
    loss_backward(s->buffers[0], logits, count, target, 1.0 / (double)s->unit->count);
    return network_backward(&s->discriminator, &s->model->discriminator, s->backend, s->unit->weights,
                            own_loss ? s->result->gradient : NULL, !own_loss, s->buffers[0], s->buffers[1],
                            count, &s->work, listener);
}

/* Learns from real images first … first + count - 1 of the unit. */
static void real_pass(unit_state *s, size_t first, size_t count) {
    size_t floats = count * s->model->image_count;
    const uint8_t *samples = s->unit->images + first * s->model->image_count;
    const real *logits;

    for (size_t i = 0; i < floats; i++)
        s->images[i] = (real)((float)samples[i] / 127.5f - 1.0f);
    logits = judge(s, s->images, count);
    s->result->loss_d += loss_real(logits, count);
    s->result->accuracy_real += (double)count_right(logits, count, 1);
    tape_add_statistics(&s->discriminator, &s->model->discriminator, s->statistics_sums,
                        0.5 * (double)count / (double)s->unit->count);
    judge_backward(s, logits, count, 1.0, 1, NULL);
}

/* Learns from as many generated images: one forward pass of both networks serves both losses. */
static void fake_pass(unit_state *s, size_t first, size_t count) {
    const dcgan_unit *unit = s->unit;
    size_t latent = s->model->config.latent;
    double share = (double)count / (double)unit->count;
    const real *fake, *logits;
    real *dfake, *other;
    const network_listener ready = {unit->ready, unit->context};
    /* What the last minibatch has added up is final. */
    const network_listener *listener = unit->ready && first + count == unit->count ? &ready : NULL;

    for (size_t i = 0; i < count; i++)
        dcgan_noise(unit->seed, (uint32_t)(unit->position + first + i), unit->iteration, DCGAN_STREAM_UNIT,
                    latent, s->latent + i * latent);
    s->generator.input = s->latent;
    fake =
        network_forward(&s->generator, &s->model->generator, s->backend, unit->weights, NULL, count, &s->work);
    logits = judge(s, fake, count);

    s->result->loss_d += loss_fake(logits, count);
    s->result->loss_g += loss_real(logits, count);
    s->result->accuracy_fake += (double)count_right(logits, count, 0);
    tape_add_statistics(&s->generator, &s->model->generator, s->statistics_sums, share);
    tape_add_statistics(&s->discriminator, &s->model->discriminator, s->statistics_sums, 0.5 * share);

    judge_backward(s, logits, count, 0.0, 1, listener);
    dfake = judge_backward(s, logits, count, 1.0, 0, NULL);
    other = dfake == s->buffers[0] ? s->buffers[1] : s->buffers[0];
    network_backward(&s->generator, &s->model->generator, s->backend, unit->weights, s->result->gradient, 0,
                     dfake, other, count, &s->work, listener);
}

/* Asks the caller whether to go on. */
static int cancelled(const dcgan_unit *unit, size_t images_done) {
    return unit->progress && unit->progress(unit->context, images_done);
}

/* Runs all minibatches; the result holds sums afterwards. */
static dcgan_status run_minibatches(unit_state *s) {
    const dcgan_unit *unit = s->unit;

    for (size_t first = 0; first < unit->count; first += unit->batch) {
        size_t count = unit->count - first < unit->batch ? unit->count - first : unit->batch;
        if (cancelled(unit, first))
            return DCGAN_CANCELLED;
        real_pass(s, first, count);
        if (cancelled(unit, first))
            return DCGAN_CANCELLED;
        fake_pass(s, first, count);
    }
    return DCGAN_OK;
}

/* Turns sums into means and looks for NaN and infinity in all of the result. */
static dcgan_status finish_result(unit_state *s) {
    dcgan_unit_result *r = s->result;
    double images = (double)s->unit->count;

    r->loss_d /= images;
    r->loss_g /= images;
    r->accuracy_real /= images;
    r->accuracy_fake /= images;
    dcgan_statistics_finish(s->model, r->statistics, s->statistics_sums);
    if (!isfinite(r->loss_d) || !isfinite(r->loss_g) ||
        !dcgan_finite(r->gradient, s->model->parameter_count, NULL) ||
        !dcgan_finite(r->statistics, s->model->statistics_count, NULL))
        return DCGAN_NOT_FINITE;
    return DCGAN_OK;
}

/* Computes both gradients of a unit at the same weights. The result is undefined on error. */
dcgan_status dcgan_unit_gradients(const dcgan_model *model, const dcgan_unit *unit, dcgan_unit_result *result,
                                  void *workspace, size_t workspace_bytes) {
    unit_state state = {.model = model, .backend = &dcgan_backend_cpu, .unit = unit, .result = result};
    dcgan_arena arena = arena_begin(workspace);
    dcgan_status status;
    size_t needed;
    pool threads;

    if (!unit->weights || !unit->images || !workspace || unit->count < 1 || unit->threads < 1 ||
        !result->gradient || !result->statistics)
        return DCGAN_INVALID_ARGUMENT;
    if ((status = dcgan_unit_workspace(model, unit->batch, &needed)) != DCGAN_OK)
        return status;
    if (workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    take_state(&state, &arena, unit->batch);

    openblas_set_num_threads(1); /* each of ours calls it for itself */
    pool_start(&threads, unit->threads);
    state.work.pool = &threads;
    memset(result->gradient, 0, model->parameter_count * sizeof(real));
    memset(state.statistics_sums, 0, model->statistics_count * sizeof(double));
    result->loss_d = result->loss_g = result->accuracy_real = result->accuracy_fake = 0;
    status = run_minibatches(&state);
    pool_stop(&threads);
    return status == DCGAN_OK ? finish_result(&state) : status;
}
