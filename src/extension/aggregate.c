/*
 * aggregate.c - the step, in one transaction (docs/format.md sections 7 and 9)
 *
 * Shard by shard, and in a shard by tiles that stay in the cache: the weighted mean of all units' gradients, or
 * changes of the weights, in the order of their first positions, read where they lie in the server's buffers;
 * then Adam, or the outer optimiser. Memory is that of a few shards, whatever the size of the class. All is
 * committed together or nothing is.
 */
#include "aggregate.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/snapmgr.h"

#include <math.h>

/* Pieces of a shard that are averaged at a time: their sums, 200 kB, stay in the second level cache. */
#define TILE_PIECES 13
#define TILE_COUNT (TILE_PIECES * PIECE_BYTES / sizeof(float))

/* A run of a shard's pieces: which, and which of the shard's numbers they hold. */
typedef struct tile {
    int32 shard, piece, end;
    size_t count;       /* numbers of the shard */
    size_t first, last; /* numbers of the tile: first … last - 1 */
} tile;

/* Returns units as an SQL array. */
static Datum unit_array(const int64 *units, int count) {
    Datum *elements = palloc(Max(count, 1) * sizeof *elements);

    for (int i = 0; i < count; i++)
        elements[i] = Int64GetDatum(units[i]);
    return PointerGetDatum(construct_array(elements, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Lists the units that the last query has found: number, images, whether they are done. */
static void list_done(step *s, int rows) {
    unit_list *d = &s->done;

    d->units = palloc0(Max(rows, 1) * sizeof *d->units);
    d->images = palloc0(Max(rows, 1) * sizeof *d->images);
    for (int i = 0; i < rows; i++)
        if (DatumGetBool(gan_value(i, 3, NULL))) {
            d->units[d->count] = DatumGetInt64(gan_value(i, 1, NULL));
            d->images[d->count] = DatumGetInt64(gan_value(i, 2, NULL));
            d->total_images += d->images[d->count++];
        }
}

/* Units that may enter the step, in its order; the others were replaced or set aside, or are copies of one that
 * is done. */
#define UNITS_OF_ITERATION                                                                                     \
    "SELECT u.unit, u.images::bigint, u.state = 'done' FROM gan_work_unit u WHERE u.run = $1 AND u.iteration " \
    "= $2 AND u.state IN ('pending', 'claimed', 'done') "                                                      \
    "AND NOT EXISTS (SELECT FROM gan_work_unit later WHERE later.replaces = u.unit) "                          \
    "ORDER BY u.first_position"

/* Lists the units whose results entered a step that was taken before, by the same order and weights. */
void gan_step_units(step *s) {
    list_done(s, gan_execute(UNITS_OF_ITERATION, 2, (Oid[]){INT4OID, INT4OID},
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
    list_done(s, rows);
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

/* Says that a unit's gradient isn't whole, and what to do. */
static void gradient_missing(const step *s, int i, int32 shard) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("shard %d of unit " INT64_FORMAT " is missing", shard, s->done.units[i]),
                    errhint("SELECT gan_tick(%d) opens units again whose gradients a crash of the server has "
                            "taken.",
                            s->run.run)));
}

/* Checks the header that begins a unit's shard, and notes the checksum it announces. */
static void check_header(step *s, int i, const tile *t, const unsigned char *bytes, size_t size) {
    if (size < BLOB_HEADER_SIZE)
        gradient_missing(s, i, t->shard);
    gan_blob_require(blob_check_header(bytes, blob_size(t->count), t->count), "gan_gradient", t->shard);
    s->announced[i] = blob_stored_crc(bytes);
    s->computed[i] = blob_crc32c(NULL, 0);
}

/* Adds a unit's part of a tile to the sum, weighted by the unit's share of the images. */
static void add_unit(step *s, int i, const tile *t) {
    double weight = (double)s->done.images[i] / (double)s->done.total_images;
    size_t at = 0, size;

    gan_pieces_seek(&s->gradients, s->done.units[i], t->shard, t->piece);
    for (int32 piece = t->piece; piece < t->end; piece++) {
        const unsigned char *bytes = gan_pieces_next(&s->gradients, &size);
        if (!bytes)
            gradient_missing(s, i, t->shard);
        if (piece == 0) {
            check_header(s, i, t, bytes, size);
            bytes += BLOB_HEADER_SIZE;
            size -= BLOB_HEADER_SIZE;
        }
        if (size % sizeof(float) != 0 || size / sizeof(float) > t->last - t->first - at)
            gradient_missing(s, i, t->shard);
        s->computed[i] = blob_crc32c_extend(s->computed[i], bytes, size);
        dcgan_mean_add(s->sum + at, (const float *)bytes, weight, size / sizeof(float));
        at += size / sizeof(float);
    }
    if (at != t->last - t->first)
        gradient_missing(s, i, t->shard);
}

/* A part of a tile: of one network. */
typedef struct slice {
    size_t at, count; /* from the tile's first number on */
} slice;

/* Cuts out of a tile what belongs to a network; nothing if it isn't stepped. */
static slice slice_of(const step *s, const tile *t, dcgan_networks network) {
    size_t begin = (size_t)t->shard * SHARD_COUNT + t->first, end = begin + (t->last - t->first), first, count;

    if (s->networks != DCGAN_BOTH && s->networks != network)
        return (slice){0, 0};
    dcgan_networks_range(&s->run.model, network, &first, &count);
    end = Min(end, first + count);
    first = Max(first, begin);
    return first < end ? (slice){first - begin, end - first} : (slice){0, 0};
}

/* Averages a tile, and adds to the norms of the networks that are stepped. */
static void average_tile(step *s, const tile *t) {
    size_t count = t->last - t->first;
    slice g = slice_of(s, t, DCGAN_GENERATOR_ONLY), d = slice_of(s, t, DCGAN_DISCRIMINATOR_ONLY);

    memset(s->sum, 0, count * sizeof *s->sum);
    for (int i = 0; i < s->done.count; i++) {
        CHECK_FOR_INTERRUPTS();
        add_unit(s, i, t);
    }
    GANN_FAULT("tile_added");
    dcgan_mean_finish(s->mean, s->sum, count);
    if (!dcgan_finite(s->mean + g.at, g.count, &s->norm_g) ||
        !dcgan_finite(s->mean + d.at, d.count, &s->norm_d))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the mean %s of shard %d is not finite",
                               s->run.local_steps > 0 ? "change" : "gradient", t->shard)));
}

