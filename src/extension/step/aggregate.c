/*
 * aggregate.c - the step, in one transaction (docs/format.md sections 7 and 9)
 *
 * Shard by shard, and in a shard by tiles that stay in the cache: all units' gradients, or changes of the
 * weights, are put together (combine.c); then Adam, or the outer optimiser. Memory is that of a few shards,
 * whatever the size of the class. All is committed together or nothing is.
 */
#include "aggregate.h"

#include "../../formats/wire/change.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include <math.h>

/* Returns units as an SQL array. */
static Datum unit_array(const int64 *units, int count) {
    Datum *elements = palloc(Max(count, 1) * sizeof *elements);

    for (int i = 0; i < count; i++)
        elements[i] = Int64GetDatum(units[i]);
    return PointerGetDatum(construct_array(elements, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Units that may enter the step, in its order; the others were replaced or set aside, or are copies of one that
 * is done. */
#define UNITS_OF_ITERATION                                                                                     \
    "SELECT u.unit, u.images::bigint, u.state = 'done', (SELECT w.login::text FROM gan_worker w WHERE "        \
    "w.worker = u.worker) "                                                                                    \
    "FROM gan_work_unit u WHERE u.run = $1 AND u.iteration = $2 AND u.state IN ('pending', 'claimed', "        \
    "'done') "                                                                                                 \
    "AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) "                          \
    "ORDER BY u.first_position"

/* Lists the units whose results entered a step that was taken before, by the same order and weights. */
void gan_step_units(step *s) {
    gan_unit_list_read(
        &s->done, gan_execute(UNITS_OF_ITERATION, 2, (Oid[]){INT4OID, INT4OID},
                              (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, true));
}

/*
 * Makes sure that no unit is left out that may be on its way in: one that somebody else has locked. Where
 * another unit of the same positions is done, it's of no matter.
 */
static void require_all_locked(const step *s, Datum locked) {
    Datum done = unit_array(s->done.units, s->done.count);

    gan_execute(
        "SELECT EXISTS (SELECT FROM gan_work_unit u WHERE u.run = $1 AND u.iteration = $2 AND u.state IN "
        "('pending', 'claimed', 'done') AND u.unit <> ALL ($3) "
        "AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) "
        "AND NOT EXISTS (SELECT FROM gan_work_unit o WHERE o.run = $1 AND o.first_position = "
        "u.first_position AND o.state = 'done' AND o.unit = ANY ($4)))",
        4, (Oid[]){INT4OID, INT4OID, INT8ARRAYOID, INT8ARRAYOID},
        (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration), locked, done}, false);
    if (DatumGetBool(gan_value(0, 1, NULL)))
        ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
                        errmsg("a unit of iteration %d is being handed in right now", s->run.iteration),
                        errhint("Try again.")));
}

/*
 * Locks the iteration's units and lists those that are done. One that somebody else has locked is not waited
 * for: if it may still be on its way in, the step is put off; if its lease is long over, gan_tick has replaced
 * it already.
 */
static void lock_units(step *s) {
    int rows = gan_execute(UNITS_OF_ITERATION " FOR UPDATE OF u SKIP LOCKED", 2, (Oid[]){INT4OID, INT4OID},
                           (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, false);
    int64 *locked = palloc0(Max(rows, 1) * sizeof *locked);
    int32 needed;

    for (int i = 0; i < rows; i++)
        locked[i] = DatumGetInt64(gan_value(i, 1, NULL));
    gan_unit_list_read(&s->done, rows);
    require_all_locked(s, unit_array(locked, rows));
    gan_execute("SELECT gan_units_needed(r) FROM gan_run r WHERE r.run = $1", 1, (Oid[]){INT4OID},
                (Datum[]){Int32GetDatum(s->run.run)}, false);
    needed = DatumGetInt32(gan_value(0, 1, NULL));
    if (s->done.count < needed)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("iteration %d of run %d has %d units done, the quorum is %d", s->run.iteration,
                               s->run.run, s->done.count, needed),
                        errhint("Let workers finish; gan_progress shows what is missing.")));
}

/* Returns a part of the shard's state from a number on; null if the optimiser keeps no such moment. */
static float *state_from(const step *s, gan_part part, size_t at) {
    return part < s->run.optimiser_parts ? gan_blob_values(s->state[part]) + at : NULL;
}

