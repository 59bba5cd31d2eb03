/*
 * transfer.c - shards to and from workers
 *
 * Every byte that arrives is treated as hostile: it is checked here before it is stored.
 */
#include "../store/store.h"
#include "holding.h"
#include "result.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

#include <math.h>

/* Reads the run that a function's first argument names; its shard, the third, must be there. */
static void read_run_of_shard(gan_run *run, FunctionCallInfo fcinfo) {
    int32 iteration = PG_GETARG_INT32(1), shard = PG_GETARG_INT32(2);

    gan_run_read(run, PG_GETARG_INT32(0), false);
    if (iteration < 0 || gan_shard_length(&run->model, shard) == 0)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("there is no shard %d of iteration %d", shard, iteration),
                        errhint("Run %d has shards 0 to %d; shard %d holds the running statistics.",
                                run->run, run->shards, run->shards)));
}

/* Returns a part of one shard of an iteration; null if it is not held, or no longer. */
static bytea *fetch_part(const gan_run *run, int32 iteration, gan_part part, int32 shard,
                         MemoryContext caller) {
    size_t size = gan_part_size(run, part, shard);
    gan_pieces state;
    bytea *data;
    bool held;

    data = MemoryContextAlloc(caller, VARHDRSZ + size); /* the returned value must outlive SPI */
    SET_VARSIZE(data, VARHDRSZ + size);
    gan_pieces_open(&state, GAN_STATE, run->run, iteration, GetActiveSnapshot());
    /* a step that failed may have begun to overwrite it */
    state.lenient = iteration != run->iteration;
    held = gan_pieces_read(&state, part, shard, (unsigned char *)VARDATA(data), size);
    gan_pieces_release(&state);
    return held ? data : NULL;
}

PG_FUNCTION_INFO_V1(gan_fetch_weights);

/* Returns one shard of the weights that an iteration's units are computed at, or the running
 * statistics; null if they are no longer held. */
Datum gan_fetch_weights(PG_FUNCTION_ARGS) {
    int32 shard = PG_GETARG_INT32(2);
    MemoryContext caller = CurrentMemoryContext;
    bytea *data;
    gan_run run;

    gan_refuse_block("gan_fetch_weights");
    gan_keep_memory();
    SPI_connect();
    read_run_of_shard(&run, fcinfo);
    data = fetch_part(&run, PG_GETARG_INT32(1),
                      gan_run_has(&run, GAN_COPY) && shard < run.shards ? GAN_COPY : GAN_WEIGHTS,
                      shard, caller);
    SPI_finish();
    if (!data)
        PG_RETURN_NULL();
    PG_RETURN_BYTEA_P(data);
}

PG_FUNCTION_INFO_V1(gan_fetch_change);

/* Returns one shard of the change that turns a worker's copy of the previous iteration into that of
 * this one; null if it is not held. */
Datum gan_fetch_change(PG_FUNCTION_ARGS) {
    int32 shard = PG_GETARG_INT32(2);
    MemoryContext caller = CurrentMemoryContext;
    bytea *data = NULL;
    gan_run run;

    gan_refuse_block("gan_fetch_change");
    gan_keep_memory();
    SPI_connect();
    read_run_of_shard(&run, fcinfo);
    if (gan_run_has(&run, GAN_CHANGE) && shard < run.shards)
        data = fetch_part(&run, PG_GETARG_INT32(1), GAN_CHANGE, shard, caller);
    SPI_finish();
    if (!data)
        PG_RETURN_NULL();
    PG_RETURN_BYTEA_P(data);
}

/* An upload that is being checked. If it is refused, its sender has failed at the unit. */
typedef struct upload {
    const gan_run *run;
    int64 unit;
    const pg_uuid_t *token;
    int32 shard;
    size_t count;
} upload;

/* Checks the form of an uploaded shard: header, size, checksum. */
static void check_form(const upload *u, bytea *data, blob_element element) {
    size_t size = VARSIZE_ANY_EXHDR(data);
    const unsigned char *bytes = (const unsigned char *)VARDATA_ANY(data);
    blob_status status = blob_check_element(bytes, size, u->count, element);

    if (status == BLOB_OK)
        return;
    gan_refusal_remember(u->unit, u->token,
                         psprintf("shard %d %s", u->shard, blob_status_text(status)));
    ereport(
        ERROR,
        (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
         errmsg("the uploaded shard %s", blob_status_text(status)),
         errdetail("Shard %d has %zu elements of %s, %zu bytes with the header; %zu bytes came.",
                   u->shard, u->count, blob_element_name(element), blob_size_of(u->count, element),
                   size),
         status == BLOB_CRC ? errhint("Send it again.")
                            : errhint("The format is in docs/format.md, section 8.")));
}

