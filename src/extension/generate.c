/*
 * generate.c - gan_generate: a sheet of generated images, as a PNG, in the server
 */
#include "gannsfriends.h"
#include "sheet.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#define MAX_IMAGES 4096 /* at 128x128 in colour a sheet of 200 MB, below the 1 GB of a value */
#define BATCH 16        /* images generated at a time: bounds the memory */

/* Reads the generator's part of the weights; null if the iteration is not held. */
static float *read_generator(const gan_run *run, gan_pieces *state) {
    int32 shards = (int32)shard_total(run->model.generator.count);
    float *weights = palloc_extended(shards * SHARD_COUNT * sizeof *weights, MCXT_ALLOC_HUGE);
    unsigned char *blob = gan_blob_new(SHARD_COUNT);

    for (int32 shard = 0; shard < shards; shard++) {
        size_t length = gan_shard_length(&run->model, shard);
        CHECK_FOR_INTERRUPTS();
        if (!gan_state_read(state, GAN_WEIGHTS, shard, blob, length))
            return NULL;
        memcpy(weights + (size_t)shard * SHARD_COUNT, gan_blob_values(blob), length * sizeof *weights);
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

/* Chooses the columns of a sheet of n images: about square. */
static size_t sheet_columns(size_t n) {
    size_t columns = 1;
    while (columns * columns < n)
        columns++;
    return columns;
}

/* Puts one image of values in [-1, 1] into its place on the sheet. */
static void place_image(unsigned char *sheet, size_t columns, size_t index, const float *image,
                        const dcgan_config *config) {
    size_t size = config->image_size, row = size * config->channels, width = columns * row;
    unsigned char *corner = sheet + index / columns * size * width + index % columns * row;

    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < row; x++)
            corner[y * width + x] = dcgan_to_sample(image[y * row + x]);
}

/* Generates n images onto the sheet, a few at a time. */
static void fill_sheet(unsigned char *sheet, size_t columns, const gan_run *run, const float *weights,
                       const float *running, int64 seed, size_t n) {
    size_t bytes;
    void *workspace;
    float *images = palloc(BATCH * run->model.image_count * sizeof *images);

    gan_check_status(dcgan_generate_workspace(&run->model, BATCH, &bytes));
    workspace = palloc_extended(bytes, MCXT_ALLOC_HUGE);
    for (size_t first = 0; first < n; first += BATCH) {
        size_t count = Min(n - first, BATCH);
        CHECK_FOR_INTERRUPTS();
        gan_check_status(dcgan_generate(&run->model, weights, running, (uint64)seed, (uint32_t)first, count,
                                        images, workspace, bytes));
        for (size_t i = 0; i < count; i++)
            place_image(sheet, columns, first + i, images + i * run->model.image_count, &run->model.config);
    }
}

PG_FUNCTION_INFO_V1(gan_generate);

/* Returns a sheet of n images as one PNG; the generator runs in evaluation mode. */
Datum gan_generate(PG_FUNCTION_ARGS) {
    int32 n = PG_ARGISNULL(0) ? 64 : PG_GETARG_INT32(0), iteration;
    int64 seed = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
    MemoryContext caller = CurrentMemoryContext;
    size_t columns, width, height, channels, capacity, size;
    unsigned char *sheet;
    float *weights = NULL, *running = NULL;
    gan_pieces state;
    bytea *png;
    gan_run run;

    if (n < 1 || n > MAX_IMAGES)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("n is %d, but must be between 1 and %d", n, MAX_IMAGES),
                        errhint("For example: n => 64")));
    SPI_connect();
    gan_run_read(&run, gan_run_find(fcinfo, 2), false);
    iteration = PG_ARGISNULL(3) ? run.iteration : PG_GETARG_INT32(3);
    if (iteration >= 0) {
        gan_pieces_open(&state, GAN_STATE, run.run, iteration, GetActiveSnapshot());
        state.lenient = iteration != run.iteration; /* a step that failed may have begun to overwrite it */
        weights = read_generator(&run, &state);
        running = weights ? read_running(&run, &state) : NULL;
        gan_pieces_close(&state);
    }
    if (!running)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("the weights of iteration %d are not held", iteration),
                 errhint("Run %d is at iteration %d; the one before is held too.", run.run, run.iteration)));
    columns = sheet_columns((size_t)n);
    channels = run.model.config.channels;
    width = columns * run.model.config.image_size;
    height = ((size_t)n + columns - 1) / columns * run.model.config.image_size;
    sheet = palloc_extended(width * height * channels, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
    fill_sheet(sheet, columns, &run, weights, running, seed, (size_t)n);

    capacity = png_capacity(width, height, channels);
    png = MemoryContextAlloc(caller, VARHDRSZ + capacity);
    if (png_encode((unsigned char *)VARDATA(png), capacity, &size, sheet, width, height, channels) != 0)
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not write the PNG")));
    SET_VARSIZE(png, VARHDRSZ + size);
    SPI_finish();
    PG_RETURN_BYTEA_P(png);
}
