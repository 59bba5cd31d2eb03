/*
 * exchange.c - gan_export and the C functions of gan_import: an iteration as a safetensors file
 *
 * The file is an ordinary value, so all of it is in memory once; besides it there is never more
 * than one shard.
 */
#include "../store/store.h"
#include "../../formats/safetensors/networks.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define VALUE_SIZE 4096 /* bytes of a metadata value that are looked at */

/* ---- out ---- */

/* Reads the pairs of the metadata, which SQL puts together. */
static safetensors_text *read_pairs(const gan_run *run, int32 iteration, bool moments,
                                    size_t *count) {
    Datum *texts;
    int total;
    safetensors_text *pairs;

    gan_execute("SELECT gan_checkpoint_metadata($1, $2, $3)", 3, (Oid[]){INT4OID, INT4OID, BOOLOID},
                (Datum[]){Int32GetDatum(run->run), Int32GetDatum(iteration), BoolGetDatum(moments)},
                true);
    deconstruct_array(DatumGetArrayTypeP(gan_value(0, 1, NULL)), TEXTOID, -1, false, TYPALIGN_INT,
                      &texts, NULL, &total);
    pairs = palloc(Max(total, 1) * sizeof *pairs);
    *count = (size_t)total / 2;
    for (size_t i = 0; i < 2 * *count; i++) {
        char *string = TextDatumGetCString(texts[i]);
        *(i % 2 == 0 ? &pairs[i / 2].key : &pairs[i / 2].value) =
            pg_server_to_any(string, (int)strlen(string), PG_UTF8);
    }
    return pairs;
}

/* Copies one vector into the file; false if the iteration is not held. */
static bool put_vector(const gan_run *run, gan_pieces *state, const checkpoint *c,
                       unsigned char *bytes, gan_part part) {
    unsigned char *blob = gan_blob_new(SHARD_COUNT);

    for (int32 shard = 0; shard < run->shards; shard++) {
        size_t count = gan_shard_length(&run->model, shard);

        CHECK_FOR_INTERRUPTS();
        if (!gan_state_read(state, part, shard, blob, count))
            return false;
        checkpoint_put(c, bytes, (checkpoint_vector)part, (size_t)shard * SHARD_COUNT, count,
                       gan_blob_values(blob));
    }
    return true;
}

/* Copies everything into the file; false if the iteration is not held. */
static bool put_all(const gan_run *run, int32 iteration, const checkpoint *c,
                    unsigned char *bytes) {
    unsigned char *running = gan_blob_new(run->model.statistics_count);
    gan_pieces state;
    bool held;

    if (iteration < 0)
        return false;
    gan_pieces_open(&state, GAN_STATE, run->run, iteration, GetActiveSnapshot());
    /* a step that failed may have begun to overwrite it */
    state.lenient = iteration != run->iteration;
    held = gan_state_read(&state, GAN_WEIGHTS, run->shards, running, run->model.statistics_count);
    for (int part = GAN_WEIGHTS; held && part <= c->moments; part++)
        held = put_vector(run, &state, c, bytes, part);
    gan_pieces_close(&state);
    if (held)
        checkpoint_put_statistics(c, bytes, gan_blob_values(running));
    return held;
}

PG_FUNCTION_INFO_V1(gan_export);

