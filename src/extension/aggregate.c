/*
 * aggregate.c - the step, in one transaction (docs/format.md section 7)
 *
 * Shard by shard: the weighted mean of all units' gradients, in the order of their first positions, then Adam.
 * Memory is that of a few shards, whatever the size of the class. All is committed together or nothing is.
 */
#include "gannsfriends.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include <math.h>

/* The units whose results enter the step, in the order of their first positions. */
typedef struct unit_list {
    int count;
    int64 *units;
    int64 *images;
    int64 total_images;
} unit_list;

typedef struct step {
    gan_run run;
    unit_list done;
    double norm_g, norm_d; /* sums of squares until the end */
    uint32 *checksums;     /* of the new shards, statistics last */
    double *sum;           /* [SHARD_COUNT] */
    MemoryContext shard_memory;
} step;

/*
 * Locks the iteration's units and lists those that are done. One that somebody else has locked is not waited
 * for: if it may still be on its way in, the step is put off; if its lease is long over, gan_tick has replaced
 * it already.
 */
static void lock_units(step *s) {
    int rows = gan_execute("SELECT u.unit, u.images::bigint, u.state = 'done' FROM gan_work_unit u WHERE u.run "
                           "= $1 AND u.iteration = $2 "
                           "AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) "
                           "ORDER BY u.first_position FOR UPDATE OF u SKIP LOCKED",
                           2, (Oid[]){INT4OID, INT4OID},
                           (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, false);
    unit_list *d = &s->done;

    d->units = palloc0(Max(rows, 1) * sizeof *d->units);
    d->images = palloc0(Max(rows, 1) * sizeof *d->images);
    for (int i = 0; i < rows; i++)
        if (DatumGetBool(gan_value(i, 3, NULL))) {
            d->units[d->count] = DatumGetInt64(gan_value(i, 1, NULL));
            d->images[d->count] = DatumGetInt64(gan_value(i, 2, NULL));
            d->total_images += d->images[d->count++];
        }
    gan_execute("SELECT count(*)::int FROM gan_work_unit u WHERE u.run = $1 AND u.iteration = $2 "
                "AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit)",
                2, (Oid[]){INT4OID, INT4OID},
                (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, false);
    if (DatumGetInt32(gan_value(0, 1, NULL)) > rows)
        ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                        errmsg("a unit of iteration %d is being handed in right now", s->run.iteration),
                        errhint("Try again.")));
    if (d->count < s->run.quorum)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("iteration %d of run %d has %d units done, the quorum is %d", s->run.iteration,
                               s->run.run, d->count, s->run.quorum),
                        errhint("Let workers finish; gan_progress shows what is missing.")));
}

/* Reads a unit's shard and adds it to the sum, weighted by the unit's share of the images. */
static void add_unit(step *s, int i, int32 shard, size_t count, const char *query) {
    float *values;

    if (gan_execute(query, 2, (Oid[]){INT8OID, INT4OID},
                    (Datum[]){Int64GetDatum(s->done.units[i]), Int32GetDatum(shard)}, true) != 1)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("shard %d of unit " INT64_FORMAT " is missing", shard, s->done.units[i])));
    values = gan_blob_expect(gan_value(0, 1, NULL), count, "gan_gradient");
    dcgan_mean_add(s->sum, values, (double)s->done.images[i] / (double)s->done.total_images, count);
    pfree((char *)values - BLOB_HEADER_SIZE - VARHDRSZ);
    SPI_freetuptable(SPI_tuptable);
}

/* Returns the mean gradient of a shard, and adds to both networks' norms. */
static float *mean_gradient(step *s, int32 shard, size_t count) {
    const char *query = psprintf("SELECT data FROM %s WHERE unit = $1 AND shard = $2",
                                 gan_partition(GAN_GRADIENT, s->run.run, s->run.iteration));
    size_t first = (size_t)shard * SHARD_COUNT, border = s->run.model.generator.count;
    size_t of_generator = border <= first ? 0 : Min(border - first, count);
    float *mean = palloc(count * sizeof *mean);

    memset(s->sum, 0, count * sizeof *s->sum);
    for (int i = 0; i < s->done.count; i++) {
        CHECK_FOR_INTERRUPTS();
        add_unit(s, i, shard, count, query);
    }
    dcgan_mean_finish(mean, s->sum, count);
    if (!dcgan_finite(mean, of_generator, &s->norm_g) ||
        !dcgan_finite(mean + of_generator, count - of_generator, &s->norm_d))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the mean gradient of shard %d is not finite", shard)));
    return mean;
}

