/*
 * unit.c - a unit on its device: memory, the beginning, what is final, the end
 */
#include "passes.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- memory ---- */

/* Checks that every matrix dimension of a minibatch fits the BLAS's int. */
static int fits_blas(const dcgan_model *model, size_t batch) {
    size_t rows;
    return !__builtin_mul_overflow(batch, model->image_count, &rows) && rows <= INT_MAX;
}

static const dcgan_backend *backend_of(const dcgan_passes *p) {
    return p->device ? p->device->backend : &dcgan_backend_cpu;
}

/* Lays out the device's memory, and returns the scratch memory. */
static tensor take_tensors(dcgan_passes *p, dcgan_arena *arena, size_t batch) {
    const dcgan_model *model = p->model;
    size_t g = network_widest(&model->generator), d = network_widest(&model->discriminator),
           sg = network_scratch_count(&model->generator, backend_of(p), batch),
           sd = network_scratch_count(&model->discriminator, backend_of(p), batch);

    tape_take(&p->generator, arena, &model->generator, batch);
    tape_take(&p->discriminator, arena, &model->discriminator, batch);
    p->images = tape_output(&p->generator, &model->generator);
    p->dlogits = arena_take(arena, batch, 1);
    p->buffers[0] = arena_take(arena, batch, g > d ? g : d);
    p->buffers[1] = arena_take(arena, batch, g > d ? g : d);
    p->sums = arena_take_sums(arena, model->statistics_count + PASSES_SUM_COUNT);
    if (p->local) {
        p->weights = arena_take(arena, model->parameter_count, 1);
        p->moment1 = arena_take(arena, model->parameter_count, 1);
        p->moment2 = arena_take(arena, model->parameter_count, 1);
    }
    if (!backend_of(p)->on_host) { /* of its own, where others use the caller's */
        if (!p->local)
            p->weights = arena_take(arena, model->parameter_count, 1);
        p->gradient = arena_take(arena, model->parameter_count, 1);
        p->latent = arena_take(arena, batch, model->config.latent);
    }
    return arena_take(arena, sg > sd ? sg : sd, 1);
}

/* Lays out the host's memory. */
static void take_host(dcgan_passes *p, dcgan_arena *arena, size_t batch) {
    for (size_t i = 0; i < PASSES_AHEAD; i++)
        p->noise[i] = arena_take_reals(arena, batch, p->model->config.latent);
    p->host_sums = arena_take_doubles(arena, p->model->statistics_count + PASSES_SUM_COUNT);
}

