/*
 * size.c - the sizes of a network, and the image at a position in the order, for SQL
 */
#include "run.h"

#include "access/htup_details.h"
#include "funcapi.h"

/* Reads five integer arguments as a network's configuration and refuses an impossible one. */
static void read_config(FunctionCallInfo fcinfo, dcgan_model *model) {
    static const char *const names[] = {"channels", "image_size", "latent", "generator_features",
                                        "discriminator_features"};
    uint32_t values[5];
    dcgan_config config;
    char problem[128];
    dcgan_status status;

    for (int i = 0; i < 5; i++) {
        if (PG_GETARG_INT32(i) < 0)
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("%s is %d, but must not be negative", names[i], PG_GETARG_INT32(i))));
        values[i] = (uint32_t)PG_GETARG_INT32(i);
    }
    config = (dcgan_config){values[0], values[1], values[2], values[3], values[4]};
    if (dcgan_config_check(&config, problem, sizeof problem) != DCGAN_OK)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem),
                        errhint("For example: channels => 3, image_size => 64, latent => 100, "
                                "generator_features => 64, discriminator_features => 64")));
    status = dcgan_model_init(model, &config);
    if (status == DCGAN_TOO_LARGE)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("the networks would have %zu parameters, more than %zu",
                               model->parameter_count, (size_t)DCGAN_MAX_PARAMETERS),
                        errhint("Choose fewer feature maps: generator_features => 64, "
                                "discriminator_features => 64")));
    gan_check_status(status);
}

PG_FUNCTION_INFO_V1(gan_network_size);

/* Computes the number of parameters, of statistics and of shards of a network. */
Datum gan_network_size(PG_FUNCTION_ARGS) {
    dcgan_model model;
    TupleDesc descriptor;
    Datum values[3];
    bool nulls[3] = {false, false, false};

    read_config(fcinfo, &model);
    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_network_size must return a row");
    values[0] = Int64GetDatum((int64)model.parameter_count);
    values[1] = Int64GetDatum((int64)model.statistics_count);
    values[2] = Int32GetDatum((int32)shard_total(model.parameter_count));
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

PG_FUNCTION_INFO_V1(gan_image_number);

/* Maps a position in a run's order to the number of an image. */
Datum gan_image_number(PG_FUNCTION_ARGS) {
    uint64 seed = (uint64)PG_GETARG_INT64(0);
    int64 images = PG_GETARG_INT64(1), position = PG_GETARG_INT64(2);

    if (images < 1 || images > INT64CONST(4294967296))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a dataset has between 1 and 4294967296 images, not " INT64_FORMAT,
                               images)));
    if (position < 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a position is at least 0, not " INT64_FORMAT, position)));
    PG_RETURN_INT64((int64)dcgan_permute(seed, (uint64)(position / images), (uint64)images,
                                         (uint64)(position % images)));
}