/* Copies a stored shard into a new blob that may be changed. */
static bytea *copy_shard(Datum stored, size_t count, const char *what) {
    bytea *copy = gan_blob_new(count);
    memcpy(gan_blob_values(copy), gan_blob_expect(stored, count, what), count * sizeof(float));
    return copy;
}

/* Steps one shard: reads weights and moments of this iteration, writes those of the next. */
static void step_shard(step *s, int32 shard) {
    size_t count = gan_shard_length(&s->run.model, shard);
    int32 run = s->run.run, next = s->run.iteration + 1;
    float *gradient = mean_gradient(s, shard, count);
    bytea *weights, *first, *second;
    Datum key[] = {Int32GetDatum(shard), Int32GetDatum(s->run.iteration)};

    if (gan_execute(
            psprintf("SELECT w.data, m.first, m.second FROM %s w JOIN %s m USING (run, slot, iteration, shard) "
                     "WHERE shard = $1 AND iteration = $2",
                     gan_partition(GAN_WEIGHTS, run, s->run.iteration),
                     gan_partition(GAN_MOMENTS, run, s->run.iteration)),
            2, (Oid[]){INT4OID, INT4OID}, key, true) != 1)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("shard %d of iteration %d is missing", shard, s->run.iteration)));
    weights = copy_shard(gan_value(0, 1, NULL), count, "gan_weights");
    first = copy_shard(gan_value(0, 2, NULL), count, "gan_moments");
    second = copy_shard(gan_value(0, 3, NULL), count, "gan_moments");
    dcgan_adam(gan_blob_values(weights), gan_blob_values(first), gan_blob_values(second), gradient, count,
               (uint64)next, &s->run.adam);
    if (!dcgan_finite(gan_blob_values(weights), count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the new weights of shard %d are not finite", shard),
                        errhint("Use a smaller learning_rate.")));
    gan_blob_seal(weights);
    gan_blob_seal(first);
    gan_blob_seal(second);
    s->checksums[shard] = gan_blob_crc(weights);

    gan_execute(
        psprintf("INSERT INTO %s VALUES ($1, $2 %% 2, $2, $3, $4)", gan_partition(GAN_WEIGHTS, run, next)), 4,
        (Oid[]){INT4OID, INT4OID, INT4OID, BYTEAOID},
        (Datum[]){Int32GetDatum(run), Int32GetDatum(next), Int32GetDatum(shard), PointerGetDatum(weights)},
        false);
    gan_execute(
        psprintf("INSERT INTO %s VALUES ($1, $2 %% 2, $2, $3, $4, $5)", gan_partition(GAN_MOMENTS, run, next)),
        5, (Oid[]){INT4OID, INT4OID, INT4OID, BYTEAOID, BYTEAOID},
        (Datum[]){Int32GetDatum(run), Int32GetDatum(next), Int32GetDatum(shard), PointerGetDatum(first),
                  PointerGetDatum(second)},
        false);
}

/* Merges the units' batch-norm statistics into the running ones. */
static void step_statistics(step *s) {
    const dcgan_model *model = &s->run.model;
    int32 run = s->run.run, next = s->run.iteration + 1;
    double *sums = palloc0(model->statistics_count * sizeof *sums);
    float *merged = palloc(model->statistics_count * sizeof *merged);
    const char *query = psprintf("SELECT data FROM %s WHERE unit = $1 AND shard = $2",
                                 gan_partition(GAN_GRADIENT, run, s->run.iteration));
    bytea *running;

    for (int i = 0; i < s->done.count; i++) {
        if (gan_execute(query, 2, (Oid[]){INT8OID, INT4OID},
                        (Datum[]){Int64GetDatum(s->done.units[i]), Int32GetDatum(s->run.shards)}, true) != 1)
            ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                            errmsg("the statistics of unit " INT64_FORMAT " are missing", s->done.units[i])));
        dcgan_statistics_add(model, sums,
                             gan_blob_expect(gan_value(0, 1, NULL), model->statistics_count, "gan_gradient"),
                             (double)s->done.images[i] / (double)s->done.total_images);
    }
    dcgan_statistics_finish(model, merged, sums);
    if (gan_execute(psprintf("SELECT running FROM %s WHERE iteration = $1",
                             gan_partition(GAN_BATCH_NORM, run, s->run.iteration)),
                    1, (Oid[]){INT4OID}, (Datum[]){Int32GetDatum(s->run.iteration)}, true) != 1)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("the running statistics of iteration %d are missing", s->run.iteration)));
    running = copy_shard(gan_value(0, 1, NULL), model->statistics_count, "gan_batch_norm");
    dcgan_statistics_run(model, gan_blob_values(running), merged, s->run.norm_momentum,
                         (uint64)s->done.total_images);
    gan_blob_seal(running);
    s->checksums[s->run.shards] = gan_blob_crc(running);
    gan_execute(
        psprintf("INSERT INTO %s VALUES ($1, $2 %% 2, $2, $3)", gan_partition(GAN_BATCH_NORM, run, next)), 3,
        (Oid[]){INT4OID, INT4OID, BYTEAOID},
        (Datum[]){Int32GetDatum(run), Int32GetDatum(next), PointerGetDatum(running)}, false);
}