dcgan_status passes_measure(dcgan_passes *p, size_t batch, size_t *bytes, size_t *reals) {
    const dcgan_arena nothing = {0};
    dcgan_arena host = {0}, own = {0};

    if (batch < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (!fits_blas(p->model, batch))
        return DCGAN_TOO_LARGE;
    take_host(p, &host, batch);
    take_tensors(p, &own, batch);
    *reals = own.used;
    if (own.overflow)
        return DCGAN_TOO_LARGE;
    return arena_end(&host, backend_of(p)->on_host ? &own : &nothing, bytes);
}

/* Lays out all memory: a backend on the host gets what the host's own part leaves. */
static dcgan_status take_memory(dcgan_passes *p, void *workspace, size_t reals) {
    dcgan_arena host = arena_begin(workspace), own = {0};

    take_host(p, &host, p->unit->batch);
    own.memory = tensor_at(host.memory, host.used);
    if (!p->device->backend->on_host)
        TRY(p->device->backend->reserve(p->device, reals, &own.memory));
    p->device->scratch = take_tensors(p, &own, p->unit->batch);
    return DCGAN_OK;
}

/* ---- the beginning and the end ---- */

static dcgan_status check(const dcgan_passes *p, const void *workspace) {
    const dcgan_unit *unit = p->unit;

    return unit->weights && unit->images && workspace && unit->count >= 1 && unit->threads >= 1 &&
                   p->result->gradient && p->result->statistics
               ? DCGAN_OK
               : DCGAN_INVALID_ARGUMENT;
}

/* Gives the device the weights, and clears what is added to. */
static dcgan_status write_vectors(dcgan_passes *p) {
    const dcgan_backend *b = p->device->backend;
    size_t count = p->model->parameter_count;

    if (b->on_host) {
        if (!p->local)
            p->weights = tensor_on_host(p->unit->weights);
        p->gradient = tensor_on_host(p->result->gradient);
    } else /* what no network is asked for stays zero */
        memset(p->result->gradient, 0, count * sizeof(real));
    TRY(b->write(p->device, p->weights, p->unit->weights, count));
    TRY(b->zero(p->device, p->gradient, count));
    TRY(b->zero(p->device, p->sums, (p->model->statistics_count + PASSES_SUM_COUNT) * SUM_REALS));
    if (!p->local)
        return DCGAN_OK;
    TRY(b->zero(p->device, p->moment1, count));
    return b->zero(p->device, p->moment2, count);
}

dcgan_status passes_begin(dcgan_passes *p, void *workspace, size_t workspace_bytes) {
    size_t bytes, reals;

    TRY(check(p, workspace));
    TRY(passes_measure(p, p->unit->batch, &bytes, &reals));
    if (workspace_bytes < bytes)
        return DCGAN_WORKSPACE;
    if (!p->device) {
        p->cpu = (dcgan_device){.backend = &dcgan_backend_cpu, .threads = p->unit->threads};
        p->device = &p->cpu;
        TRY(p->device->backend->open(p->device));
    }
    TRY(take_memory(p, workspace, reals));
    return write_vectors(p);
}

/* Tells the caller which parts of the gradient are final, in order. */
static dcgan_status tell_finals(dcgan_passes *p, int wait) {
    while (p->finals_told < p->final_count) {
        const passes_final *f = &p->finals[p->finals_told];
        int passed;

        TRY(p->device->backend->passed(p->device, f->mark, wait, &passed));
        if (!passed)
            break;
        if (p->unit->ready)
            p->unit->ready(p->unit->context, f->first, f->count);
        p->finals_told++;
    }
    return DCGAN_OK;
}

dcgan_status passes_finish(void *passes, size_t first, size_t count) {
    dcgan_passes *p = passes;
    const dcgan_backend *b = p->device->backend;
    passes_final *f = &p->finals[p->final_count++];

    f->first = first;
    f->count = count;
    TRY(b->read(p->device, p->result->gradient + first, tensor_at(p->gradient, first), count));
    TRY(b->mark(p->device, &f->mark));
    return tell_finals(p, 0);
}

/* Waits for the results; turns sums into means and looks for NaN and infinity in all of them. */
static dcgan_status finish_result(dcgan_passes *p) {
    const dcgan_backend *b = p->device->backend;
    dcgan_unit_result *r = p->result;
    const double images = (double)p->unit->count, *sums = p->host_sums + p->model->statistics_count;

    TRY(b->finite(p->device, passes_sum(p, SUM_FINITE), p->gradient, p->model->parameter_count));
    TRY(tell_finals(p, 1));
    TRY(b->read_sums(p->device, p->host_sums, p->sums,
                     p->model->statistics_count + PASSES_SUM_COUNT));
    r->loss_d = sums[SUM_LOSS_D] / images;
    r->loss_g = sums[SUM_LOSS_G] / images;
    r->accuracy_real = sums[SUM_RIGHT_REAL] / images;
    r->accuracy_fake = sums[SUM_RIGHT_FAKE] / images;
    dcgan_statistics_finish(p->model, r->statistics, p->host_sums);
    return isfinite(r->loss_d) && isfinite(r->loss_g) && isfinite(sums[SUM_FINITE]) &&
                   dcgan_finite(r->statistics, p->model->statistics_count, NULL)
               ? DCGAN_OK
               : DCGAN_NOT_FINITE;
}

/* Waits until the device no longer uses the caller's memory. Whatever failed has been told. */
static void settle(dcgan_passes *p) {
    uint64_t mark;
    int passed;

    if (p->device->backend->mark(p->device, &mark) == DCGAN_OK)
        (void)p->device->backend->passed(p->device, mark, 1, &passed);
}

dcgan_status passes_end(dcgan_passes *p, dcgan_status status) {
    if (status == DCGAN_OK)
        status = finish_result(p);
    if (p->device && status != DCGAN_OK)
        settle(p);
    if (p->device == &p->cpu)
        p->device->backend->close(p->device);
    return status;
}

/* ---- minibatches ---- */

dcgan_status passes_begin_minibatch(dcgan_passes *p) {
    int passed;

    if (p->minibatch < PASSES_AHEAD)
        return DCGAN_OK;
    return p->device->backend->passed(p->device, p->marks[p->minibatch % PASSES_AHEAD], 1, &passed);
}

dcgan_status passes_end_minibatch(dcgan_passes *p) {
    return p->device->backend->mark(p->device, &p->marks[p->minibatch++ % PASSES_AHEAD]);
}

dcgan_status passes_continue(const dcgan_passes *p, size_t first) {
    size_t ahead = p->device->backend->on_host ? 0 : PASSES_AHEAD * p->unit->batch,
           done = first > ahead ? first - ahead : 0;

    return p->unit->progress && p->unit->progress(p->unit->context, done) ? DCGAN_CANCELLED
                                                                          : DCGAN_OK;
}