/* Returns a part of the shard's state from a number on; null if the optimiser keeps no such moment. */
static float *state_from(const step *s, gan_part part, size_t at) {
    return part < s->run.optimiser_parts ? gan_blob_values(s->state[part]) + at : NULL;
}

/* Moves one network's part of a tile, by Adam or by the outer optimiser. */
static void move_slice(step *s, const tile *t, slice part, const dcgan_adam_options *adam) {
    size_t at = t->first + part.at;
    float *weights = state_from(s, GAN_WEIGHTS, at), *moment1 = state_from(s, GAN_FIRST_MOMENT, at),
          *moment2 = state_from(s, GAN_SECOND_MOMENT, at), *mean = s->mean + part.at;
    uint64 number = dcgan_step_number(s->networks, (uint32)s->run.iteration);

    if (part.count == 0)
        return;
    if (s->run.local_steps > 0)
        dcgan_outer(weights, moment1, moment2, mean, part.count, number, &s->run.outer);
    else
        dcgan_adam(weights, moment1, moment2, mean, part.count, number, adam);
}

/* Reads a shard's weights and moments. */
static void read_state(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++)
        if (gan_run_has(&s->run, part) && part != GAN_CHANGE &&
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

/* Puts out a shard's weights and moments of the next iteration, and what workers will hold of it. */
static void put_state(step *s, int32 shard, size_t count) {
    for (gan_part part = 0; part < GAN_PARTS; part++) {
        if (!gan_run_has(&s->run, part))
            continue;
        CHECK_FOR_INTERRUPTS();
        if (part == GAN_COPY)
            make_change(s, shard, count);
        if (part != GAN_CHANGE)
            gan_blob_seal(s->state[part], count);
        s->put(s, part, shard, s->state[part], gan_part_size(&s->run, part, shard));
        GANN_FAULT("part_stored");
    }
    s->checksums[shard] = blob_stored_crc(s->state[GAN_WEIGHTS]);
}

/* Averages and moves one shard, tile by tile. */
static void move_shard(step *s, int32 shard, size_t count) {
    size_t size = blob_size(count);
    int32 pieces = (int32)((size + PIECE_BYTES - 1) / PIECE_BYTES);

    for (tile t = {.shard = shard, .count = count}; t.piece < pieces; t.piece = t.end, t.first = t.last) {
        t.end = Min(t.piece + TILE_PIECES, pieces);
        t.last = (Min((size_t)t.end * PIECE_BYTES, size) - BLOB_HEADER_SIZE) / sizeof(float);
        average_tile(s, &t);
        move_slice(s, &t, slice_of(s, &t, DCGAN_GENERATOR_ONLY), &s->run.generator);
        move_slice(s, &t, slice_of(s, &t, DCGAN_DISCRIMINATOR_ONLY), &s->run.discriminator);
    }
    for (int i = 0; i < s->done.count; i++)
        gan_blob_require(s->announced[i] == s->computed[i] ? BLOB_OK : BLOB_CRC, "gan_gradient", shard);
    if (!dcgan_finite(gan_blob_values(s->state[GAN_WEIGHTS]), count, NULL))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the new weights of shard %d are not finite", shard),
                        errhint("Use a smaller learning_rate.")));
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
    double *sums = palloc0(count * sizeof *sums);
    float *merged = palloc(count * sizeof *merged);
    unsigned char *blob = gan_blob_new(count);

    for (int i = 0; i < s->done.count; i++) {
        CHECK_FOR_INTERRUPTS();
        if (!gan_pieces_read(&s->gradients, s->done.units[i], s->run.shards, blob, blob_size(count)))
            gradient_missing(s, i, s->run.shards);
        gan_blob_require(blob_check(blob, blob_size(count), count), "gan_gradient", s->run.shards);
        dcgan_statistics_add(model, sums, gan_blob_values(blob),
                             (double)s->done.images[i] / (double)s->done.total_images);
    }
    dcgan_statistics_finish(model, merged, sums);
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

