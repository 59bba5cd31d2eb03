/*
 * generate.c - images from a seed, with batch norm in evaluation mode
 */
#include "network.h"

#include <cblas.h>

typedef struct generate_state {
    dcgan_tape tape;
    real *latent;
    dcgan_work work;
} generate_state;

/* Lays out the workspace. */
static void take_state(generate_state *s, dcgan_arena *arena, const dcgan_model *model, size_t batch) {
    tape_take(&s->tape, arena, &model->generator, batch);
    s->latent = arena_take(arena, batch, model->config.latent);
    s->work.scratch = arena_take(arena, network_scratch_count(&model->generator, &dcgan_backend_cpu, batch), 1);
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

dcgan_status dcgan_generate(const dcgan_model *model, const real *weights, const real *running_statistics,
                            uint64_t seed, uint32_t first, size_t batch, real *images, void *workspace,
                            size_t workspace_bytes) {
    generate_state state = {0};
    dcgan_arena arena = arena_begin(workspace);
    size_t needed, latent = model->config.latent;
    dcgan_status status = dcgan_generate_workspace(model, batch, &needed);
    const real *output;

    if (status != DCGAN_OK)
        return status;
    if (!workspace || workspace_bytes < needed)
        return DCGAN_WORKSPACE;
    take_state(&state, &arena, model, batch);
    openblas_set_num_threads(1);
    for (size_t i = 0; i < batch; i++)
        dcgan_noise(seed, first + (uint32_t)i, 0, DCGAN_STREAM_SAMPLE, latent, state.latent + i * latent);
    state.tape.input = state.latent;
    output = network_forward(&state.tape, &model->generator, &dcgan_backend_cpu, weights, running_statistics,
                             batch, &state.work);
    for (size_t i = 0; i < batch * model->image_count; i++)
        images[i] = output[i];
    return dcgan_finite(images, batch * model->image_count, NULL) ? DCGAN_OK : DCGAN_NOT_FINITE;
}

/* Rounds x in [-1, 1] to the 8-bit sample it stands for; what is outside is clipped. */
uint8_t dcgan_to_sample(real x) {
    double sample = ((double)x + 1.0) * 127.5 + 0.5;
    return sample >= 255.0 ? 255 : sample > 0 ? (uint8_t)sample : 0;
}
