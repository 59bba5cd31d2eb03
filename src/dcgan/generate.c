/*
 * generate.c - images from a seed, with batch norm in evaluation mode
 */
#include "cpu/gemm.h"
#include "net/network.h"

#include <math.h>

typedef struct generate_state {
    dcgan_tape tape;
    real *latent;
    dcgan_work work;
} generate_state;

/* Lays out the workspace. */
static void take_state(generate_state *s, dcgan_arena *arena, const dcgan_model *model,
                       size_t batch) {
    tape_take(&s->tape, arena, &model->generator, batch);
    s->latent = arena_take(arena, batch, model->config.latent);
    s->work.scratch =
        arena_take(arena, network_scratch_count(&model->generator, &dcgan_backend_cpu, batch), 1);
}

dcgan_status dcgan_generate_workspace(const dcgan_model *model, size_t batch, size_t *bytes) {
    generate_state state = {0};
    dcgan_arena arena = arena_begin(NULL);

    if (batch < 1)
        return DCGAN_INVALID_ARGUMENT;
    if (batch > 4096) /* rows of the largest matrix must fit the BLAS's int */
        return DCGAN_TOO_LARGE;
    take_state(&state, &arena, model, batch);
    return arena_end(&arena, bytes);
}

/* Checks the arguments and lays out the workspace. */
static dcgan_status begin(generate_state *state, const dcgan_model *model, size_t batch,
                          void *workspace, size_t workspace_bytes) {
    dcgan_arena arena = arena_begin(workspace);
    size_t needed;
    dcgan_status status = dcgan_generate_workspace(model, batch, &needed);

    if (status != DCGAN_OK)
        return status;
    if (!workspace || workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    take_state(state, &arena, model, batch);
    return DCGAN_OK;
}

/* Runs the generator on vectors[batch][latent]. */
static dcgan_status forward(generate_state *state, const dcgan_model *model, const real *weights,
                            const real *running_statistics, const real *vectors, size_t batch,
                            real *images) {
    const real *output;

    gemm_begin();
    state->tape.input = vectors;
    output = network_forward(&state->tape, &model->generator, &dcgan_backend_cpu, weights,
                             running_statistics, batch, &state->work);
    for (size_t i = 0; i < batch * model->image_count; i++)
        images[i] = output[i];
    return dcgan_finite(images, batch * model->image_count, NULL) ? DCGAN_OK : DCGAN_NOT_FINITE;
}

dcgan_status dcgan_generate_from(const dcgan_model *model, const real *weights,
                                 const real *running_statistics, const real *vectors, size_t batch,
                                 real *images, void *workspace, size_t workspace_bytes) {
    generate_state state = {0};
    dcgan_status status = begin(&state, model, batch, workspace, workspace_bytes);

    return status != DCGAN_OK
               ? status
               : forward(&state, model, weights, running_statistics, vectors, batch, images);
}

dcgan_status dcgan_generator_statistics(const dcgan_model *model, const real *weights,
                                        uint64_t seed, size_t batch, size_t parts, real *statistics,
                                        double *sums, void *workspace, size_t workspace_bytes) {
    generate_state state = {0};
    dcgan_status status = begin(&state, model, batch, workspace, workspace_bytes);

    if (status != DCGAN_OK || parts < 1)
        return status != DCGAN_OK ? status : DCGAN_INVALID_ARGUMENT;
    gemm_begin();
    for (size_t j = 0; j < model->statistics_count; j++)
        sums[j] = 0;
    for (size_t part = 0; part < parts; part++) {
        for (size_t i = 0; i < batch; i++) /* vectors that no sheet shows */
            dcgan_sample_latent(model, seed, UINT32_MAX - (uint32_t)(part * batch + i),
                                state.latent + i * model->config.latent);
        state.tape.input = state.latent;
        (void)network_forward(&state.tape, &model->generator, &dcgan_backend_cpu, weights, NULL,
                              batch, &state.work);
        tape_add_statistics(&state.tape, &model->generator, sums, 1.0 / (double)parts);
    }
    dcgan_statistics_finish(model, statistics, sums);
    return DCGAN_OK;
}

void dcgan_sample_latent(const dcgan_model *model, uint64_t seed, uint32_t i, real *vector) {
    dcgan_noise(seed, i, 0, DCGAN_STREAM_SAMPLE, model->config.latent, vector);
}

dcgan_status dcgan_generate(const dcgan_model *model, const real *weights,
                            const real *running_statistics, uint64_t seed, uint32_t first,
                            size_t batch, real *images, void *workspace, size_t workspace_bytes) {
    generate_state state = {0};
    dcgan_status status = begin(&state, model, batch, workspace, workspace_bytes);

    if (status != DCGAN_OK)
        return status;
    for (size_t i = 0; i < batch; i++)
        dcgan_sample_latent(model, seed, first + (uint32_t)i,
                            state.latent + i * model->config.latent);
    return forward(&state, model, weights, running_statistics, state.latent, batch, images);
}

void dcgan_interpolate(const real *a, const real *b, size_t count, double share, real *between) {
    double aa = 0, bb = 0, ab = 0, cosine, angle, from = 1 - share, to = share;

    for (size_t i = 0; i < count; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    cosine = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 1;
    if (cosine > -0.9999 && cosine < 0.9999) {
        angle = acos(cosine);
        from = sin((1 - share) * angle) / sin(angle);
        to = sin(share * angle) / sin(angle);
    }
    for (size_t i = 0; i < count; i++)
        between[i] = (real)(from * (double)a[i] + to * (double)b[i]);
}

/* Rounds x in [-1, 1] to the 8-bit sample it stands for; what is outside is clipped. */
uint8_t dcgan_to_sample(real x) {
    double sample = ((double)x + 1.0) * 127.5 + 0.5;
    return sample >= 255.0 ? 255 : sample > 0 ? (uint8_t)sample : 0;
}