/* Returns an iteration's weights, statistics and, if wanted, moments as one safetensors file. */
Datum gan_export(PG_FUNCTION_ARGS) {
    bool moments = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
    MemoryContext caller = CurrentMemoryContext;
    safetensors_file *tensors;
    safetensors_text *pairs;
    int32 iteration;
    size_t count;
    checkpoint c;
    bytea *file;
    gan_run run;

    SPI_connect();
    gan_run_read(&run, gan_run_find(fcinfo, 0), false);
    iteration = PG_ARGISNULL(1) ? run.iteration : PG_GETARG_INT32(1);
    pairs = read_pairs(&run, iteration, moments, &count);
    tensors = palloc(sizeof *tensors);
    checkpoint_plan(&c, &run.model, moments ? run.optimiser_parts - 1 : 0,
                    (uint64)Max(iteration, 0), pairs, count, tensors);
    if (c.size > MaxAllocSize - VARHDRSZ)
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                        errmsg("the file would be %zu bytes long, a value has at most %zu", c.size,
                               (size_t)MaxAllocSize - VARHDRSZ),
                        moments ? errhint("Leave out the moments.") : 0));
    file = MemoryContextAlloc(caller, VARHDRSZ + c.size);
    SET_VARSIZE(file, VARHDRSZ + c.size);
    checkpoint_begin(&c, (unsigned char *)VARDATA(file), pairs, count, tensors);
    if (!put_all(&run, iteration, &c, (unsigned char *)VARDATA(file)))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("the weights of iteration %d are not held", iteration),
                        errhint("Run %d is at iteration %d; the one before is held too.", run.run,
                                run.iteration)));
    SPI_finish();
    PG_RETURN_BYTEA_P(file);
}

/* ---- in ---- */

/* Opens a file that may be anything. */
static safetensors_file *open_file(bytea *file, checkpoint *c) {
    safetensors_file *header = palloc(sizeof *header);
    const unsigned char *bytes = (const unsigned char *)VARDATA_ANY(file);
    size_t size = VARSIZE_ANY_EXHDR(file);
    char error[512];

    if (safetensors_read(header, bytes, size, error, sizeof error) != 0 ||
        checkpoint_open(c, header, size, error, sizeof error) != 0)
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
                 errmsg("the checkpoint can't be used: %s", error),
                 errhint("It must be a safetensors file with both networks under the names of "
                         "docs/format.md, Checkpoints.")));
    return header;
}

/* Writes the metadata as JSON: what is too long or not in the server's encoding is an error. */
static text *metadata_json(const safetensors_file *header, const unsigned char *bytes) {
    StringInfoData json;
    char *value = palloc(VALUE_SIZE);

    initStringInfo(&json);
    appendStringInfoChar(&json, '{');
    for (size_t i = 0; i < header->pair_count; i++) {
        if (safetensors_value(bytes, &header->pairs[i], value, VALUE_SIZE) != 0)
            continue; /* a description, say: no value that is needed here is as long */
        if (json.len > 1)
            appendStringInfoChar(&json, ',');
        escape_json(&json, header->pairs[i].key);
        appendStringInfoChar(&json, ':');
        escape_json(&json, pg_any_to_server(value, (int)strlen(value), PG_UTF8));
    }
    appendStringInfoChar(&json, '}');
    return cstring_to_text_with_len(json.data, json.len);
}

PG_FUNCTION_INFO_V1(gan_checkpoint_header);

/* Checks a file and tells its networks' configuration, how many vectors of moments it has, and its
 * metadata. */