/* Writes what is to be known of the step and opens the next iteration. */
static void close_iteration(const step *s) {
    gan_execute("SELECT gan_close_iteration($1, $2, $3, $4, $5, $6)", 6,
                (Oid[]){INT4OID, INT4OID, INT8ARRAYOID, FLOAT8OID, FLOAT8OID, BYTEAOID},
                (Datum[]){Int32GetDatum(s->run.run), Int32GetDatum(s->run.iteration),
                          unit_array(s->done.units, s->done.count), Float8GetDatum(sqrt(s->norm_g)),
                          Float8GetDatum(sqrt(s->norm_d)), PointerGetDatum(gan_step_digest(s))},
                false);
}

/* Computes the step from what gradients and old hold, and puts out all shards and the statistics. What it
 * allocates is for a shard and used for all of them. */
void gan_step_compute(step *s) {
    s->networks = gan_networks_stepped(&s->run, s->run.iteration);
    for (gan_part part = 0; part < GAN_PARTS; part++)
        s->state[part] = gan_blob_new(SHARD_COUNT);
    if (gan_run_has(&s->run, GAN_COPY))
        s->difference = palloc(SHARD_COUNT * sizeof *s->difference);
    s->sum = palloc(TILE_COUNT * sizeof *s->sum);
    s->mean = palloc(TILE_COUNT * sizeof *s->mean);
    s->announced = palloc(s->done.count * sizeof *s->announced);
    s->computed = palloc(s->done.count * sizeof *s->computed);
    s->checksums = palloc0((s->run.shards + 1) * sizeof *s->checksums);
    for (int32 shard = 0; shard < s->run.shards; shard++) {
        step_shard(s, shard);
        GANN_FAULT("shard_stored");
    }
    step_statistics(s);
    GANN_FAULT("statistics_stored");
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