/* Moves one network's part of a tile, by Adam or by the outer optimiser, and measures by how much. */
static void move_slice(step *s, const gan_tile *t, int network) {
    gan_slice part = gan_tile_slice(
        &s->combiner, t, network == DCGAN_OF_GENERATOR ? DCGAN_GENERATOR_ONLY : DCGAN_DISCRIMINATOR_ONLY);
    size_t at = t->first + part.at;
    float *weights = state_from(s, GAN_WEIGHTS, at), *moment1 = state_from(s, GAN_FIRST_MOMENT, at),
          *moment2 = state_from(s, GAN_SECOND_MOMENT, at), *mean = s->combiner.mean + part.at;
    uint64 number = dcgan_step_number(s->networks, (uint32)s->run.iteration);

    if (part.count == 0)
        return;
    memcpy(s->before, weights, part.count * sizeof *weights);
    if (s->run.local_steps > 0)
        dcgan_outer(weights, moment1, moment2, mean, part.count, number, &s->run.outer);
    else
        dcgan_adam(weights, moment1, moment2, mean, part.count, number,
                   network == DCGAN_OF_GENERATOR ? &s->run.generator : &s->run.discriminator);
    dcgan_update_size(weights, s->before, part.count, &s->update[network], &s->size[network]);
    if (s->shortened[network] < 1)
        dcgan_update_scale(weights, s->before, part.count, s->shortened[network]);
}

/* Reads a shard's weights and moments. */
static void read_state(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++)
        if (gan_shard_has(&s->run, part, shard) && part != GAN_CHANGE &&
            !gan_state_read(&s->old, part, shard, s->state[part], count))
            ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                            errmsg("shard %d of iteration %d is missing", shard, s->run.iteration)));
}

/* Makes the change that leads what workers hold to the new weights, as far as it goes. */
static void make_change(step *s, int32 shard, size_t count) {
    float *copy = gan_blob_values(s->state[GAN_COPY]);

    if (!change_make(s->state[GAN_CHANGE], copy, gan_blob_values(s->state[GAN_WEIGHTS]), s->difference, count,
                     s->run.download) ||
        !dcgan_finite(copy, count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the change of the weights of shard %d is not finite", shard),
                        errhint("Use a smaller learning_rate.")));
}

/* Moves the average of the generator's weights towards the new ones. */
static void move_average(step *s, int32 shard, size_t count) {
    float *average = gan_blob_values(s->state[GAN_AVERAGE]);

    dcgan_average(average, gan_blob_values(s->state[GAN_WEIGHTS]), count,
                  dcgan_average_decay(s->run.average_decay, (uint32)s->run.iteration));
    if (!dcgan_finite(average, count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the average of the weights of shard %d is not finite", shard),
                        errhint("Use a smaller learning_rate.")));
}

/* Puts out a shard's weights and moments of the next iteration, and what workers will hold of it. */
static void put_state(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++) {
        if (!gan_shard_has(&s->run, part, shard))
            continue;
        CHECK_FOR_INTERRUPTS();
        if (part == GAN_COPY)
            make_change(s, shard, count);
        if (part == GAN_AVERAGE)
            move_average(s, shard, count);
        if (part != GAN_CHANGE)
            gan_blob_seal(s->state[part], count);
        s->put(s, part, shard, s->state[part], gan_part_size(&s->run, part, shard));
        GANN_FAULT("part_stored");
    }
    s->checksums[shard] = blob_stored_crc(s->state[GAN_WEIGHTS]);
}

/* Raises an error unless what a shard's weights or moments have become is finite. */
static void require_finite(const step *s, gan_part part, int32 shard, size_t count) {
    if (!dcgan_finite(gan_blob_values(s->state[part]), count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the new %s of shard %d are not finite",
                               part == GAN_WEIGHTS ? "weights" : "moments", shard),
                        errhint("Use a smaller learning_rate.")));
}

