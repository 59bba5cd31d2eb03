/*
 * draw.c - gan_generate and gan_interpolate: generated images as one PNG, in the server
 */
#include "generator.h"
#include "../../formats/sheet/sheet.h"

#include "miscadmin.h"

#define MAX_IMAGES 4096 /* at 128x128 in colour a sheet of 200 MB, below the 1 GB of a value */
#define MAX_STEPS 256

/* Refuses a number of images that is out of range. */
static void require_count(const char *name, int32 n, int32 least, int32 most, int32 example) {
    if (n < least || n > most)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("%s is %d, but must be between %d and %d", name, n, least, most),
                        errhint("For example: %s => %d", name, example)));
}

/* Lays images out in rows of a number of columns. */
static unsigned char *lay_out(const unsigned char *images, size_t n, size_t columns,
                              const dcgan_config *config) {
    size_t size = config->image_size, row = size * config->channels, width = columns * row;
    unsigned char *sheet = palloc_extended((n + columns - 1) / columns * size * width,
                                           MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

    for (size_t i = 0; i < n; i++)
        for (size_t y = 0; y < size; y++)
            memcpy(sheet + (i / columns * size + y) * width + i % columns * row,
                   images + (i * size + y) * row, row);
    return sheet;
}

/* Makes a PNG of n images; the value outlives SPI. */
static bytea *to_png(const unsigned char *images, size_t n, size_t columns,
                     const dcgan_config *config, MemoryContext caller) {
    size_t width = columns * config->image_size,
           height = (n + columns - 1) / columns * config->image_size, size,
           capacity = png_capacity(width, height, config->channels);
    bytea *png = MemoryContextAlloc(caller, VARHDRSZ + capacity);

    if (png_encode((unsigned char *)VARDATA(png), capacity, &size,
                   lay_out(images, n, columns, config), width, height, config->channels) != 0)
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not write the PNG")));
    SET_VARSIZE(png, VARHDRSZ + size);
    return png;
}

/* Chooses what to draw by a function's argument. Null means the average if there is one, and so
 * does a missing argument (0.1.0 had no such argument, and until ALTER EXTENSION … UPDATE its
 * functions call this library). */
static gan_part part_wanted(FunctionCallInfo fcinfo, int argument, const gan_run *run) {
    if (PG_NARGS() <= argument || PG_ARGISNULL(argument))
        return gan_generator_part(run);
    if (PG_GETARG_BOOL(argument) && !gan_run_has(run, GAN_AVERAGE))
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("run %d keeps no moving average of the generator's weights", run->run),
                 errhint("gan_create_run(..., average_decay => 0.999) makes one that does.")));
    return PG_GETARG_BOOL(argument) ? GAN_AVERAGE : GAN_WEIGHTS;
}

PG_FUNCTION_INFO_V1(gan_generate);

/* Returns a sheet of n images as one PNG; the generator runs in evaluation mode. */
Datum gan_generate(PG_FUNCTION_ARGS) {
    int32 n = PG_ARGISNULL(0) ? 64 : PG_GETARG_INT32(0);
    int64 seed = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
    MemoryContext caller = CurrentMemoryContext;
    unsigned char *images;
    gan_generator g;
    gan_run run;
    bytea *png;

    require_count("n", n, 1, MAX_IMAGES, 64);
    SPI_connect();
    gan_run_read(&run, gan_run_find(fcinfo, 2), false);
    gan_generator_read(&g, &run, PG_ARGISNULL(3) ? run.iteration : PG_GETARG_INT32(3),
                       part_wanted(fcinfo, 4, &run));
    images = palloc_extended((size_t)n * run.model.image_count, MCXT_ALLOC_HUGE);
    gan_generator_draw(&g, seed, (size_t)n, images);
    png = to_png(images, (size_t)n, sheet_columns((size_t)n), &run.model.config, caller);
    SPI_finish();
    PG_RETURN_BYTEA_P(png);
}

PG_FUNCTION_INFO_V1(gan_interpolate);

/* Returns a strip of images that leads from the first image of one seed to that of another. */
Datum gan_interpolate(PG_FUNCTION_ARGS) {
    int32 steps = PG_ARGISNULL(2) ? 8 : PG_GETARG_INT32(2);
    MemoryContext caller = CurrentMemoryContext;
    float *ends[2], *vectors;
    unsigned char *images;
    size_t latent;
    gan_generator g;
    gan_run run;
    bytea *png;

    if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a strip needs two seeds"),
                        errhint("For example: SELECT gan_interpolate(1, 2)")));
    require_count("steps", steps, 2, MAX_STEPS, 8);
    SPI_connect();
    gan_run_read(&run, gan_run_find(fcinfo, 3), false);
    gan_generator_read(&g, &run, PG_ARGISNULL(4) ? run.iteration : PG_GETARG_INT32(4),
                       part_wanted(fcinfo, 5, &run));
    latent = run.model.config.latent;
    vectors = palloc((size_t)steps * latent * sizeof *vectors);
    for (int end = 0; end < 2; end++) {
        ends[end] = palloc(latent * sizeof *ends[end]);
        dcgan_sample_latent(&run.model, (uint64)PG_GETARG_INT64(end), 0, ends[end]);
    }
    for (int32 i = 0; i < steps; i++)
        dcgan_interpolate(ends[0], ends[1], latent, (double)i / (steps - 1),
                          vectors + (size_t)i * latent);
    images = palloc_extended((size_t)steps * run.model.image_count, MCXT_ALLOC_HUGE);
    gan_generator_draw_from(&g, vectors, (size_t)steps, images);
    png = to_png(images, (size_t)steps, (size_t)steps, &run.model.config, caller);
    SPI_finish();
    PG_RETURN_BYTEA_P(png);
}