/* Expands a checked blob of fewer bytes to float32: the rest of the server only sees float32. */
static bytea *widen(bytea *data, size_t count, blob_element element) {
    bytea *wide = palloc(VARHDRSZ + blob_size(count));
    float *values = (float *)(VARDATA(wide) + BLOB_HEADER_SIZE);

    SET_VARSIZE(wide, VARHDRSZ + blob_size(count));
    blob_decode(values, (const unsigned char *)VARDATA_ANY(data), count, element);
    blob_write((unsigned char *)VARDATA(wide), values, count);
    return wide;
}

/* Checks the numbers of an uploaded shard: finiteness, norm. Returns the sum of squares; raises an
 * error on anything wrong. */
static double check_numbers(const upload *u, bytea *data, double limit) {
    double squares;
    char *what = gan_shard_problem(
        u->run, u->shard, (const float *)(VARDATA(data) + BLOB_HEADER_SIZE), limit, &squares);

    if (what) {
        gan_refusal_remember(u->unit, u->token, what);
        ereport(
            ERROR,
            (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the upload is refused: %s", what),
             errhint(
                 "Release the unit and claim again; if it happens again, tell the instructor.")));
    }
    return squares;
}

/* What a run asks of uploads. */
typedef struct upload_rules {
    double limit; /* of a gradient's norm */
    blob_element element;
} upload_rules;

/* Reads what the run asks of a shard. Statistics are always float32: they are few, and variances
 * must not be rounded to 0. */
static upload_rules read_rules(const gan_run *run, int32 shard) {
    static SPIPlanPtr plan;
    upload_rules rules;

    gan_execute_saved(&plan, "SELECT gradient_limit, upload_element FROM gan_run WHERE run = $1", 1,
                      (Oid[]){INT4OID}, (Datum[]){Int32GetDatum(run->run)}, false);
    rules.limit = DatumGetFloat8(gan_value(0, 1, NULL));
    if (!blob_element_read(&rules.element, TextDatumGetCString(gan_value(0, 2, NULL))))
        elog(ERROR, "run %d has an unknown upload_element", run->run);
    if (shard == run->shards)
        rules.element = BLOB_FLOAT32;
    return rules;
}

/* Deletes the pieces of a shard that an earlier claim has left. */
static void delete_shard(const gan_holding *claim, int64 unit, int32 shard, Snapshot snapshot) {
    gan_pieces pieces;

    gan_pieces_open_to_write(&pieces, GAN_GRADIENT, claim->run, claim->iteration);
    gan_pieces_delete(&pieces, unit, shard, snapshot);
    gan_pieces_release(&pieces);
    CommandCounterIncrement(); /* so that the same keys can be written */
}

/* Tells whether a shard was already stored under this token; deletes what an earlier claim has
 * left. */
static bool is_stored(const gan_holding *claim, int64 unit, const pg_uuid_t *token, int32 shard) {
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    gan_pieces pieces;
    pg_uuid_t stored;
    double square_sum;
    bool same;

    gan_pieces_open(&pieces, GAN_GRADIENT, claim->run, claim->iteration, snapshot);
    same = gan_pieces_receipt(&pieces, unit, shard, &stored, &square_sum) &&
           memcmp(&stored, token, sizeof stored) == 0;
    gan_pieces_release(&pieces);
    if (pieces.found && !same)
        delete_shard(claim, unit, shard, snapshot);
    UnregisterSnapshot(snapshot);
    return same;
}

/*
 * Stores a shard under the claim's token; returns the answer. Two uploads of one shard at the same
 * time (an answer was lost, or a lease ended) run one after the other, by a lock that a student
 * can't take. An upload that has waited may no longer hold the unit, and must not replace a shard
 * that a later claim has stored.
 */
static const char *store_shard(const gan_holding *claim, int64 unit, const pg_uuid_t *token,
                               int32 shard, double squares, bytea *data) {
    gan_holding again;
    gan_pieces pieces;

    GANN_FAULT("upload_to_store");
    LockDatabaseObject(RelationRelationId, (Oid)unit, (uint16)shard, ExclusiveLock);
    if (!gan_holding_find(&again, Int64GetDatum(unit), UUIDPGetDatum(token), false) || !again.held)
        return "stale";
    if (is_stored(claim, unit, token, shard))
        return "already";
    GANN_FAULT("upload_checked");
    gan_pieces_open_to_write(&pieces, GAN_GRADIENT, claim->run, claim->iteration);
    gan_pieces_write(&pieces, unit, shard, (unsigned char *)VARDATA(data), VARSIZE(data) - VARHDRSZ,
                     token, squares);
    gan_pieces_release(&pieces);
    GANN_FAULT("upload_stored");
    return "accepted";
}

