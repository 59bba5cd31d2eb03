/*
 * gannsfriends.c - the module, and small functions that stand alone
 */
#include "gannsfriends.h"
#include "../guard/guard.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* Only a library that is loaded while the server starts may watch all sessions; without it everything else
 * works. */
void _PG_init(void) {
    if (process_shared_preload_libraries_in_progress) {
        gan_guard_init();
        gan_watchdog_init();
    }
}

/* Turns a status of the library into an error; DCGAN_OK does nothing. */
void gan_check_status(dcgan_status status) {
    int code = status == DCGAN_NOT_FINITE       ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
               : status == DCGAN_TOO_LARGE      ? ERRCODE_PROGRAM_LIMIT_EXCEEDED
               : status == DCGAN_INVALID_CONFIG ? ERRCODE_INVALID_PARAMETER_VALUE
                                                : ERRCODE_INTERNAL_ERROR;

    if (status != DCGAN_OK)
        ereport(ERROR, (errcode(code), errmsg("%s", dcgan_status_text(status))));
}

/* Refuses to go on inside a transaction block: what is locked, or kept for a snapshot, would stay so. */
void gan_refuse_block(const char *name) {
    if (IsTransactionBlock() || IsSubTransaction())
        ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                        errmsg("%s can't run inside a transaction block", name),
                        errhint("Send the statement on its own, in autocommit mode.")));
}

PG_FUNCTION_INFO_V1(gan_require_autocommit);

Datum gan_require_autocommit(PG_FUNCTION_ARGS) {
    gan_refuse_block(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    PG_RETURN_VOID();
}

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
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
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
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("the networks would have %zu parameters, more than %zu", model->parameter_count,
                        (size_t)DCGAN_MAX_PARAMETERS),
                 errhint("Choose fewer feature maps: generator_features => 64, discriminator_features => 64")));
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
                        errmsg("a dataset has between 1 and 4294967296 images, not " INT64_FORMAT, images)));
    if (position < 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("a position is at least 0, not " INT64_FORMAT, position)));
    PG_RETURN_INT64(
        (int64)dcgan_permute(seed, (uint64)(position / images), (uint64)images, (uint64)(position % images)));
}