Datum gan_checkpoint_header(PG_FUNCTION_ARGS) {
    bytea *file = PG_GETARG_BYTEA_PP(0);
    bool nulls[7] = {false};
    TupleDesc descriptor;
    const dcgan_config *config;
    safetensors_file *header;
    Datum values[7];
    checkpoint c;

    header = open_file(file, &c);
    config = &c.model.config;
    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_checkpoint_header must return a row");
    values[0] = UInt32GetDatum(config->channels);
    values[1] = UInt32GetDatum(config->image_size);
    values[2] = UInt32GetDatum(config->latent);
    values[3] = UInt32GetDatum(config->generator_features);
    values[4] = UInt32GetDatum(config->discriminator_features);
    values[5] = Int32GetDatum(c.moments);
    values[6] = PointerGetDatum(metadata_json(header, (const unsigned char *)VARDATA_ANY(file)));
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* Stores one shard of a vector; moments that are not in the file are zero. The workers' copy and
 * the moving average begin with the weights, as in a run that begins with random weights. */
static void store_shard(const gan_run *run, gan_pieces *state, const checkpoint *c,
                        const unsigned char *bytes, gan_part part, int32 shard, bool given) {
    size_t count = gan_shard_length(&run->model, shard), negative;
    unsigned char *blob = gan_blob_new(count);
    float *values = gan_blob_values(blob);

    memset(values, 0, count * sizeof *values);
    if (given)
        checkpoint_get(c, bytes, (checkpoint_vector)part, (size_t)shard * SHARD_COUNT, count,
                       values);
    if (!dcgan_finite(values, count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the checkpoint holds NaN or infinity, in parameters " INT64_FORMAT
                               " to " INT64_FORMAT " (docs/format.md, section 5)",
                               (int64)shard * (int64)SHARD_COUNT,
                               (int64)shard * (int64)SHARD_COUNT + (int64)count - 1)));
    if (part == GAN_SECOND_MOMENT && (negative = gan_first_negative(values, count)) < count)
        ereport(
            ERROR,
            (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
             errmsg("the checkpoint holds a negative second moment, %g, of parameter " INT64_FORMAT,
                    values[negative], (int64)shard * (int64)SHARD_COUNT + (int64)negative)));
    gan_blob_seal(blob, count);
    gan_pieces_write(state, part, shard, blob, blob_size(count), NULL, 0);
    if (part == GAN_WEIGHTS && gan_run_has(run, GAN_COPY))
        gan_pieces_write(state, GAN_COPY, shard, blob, blob_size(count), NULL, 0);
    if (part == GAN_WEIGHTS && gan_shard_has(run, GAN_AVERAGE, shard))
        gan_pieces_write(state, GAN_AVERAGE, shard, blob, blob_size(count), NULL, 0);
}

/* Stores the running statistics. */
static void store_statistics(const gan_run *run, gan_pieces *state, const checkpoint *c,
                             const unsigned char *bytes) {
    size_t count = run->model.statistics_count;
    unsigned char *running = gan_blob_new(count);

    if (checkpoint_get_statistics(c, bytes, gan_blob_values(running)) != 0)
        ereport(
            ERROR,
            (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
             errmsg(
                 "the checkpoint's running statistics hold NaN, infinity or a negative variance")));
    gan_blob_seal(running, count);
    gan_pieces_write(state, GAN_WEIGHTS, run->shards, running, blob_size(count), NULL, 0);
}

PG_FUNCTION_INFO_V1(gan_initialise_from);

/* Replaces the state that gan_initialise has written with that of a file, at the run's
 * iteration. */
Datum gan_initialise_from(PG_FUNCTION_ARGS) {
    bytea *file = PG_GETARG_BYTEA_PP(1);
    bool moments = PG_GETARG_BOOL(2);
    const unsigned char *bytes = (const unsigned char *)VARDATA_ANY(file);
    MemoryContext outer, one;
    gan_pieces state;
    checkpoint c;
    gan_run run;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    open_file(file, &c);
    if (memcmp(&c.model.config, &run.model.config, sizeof c.model.config) != 0 ||
        (moments && c.moments < run.optimiser_parts - 1))
        elog(ERROR, "the checkpoint is not of networks or an optimiser like those of run %d",
             run.run);
    gan_partition_empty(GAN_STATE, run.run, 0);
    gan_pieces_open_to_write(&state, GAN_STATE, run.run, run.iteration);
    outer = CurrentMemoryContext;
    one = AllocSetContextCreate(outer, "gan_initialise_from shard", ALLOCSET_DEFAULT_SIZES);
    for (int part = GAN_WEIGHTS; part < run.optimiser_parts; part++)
        for (int32 shard = 0; shard < run.shards; shard++) {
            CHECK_FOR_INTERRUPTS();
            MemoryContextSwitchTo(one);
            store_shard(&run, &state, &c, bytes, part, shard, part == GAN_WEIGHTS || moments);
            MemoryContextReset(one);
        }
    MemoryContextSwitchTo(outer);
    store_statistics(&run, &state, &c, bytes);
    gan_pieces_close(&state);
    SPI_finish();
    PG_RETURN_VOID();
}