/* Averages and moves one shard, tile by tile. */
static void move_shard(step *s, int32 shard, size_t count) {
    for (gan_tile t = gan_first_tile(&s->combiner, shard); gan_tile_is_in(&t);
         gan_next_tile(&s->combiner, &t)) {
        gan_combine_tile(&s->combiner, &t);
        move_slice(s, &t, DCGAN_OF_GENERATOR);
        move_slice(s, &t, DCGAN_OF_DISCRIMINATOR);
    }
    gan_combine_done(&s->combiner, shard);
    require_finite(s, GAN_WEIGHTS, shard, count);
    for (gan_part part = GAN_FIRST_MOMENT; (int)part < s->run.optimiser_parts; part++)
        require_finite(s, part, shard, count);
}

/* Steps one shard: reads weights and moments of this iteration, writes those of the next. */
static void step_shard(step *s, int32 shard) {
    size_t count = gan_shard_length(&s->run.model, shard);

    read_state(s, shard, count);
    if (gan_shard_needed(&s->run, s->run.iteration, shard))
        move_shard(s, shard, count);
    put_state(s, shard, count);
}

/* Returns the momentum of an iteration's statistics: local units stand for as many updates as they have steps.
 */
static double statistics_momentum(const gan_run *run) {
    return run->local_steps > 0 ? 1.0 - pow(1.0 - run->norm_momentum, run->local_steps) : run->norm_momentum;
}

/* Merges the units' batch-norm statistics into the running ones. */
static void step_statistics(step *s) {
    const dcgan_model *model = &s->run.model;
    size_t count = model->statistics_count;
    float *merged = palloc(count * sizeof *merged);
    unsigned char *blob = gan_blob_new(count);

    gan_combine_statistics(&s->combiner, merged);
    if (!gan_state_read(&s->old, GAN_WEIGHTS, s->run.shards, blob, count))
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("the running statistics of iteration %d are missing", s->run.iteration)));
    dcgan_statistics_run(model, gan_blob_values(blob), merged, statistics_momentum(&s->run),
                         (uint64)s->done.total_images);
    gan_blob_seal(blob, count);
    s->checksums[s->run.shards] = blob_stored_crc(blob);
    s->put(s, GAN_WEIGHTS, s->run.shards, blob, blob_size(count));
}

/* Computes the digest of the new state. */
bytea *gan_step_digest(const step *s) {
    uint8 digest[32];

    gan_digest(s->checksums, s->run.shards + 1, digest);
    return gan_bytea(digest, sizeof digest);
}

/* Returns how long the step was before it was shortened, beside the weights' length; 0 of a network that wasn't
 * stepped. */
static double relative_update(const step *s, int network) {
    return s->size[network] > 0 ? sqrt(s->update[network] / s->size[network]) : 0;
}