/* Computes the digest of the new state: SHA-256 of the checksums of its shards. */
static bytea *weights_digest(const step *s) {
    bytea *digest = palloc(VARHDRSZ + 32);
    pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

    SET_VARSIZE(digest, VARHDRSZ + 32);
    if (!hash || pg_cryptohash_init(hash) < 0 ||
        pg_cryptohash_update(hash, (const uint8 *)s->checksums, (s->run.shards + 1) * sizeof *s->checksums) <
            0 ||
        pg_cryptohash_final(hash, (uint8 *)VARDATA(digest), 32) < 0)
        elog(ERROR, "could not compute a SHA-256");
    pg_cryptohash_free(hash);
    return digest;
}

/* Writes what is to be known of the step and opens the next iteration. */
static void close_iteration(const step *s) {
    Datum *units = palloc(s->done.count * sizeof *units);

    for (int i = 0; i < s->done.count; i++)
        units[i] = Int64GetDatum(s->done.units[i]);
    gan_execute("SELECT gan_close_iteration($1, $2, $3, $4, $5, $6)", 6,
                (Oid[]){INT4OID, INT4OID, INT8ARRAYOID, FLOAT8OID, FLOAT8OID, BYTEAOID},
                (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration),
                          PointerGetDatum(construct_array(units, s->done.count, INT8OID, 8, FLOAT8PASSBYVAL,
                                                          TYPALIGN_DOUBLE)),
                          Float8GetDatum(sqrt(s->norm_g)), Float8GetDatum(sqrt(s->norm_d)),
                          PointerGetDatum(weights_digest(s))},
                false);
}

/* Steps all shards; each in a memory context of its own. */
static void step_all_shards(step *s) {
    MemoryContext outer = CurrentMemoryContext;

    for (int32 shard = 0; shard < s->run.shards; shard++) {
        CHECK_FOR_INTERRUPTS();
        MemoryContextSwitchTo(s->shard_memory);
        step_shard(s, shard);
        MemoryContextSwitchTo(outer);
        MemoryContextReset(s->shard_memory);
    }
}

PG_FUNCTION_INFO_V1(gan_aggregate);

/* Takes the step of an iteration. */
Datum gan_aggregate(PG_FUNCTION_ARGS) {
    step s = {0};
    MemoryContext caller = CurrentMemoryContext, inner;
    char *answer;

    if (PG_ARGISNULL(0))
        ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("iteration must not be null")));
    SPI_connect();
    gan_run_read(&s.run, gan_run_find(fcinfo, 1), true);
    if (s.run.iteration != PG_GETARG_INT32(0))
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("run %d is at iteration %d, not %d", s.run.run, s.run.iteration, PG_GETARG_INT32(0))));
    if (strcmp(s.run.state, "running") != 0 && strcmp(s.run.state, "paused") != 0)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("run %d is %s", s.run.run, s.run.state)));
    lock_units(&s);

    for (gan_table table = GAN_WEIGHTS; table <= GAN_GRADIENT; table++)
        gan_partition_empty(table, s.run.run, s.run.iteration + 1);
    s.shard_memory = AllocSetContextCreate(CurrentMemoryContext, "gan_aggregate shard", ALLOCSET_DEFAULT_SIZES);
    s.sum = palloc(SHARD_COUNT * sizeof *s.sum);
    s.checksums = palloc0((s.run.shards + 1) * sizeof *s.checksums);
    step_all_shards(&s);
    step_statistics(&s);
    close_iteration(&s);

    inner = MemoryContextSwitchTo(caller); /* what is returned must outlive SPI */
    answer = psprintf("step: run %d is at iteration %d, %d units of " INT64_FORMAT " images averaged",
                      s.run.run, s.run.iteration + 1, s.done.count, s.done.total_images);
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_TEXT_P(cstring_to_text(answer));
}
