/*
 * quality.c - the sliced Wasserstein distance between generated images and the workers' real ones
 * (src/quality)
 */
#include "generator.h"

#include "../../quality/swd.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"

/* Checks for a request to cancel; that error may jump out of the library, which holds no
 * resources. */
static int check_interrupts(void *context) {
    (void)context;
    CHECK_FOR_INTERRUPTS();
    return 0;
}

static void require_status(swd_status status, const char *what) {
    if (status != SWD_OK)
        ereport(ERROR, (errcode(status == SWD_NOT_FINITE || status == SWD_IMPOSSIBLE
                                    ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
                                    : ERRCODE_INVALID_BINARY_REPRESENTATION),
                        errmsg("%s %s", what, swd_status_text(status)),
                        errhint("The format is in docs/format.md, section 11.")));
}

/* Returns the numbers of a summary that has the form of one of the run's; raises an error
 * otherwise. */
static const float *summary_of(const gan_run *run, bytea *data, const char *what) {
    size_t count = swd_summary_count(run->model.config.image_size), size = VARSIZE_ANY_EXHDR(data);
    unsigned char *blob = palloc(blob_size(count)); /* aligned for floats */
    blob_status status = blob_check((unsigned char *)VARDATA_ANY(data), size, count);

    if (status != BLOB_OK)
        ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
                        errmsg("%s %s", what, blob_status_text(status)),
                        errdetail("A summary at %u x %u pixels has %zu numbers, %zu bytes with the "
                                  "header; %zu bytes came.",
                                  run->model.config.image_size, run->model.config.image_size, count,
                                  blob_size(count), size),
                        errhint("The format is in docs/format.md, section 11.")));
    memcpy(blob, VARDATA_ANY(data), size);
    return (const float *)(blob + BLOB_HEADER_SIZE);
}

PG_FUNCTION_INFO_V1(gan_check_reference);

/* Raises an error unless a summary from a worker can be a summary of the run's images. */
Datum gan_check_reference(PG_FUNCTION_ARGS) {
    const float *summary;
    gan_run run;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    summary = summary_of(&run, PG_GETARG_BYTEA_PP(1), "the summary");
    require_status(swd_check(summary, run.model.config.image_size, run.model.config.channels),
                   "the summary");
    SPI_finish();
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(gan_reference_difference);

/* Returns the largest difference between the numbers of two summaries of a run. */
Datum gan_reference_difference(PG_FUNCTION_ARGS) {
    const float *summaries[2];
    double difference;
    gan_run run;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    for (int i = 0; i < 2; i++)
        summaries[i] = summary_of(&run, PG_GETARG_BYTEA_PP(1 + i), "the stored summary");
    difference = swd_difference(summaries[0], summaries[1], run.model.config.image_size);
    SPI_finish();
    PG_RETURN_FLOAT8(difference);
}

/* Makes the summary of a number of generated images. */
static float *summarise_generated(const gan_run *run, int32 iteration, size_t count) {
    const dcgan_config *config = &run->model.config;
    swd_set set = {.count = count, .size = config->image_size, .channels = config->channels};
    unsigned char *images = palloc_extended(count * run->model.image_count, MCXT_ALLOC_HUGE);
    float *summary = palloc(swd_summary_count(set.size) * sizeof *summary);
    void *workspace;
    gan_generator g;
    size_t bytes;

    gan_generator_read(&g, run, iteration, gan_generator_part(run));
    gan_generator_draw(&g, run->seed, count, images);
    set.images = images;
    require_status(swd_workspace(count, set.channels, &bytes), "a summary of generated images");
    workspace = palloc_extended(bytes, MCXT_ALLOC_HUGE);
    require_status(
        swd_summarise(&set, (uint64)run->seed, summary, workspace, bytes, check_interrupts, NULL),
        "a summary of generated images");
    pfree(workspace);
    return summary;
}

PG_FUNCTION_INFO_V1(gan_measure_distances);

/* Returns the distance of each level between generated images of an iteration that is held and a
 * summary. */
Datum gan_measure_distances(PG_FUNCTION_ARGS) {
    int32 iteration = PG_GETARG_INT32(1), images = PG_GETARG_INT32(2);
    MemoryContext caller = CurrentMemoryContext, inner;
    double distances[SWD_MAX_LEVELS];
    Datum values[SWD_MAX_LEVELS];
    const float *reference;
    ArrayType *answer;
    gan_run run;
    size_t size;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    size = run.model.config.image_size;
    reference = summary_of(&run, PG_GETARG_BYTEA_PP(3), "the stored summary");
    if (images < 1 || images > SWD_MAX_IMAGES)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("images is %d, but must be between 1 and %d", images, SWD_MAX_IMAGES)));
    swd_distance(reference, summarise_generated(&run, iteration, (size_t)images), size, distances);
    for (size_t l = 0; l < swd_levels(size); l++)
        values[l] = Float8GetDatum(distances[l]);
    inner = MemoryContextSwitchTo(caller);
    answer = construct_array(values, (int)swd_levels(size), FLOAT8OID, 8, FLOAT8PASSBYVAL,
                             TYPALIGN_DOUBLE);
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_ARRAYTYPE_P(answer);
}