/* Writes what is to be known of the step and opens the next iteration. */
static void close_iteration(const step *s) {
    int count = s->done.count;
    Datum *scales = palloc(count * sizeof *scales);

    for (int i = 0; i < count; i++)
        scales[i] = Float8GetDatum(s->combiner.round.scale[i]);
    gan_execute(
        "SELECT gan_close_iteration($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", 10,
        (Oid[]){INT4OID, INT4OID, INT8ARRAYOID, FLOAT8OID, FLOAT8OID, BYTEAOID, INT4OID, FLOAT8ARRAYOID,
                FLOAT8OID, FLOAT8OID},
        (Datum[]){
            Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration), unit_array(s->done.units, count),
            Float8GetDatum(gan_step_norm(s, DCGAN_OF_GENERATOR)),
            Float8GetDatum(gan_step_norm(s, DCGAN_OF_DISCRIMINATOR)), PointerGetDatum(gan_step_digest(s)),
            Int32GetDatum((int32)s->done.account_count),
            PointerGetDatum(construct_array(scales, count, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
            Float8GetDatum(relative_update(s, DCGAN_OF_GENERATOR)),
            Float8GetDatum(relative_update(s, DCGAN_OF_DISCRIMINATOR))},
        false);
}

/* Returns the norm of what the rule made of a network's gradients. */
double gan_step_norm(const step *s, int network) {
    return sqrt(s->combiner.square_sums[network]);
}

/* Allocates what is for a shard and used for all of them. */
static void take_memory(step *s) {
    for (gan_part part = 0; part < GAN_PARTS; part++)
        s->state[part] = gan_blob_new(SHARD_COUNT);
    if (gan_run_has(&s->run, GAN_COPY))
        s->difference = palloc(SHARD_COUNT * sizeof *s->difference);
    s->before = palloc(SHARD_COUNT * sizeof *s->before);
    s->checksums = palloc0((s->run.shards + 1) * sizeof *s->checksums);
}

/* Computes the whole of the new state, updates multiplied by s->shortened. */
static void compute_all(step *s) {
    for (int n = 0; n < DCGAN_NETWORK_COUNT; n++)
        s->update[n] = s->size[n] = s->combiner.square_sums[n] = 0;
    for (int32 shard = 0; shard < s->run.shards; shard++) {
        step_shard(s, shard);
        GANN_FAULT("shard_stored");
    }
    step_statistics(s);
    GANN_FAULT("statistics_stored");
}

/* Finds by what the updates must be multiplied to keep to the run's limit; false if they do. */
static bool exceeds_limit(step *s) {
    bool exceeds = false;

    for (int n = 0; n < DCGAN_NETWORK_COUNT; n++)
        if (relative_update(s, n) > s->run.update_limit) {
            s->shortened[n] = s->run.update_limit / relative_update(s, n);
            exceeds = true;
        }
    return exceeds;
}

/*
 * Computes the step from what gradients and old hold, and puts out all shards and the statistics. How long an
 * update is shows only at its end; one that is too long, which is a rare thing, is made a second time, shorter.
 * (Its length is measured before it is shortened, so the second time it has the same one.)
 */
void gan_step_compute(step *s) {
    s->networks = gan_networks_stepped(&s->run, s->run.iteration);
    take_memory(s);
    gan_combiner_open(&s->combiner, &s->run, &s->done, &s->gradients);
    s->shortened[DCGAN_OF_GENERATOR] = s->shortened[DCGAN_OF_DISCRIMINATOR] = 1;
    compute_all(s);
    if (exceeds_limit(s)) {
        s->restart(s);
        compute_all(s);
    }
}

/* The sink of a step that is taken. */
static void store(step *s, gan_part part, int32 shard, const unsigned char *blob, size_t size) {
    gan_pieces_write(&s->new, part, shard, blob, size, NULL, 0);
}

/*
 * Makes sure, where the next iteration's partition is locked, that the step was not taken meanwhile. The lock
 * on the run sees to that; but reuse.c goes over pages for good, and what it destroyed the key of gan_history,
 * which would refuse a second step, could not bring back. So nothing here relies on one lock alone.
 */
static void require_still_due(const step *s) {
    if (gan_execute("SELECT FROM gan_run WHERE run = $1 AND iteration = $2", 2, (Oid[]){INT4OID, INT4OID},
                    (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration)}, false) != 1)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("another session has taken the step of iteration %d of run %d", s->run.iteration,
                               s->run.run)));
}

/* What was stored was not the last word. */
static void store_again(step *s) {
    gan_pieces_close(&s->new);
    CommandCounterIncrement();
    gan_state_open_to_fill(&s->new, &s->run, s->run.iteration + 1);
}

/* Computes the step and stores the next iteration's state. */
static void take_step(step *s) {
    Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot()); /* later than the units' locks */

    gan_make_room(&s->run);
    GANN_FAULT("room_made");
    gan_pieces_open(&s->gradients, GAN_GRADIENT, s->run.run, s->run.iteration, snapshot);
    gan_pieces_open(&s->old, GAN_STATE, s->run.run, s->run.iteration, snapshot);
    gan_state_open_to_fill(&s->new, &s->run, s->run.iteration + 1);
    require_still_due(s);
    GANN_FAULT("opened_to_fill");
    s->put = store;
    s->restart = store_again;
    gan_step_compute(s);
    gan_pieces_close(&s->gradients);
    gan_pieces_close(&s->old);
    gan_pieces_close(&s->new);
    UnregisterSnapshot(snapshot);
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
    GANN_FAULT("units_locked");
    take_step(&s);
    GANN_FAULT("before_close");
    close_iteration(&s);
    GANN_FAULT("closed");

    inner = MemoryContextSwitchTo(caller); /* what is returned must outlive SPI */
    answer = psprintf("step: run %d is at iteration %d, %d units of " INT64_FORMAT " images averaged",
                      s.run.run, s.run.iteration + 1, s.done.count, s.done.total_images);
    MemoryContextSwitchTo(inner);
    SPI_finish();
    PG_RETURN_TEXT_P(cstring_to_text(answer));
}
