/*
 * initialise.c - a run's first weights
 */
#include "store.h"

#include "miscadmin.h"
#include "utils/memutils.h"

/* Stores one shard of initial weights, which workers download unchanged, and moments of zero if
 * there are any. */
static void store_initial_shard(const gan_run *run, gan_pieces *state, int32 shard) {
    size_t count = gan_shard_length(&run->model, shard), size = blob_size(count);
    unsigned char *blob = gan_blob_new(count);

    dcgan_initialise(&run->model, (uint64)run->seed, (size_t)shard * SHARD_COUNT, count,
                     gan_blob_values(blob));
    gan_blob_seal(blob, count);
    gan_pieces_write(state, GAN_WEIGHTS, shard, blob, size, NULL, 0);
    if (gan_run_has(run, GAN_COPY))
        gan_pieces_write(state, GAN_COPY, shard, blob, size, NULL, 0);
    if (gan_shard_has(run, GAN_AVERAGE, shard))
        gan_pieces_write(state, GAN_AVERAGE, shard, blob, size, NULL, 0);
    memset(gan_blob_values(blob), 0, count * sizeof(float));
    gan_blob_seal(blob, count);
    for (int part = GAN_FIRST_MOMENT; part < run->optimiser_parts; part++)
        gan_pieces_write(state, part, shard, blob, size, NULL, 0);
}

/* Stores running statistics of mean 0 and variance 1: they are the shard after the last of the
 * weights. */
static void store_initial_statistics(const gan_run *run, gan_pieces *state) {
    size_t count = run->model.statistics_count;
    unsigned char *running = gan_blob_new(count);

    dcgan_initialise_statistics(&run->model, gan_blob_values(running));
    gan_blob_seal(running, count);
    gan_pieces_write(state, GAN_WEIGHTS, run->shards, running, blob_size(count), NULL, 0);
}

PG_FUNCTION_INFO_V1(gan_initialise);

/* Writes the weights, moments and statistics of iteration 0. */
Datum gan_initialise(PG_FUNCTION_ARGS) {
    MemoryContext outer = CurrentMemoryContext, one;
    gan_pieces state;
    gan_run run;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    gan_pieces_open_to_write(&state, GAN_STATE, run.run, 0);
    one =
        AllocSetContextCreate(CurrentMemoryContext, "gan_initialise shard", ALLOCSET_DEFAULT_SIZES);
    for (int32 shard = 0; shard < run.shards; shard++) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(one);
        store_initial_shard(&run, &state, shard);
        MemoryContextReset(one);
    }
    MemoryContextSwitchTo(outer);
    store_initial_statistics(&run, &state);
    gan_pieces_close(&state);
    SPI_finish();
    PG_RETURN_VOID();
}
