/*
 * generator.c - holds an iteration's generator in memory and draws images, a few at a time
 */
#include "generator.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#define BATCH 32 /* images generated at a time: bounds the memory */
#define PARTS 4  /* batches that the average's statistics are computed of */

/* Reads the generator's part of the weights; null if the iteration is not held. */
static float *read_weights(const gan_run *run, gan_pieces *state, gan_part part) {
    int32 shards = (int32)shard_total(run->model.generator.count);
    float *weights = palloc_extended(shards * SHARD_COUNT * sizeof *weights, MCXT_ALLOC_HUGE);
    unsigned char *blob = gan_blob_new(SHARD_COUNT);

    for (int32 shard = 0; shard < shards; shard++) {
        size_t length = gan_shard_length(&run->model, shard);
        CHECK_FOR_INTERRUPTS();
        if (!gan_state_read(state, part, shard, blob, length))
            return NULL;
        memcpy(weights + (size_t)shard * SHARD_COUNT, gan_blob_values(blob),
               length * sizeof *weights);
    }
    return weights;
}

/* Reads the running statistics; null if the iteration is not held. */
static float *read_running(const gan_run *run, gan_pieces *state) {
    unsigned char *blob = gan_blob_new(run->model.statistics_count);
    return gan_state_read(state, GAN_WEIGHTS, run->shards, blob, run->model.statistics_count)
               ? gan_blob_values(blob)
               : NULL;
}

static dcgan_generator source(const gan_generator *g) {
    return (dcgan_generator){.model = &g->run->model,
                             .weights = g->weights,
                             .running_statistics = g->running,
                             .workspace = g->workspace,
                             .workspace_bytes = g->bytes};
}

/* Computes statistics for the moving average: the running statistics belong to the weights
 * themselves, which differ from their average. */
static void calibrate(gan_generator *g) {
    const dcgan_generator generator = source(g);

    CHECK_FOR_INTERRUPTS();
    gan_check_status(
        dcgan_generator_statistics(&generator, (uint64)g->run->seed, BATCH, PARTS, g->running));
}

gan_part gan_generator_part(const gan_run *run) {
    return gan_run_has(run, GAN_AVERAGE) ? GAN_AVERAGE : GAN_WEIGHTS;
}

void gan_generator_read(gan_generator *g, const gan_run *run, int32 iteration, gan_part part) {
    gan_pieces state;

    memset(g, 0, sizeof *g);
    g->run = run;
    if (iteration >= 0) {
        gan_pieces_open(&state, GAN_STATE, run->run, iteration, GetActiveSnapshot());
        /* a step that failed may have begun to overwrite it */
        state.lenient = iteration != run->iteration;
        g->weights = read_weights(run, &state, part);
        g->running = g->weights ? read_running(run, &state) : NULL;
        gan_pieces_close(&state);
    }
    if (!g->running)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("the weights of iteration %d are not held", iteration),
                        errhint("Run %d is at iteration %d; the one before is held too.", run->run,
                                run->iteration)));
    gan_check_status(dcgan_generate_workspace(&run->model, NULL, BATCH, &g->bytes));
    g->workspace = palloc_extended(g->bytes, MCXT_ALLOC_HUGE);
    g->images =
        palloc_extended(BATCH * run->model.image_count * sizeof *g->images, MCXT_ALLOC_HUGE);
    if (part == GAN_AVERAGE)
        calibrate(g);
}

/* Rounds count images of a batch to samples. */
static void to_samples(const gan_generator *g, size_t count, unsigned char *samples) {
    for (size_t i = 0; i < count * g->run->model.image_count; i++)
        samples[i] = dcgan_to_sample(g->images[i]);
}

void gan_generator_draw_from(gan_generator *g, const float *vectors, size_t count,
                             unsigned char *samples) {
    const dcgan_model *model = &g->run->model;
    const dcgan_generator generator = source(g);

    for (size_t first = 0; first < count; first += BATCH) {
        size_t n = Min(count - first, BATCH);
        CHECK_FOR_INTERRUPTS();
        gan_check_status(
            dcgan_generate_from(&generator, vectors + first * model->config.latent, n, g->images));
        to_samples(g, n, samples + first * model->image_count);
    }
}

void gan_generator_draw(gan_generator *g, int64 seed, size_t count, unsigned char *samples) {
    const dcgan_model *model = &g->run->model;
    const dcgan_generator generator = source(g);

    for (size_t first = 0; first < count; first += BATCH) {
        size_t n = Min(count - first, BATCH);
        CHECK_FOR_INTERRUPTS();
        gan_check_status(dcgan_generate(&generator, (uint64)seed, (uint32)first, n, g->images));
        to_samples(g, n, samples + first * model->image_count);
    }
}