PG_FUNCTION_INFO_V1(gan_upload);

/* Checks and stores one shard of a unit's result: accepted, already or stale. */
Datum gan_upload(PG_FUNCTION_ARGS) {
    Datum unit = PG_GETARG_DATUM(0), token = PG_GETARG_DATUM(1);
    int32 shard = PG_GETARG_INT32(2);
    const char *answer = "stale";
    gan_holding claim;

    gan_refuse_block("gan_upload");
    gan_commit_without_waiting();
    gan_keep_memory();
    SPI_connect();
    if (gan_holding_find(&claim, unit, token, false) && claim.held) {
        bytea *data = PG_GETARG_BYTEA_P(3);
        upload_rules rules;
        size_t count;
        gan_run run;
        upload u;
        gan_run_read(&run, claim.run, false);
        count = gan_shard_length(&run.model, shard);
        if (count == 0)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("there is no shard %d", shard),
                            errhint("A result has shards 0 to %d; shard %d holds the statistics.",
                                    run.shards, run.shards)));
        if (!gan_shard_needed(&run, claim.iteration, shard))
            ereport(
                ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("shard %d is not part of the network that iteration %d steps", shard,
                        claim.iteration),
                 errhint(
                     "Even iterations step the discriminator, odd ones the generator: upload the "
                     "shards of that network.")));
        u = (upload){&run, DatumGetInt64(unit), DatumGetUUIDP(token), shard, count};
        rules = read_rules(&run, shard);
        check_form(&u, data, rules.element);
        if (rules.element != BLOB_FLOAT32)
            data = widen(data, count, rules.element);
        answer = store_shard(&claim, DatumGetInt64(unit), DatumGetUUIDP(token), shard,
                             check_numbers(&u, data, rules.limit), data);
    }
    SPI_finish();
    PG_RETURN_TEXT_P(cstring_to_text(answer));
}

/* Adds up what was uploaded under a claim. Needs SPI to be connected. */
void gan_uploads_sum(gan_uploads *up, int32 run_number, int32 iteration, int64 unit,
                     const pg_uuid_t *token) {
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
    gan_pieces pieces;
    pg_uuid_t stored;
    double square_sum;
    gan_run run;

    *up = (gan_uploads){0};
    gan_run_read(&run, run_number, false);
    gan_pieces_open(&pieces, GAN_GRADIENT, run_number, iteration, snapshot);
    for (int32 shard = 0; shard <= run.shards; shard++) {
        if (!gan_shard_needed(&run, iteration, shard))
            continue;
        if (gan_pieces_receipt(&pieces, unit, shard, &stored, &square_sum) &&
            memcmp(&stored, token, sizeof stored) == 0) {
            up->parts++;
            up->square_sum += shard < run.shards ? square_sum : 0;
        } else
            up->missing++;
    }
    gan_pieces_release(&pieces);
    UnregisterSnapshot(snapshot);
}

PG_FUNCTION_INFO_V1(gan_uploaded);

/* Adds up what was uploaded under a claim: number of shards there and missing, and the square of
 * the gradient's norm. */
Datum gan_uploaded(PG_FUNCTION_ARGS) {
    static gan_statement read_unit = {
        "SELECT u.run, u.iteration FROM gan_work_unit u WHERE u.unit = $1", 1, {INT8OID}};
    TupleDesc descriptor;
    gan_uploads up;

    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "gan_uploaded must return a row");
    BlessTupleDesc(descriptor);
    SPI_connect();
    if (gan_run_statement(&read_unit, (Datum[]){PG_GETARG_DATUM(0)}) != 1)
        elog(ERROR, "the unit is gone");
    gan_uploads_sum(&up, DatumGetInt32(gan_value(0, 1, NULL)), DatumGetInt32(gan_value(0, 2, NULL)),
                    PG_GETARG_INT64(0), PG_GETARG_UUID_P(1));
    SPI_finish();
    PG_RETURN_DATUM(HeapTupleGetDatum(
        heap_form_tuple(descriptor,
                        (Datum[]){Int32GetDatum(up.parts), Int32GetDatum(up.missing),
                                  Float8GetDatum(up.square_sum)},
                        (bool[]){false, false, false})));
}
