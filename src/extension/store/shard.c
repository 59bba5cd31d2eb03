/*
 * shard.c - a run's shards: where they are, and the blobs they are
 *
 * A run has two partitions of each large table, for even and for odd iterations. A step reads one and fills the
 * other.
 */
#include "../module/gannsfriends.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "common/cryptohash.h"
#include "replication/message.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

/* How many times its live pages a partition may have, beyond 2 MB, while it can't be emptied. */
#define GROWTH_MAX 16
#define GROWTH_FREE 256

static const char *const table_names[] = {"gan_state_piece", "gan_gradient_piece"};

/* Names the partition that holds an iteration. Numbers only: nothing needs quoting. */
const char *gan_partition(gan_table table, int32 run, int32 iteration) {
    return psprintf("%s_r%d_%d", table_names[table], run, iteration % 2);
}

static bool truncated; /* an unlogged table, in this transaction */

/* Puts on disk what was written so far. */
static void flush_log(void) {
    XLogFlush(LogLogicalMessage("gannsfriends", "", 0, false));
}

static void at_end(XactEvent event, void *context) {
    if (event == XACT_EVENT_ABORT && truncated)
        flush_log();
    if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
        truncated = false;
}

static void at_end_of_part(SubXactEvent event, SubTransactionId part, SubTransactionId parent, void *context) {
    if (event == SUBXACT_EVENT_ABORT_SUB && truncated)
        flush_log();
}

/*
 * Sees to it that the server starts after a crash that follows a TRUNCATE that was rolled back. PostgreSQL
 * deletes the new files when it has written the abort into the log, but not yet to disk. If a crash comes in
 * between, recovery makes the file by which it knows an unlogged table again, doesn't learn of the abort, finds
 * what is left of the table in its way ("could not create file …: File exists") and gives up, at every start.
 * So the abort goes to disk first: these functions are called between the two.
 */
static void guard_rollback(void) {
    static bool registered;

    if (!registered) {
        RegisterXactCallback(at_end, NULL);
        RegisterSubXactCallback(at_end_of_part, NULL);
        registered = true;
    }
    truncated = true;
}

/* Refuses to let a partition grow without end while somebody keeps it from being emptied: it has live rows, of
 * about a page each, and the dead ones of earlier steps. */
static void check_growth(Oid relation, uint64 live) {
    Datum size = DirectFunctionCall2(pg_relation_size, ObjectIdGetDatum(relation), CStringGetTextDatum("main"));

    if (DatumGetInt64(size) / BLCKSZ > GROWTH_MAX * (int64)live + GROWTH_FREE)
        ereport(
            ERROR,
            (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
             errmsg("partition %s can't be emptied: another session has it open, and it has grown to %d times "
                    "its size",
                    get_rel_name(relation), GROWTH_MAX),
             errhint("The step waits. End that session: pg_locks and pg_stat_activity show it.")));
}

/*
 * Empties the partition that an iteration will fill. TRUNCATE gives the space back at once and leaves nothing
 * for vacuum, but it needs the table for itself. If somebody reads it (pg_dump, say), deleting the rows is as
 * right and only leaves dead ones, until the next TRUNCATE.
 */
void gan_partition_empty(gan_table table, int32 run, int32 iteration) {
    const char *name = gan_partition(table, run, iteration);
    Oid relation = RelnameGetRelid(name);

    if (!OidIsValid(relation))
        elog(ERROR, "partition %s is missing", name);
    if (gan_take_alone(relation)) {
        if (table == GAN_GRADIENT)
            guard_rollback();
        SPI_execute(psprintf("TRUNCATE %s", name), false, 0);
        GANN_FAULT("truncated");
    } else {
        SPI_execute(psprintf("DELETE FROM %s", name), false, 0);
        check_growth(relation, SPI_processed);
    }
}

/* Finds the partition of the next iteration's gradients; invalid if there is nothing in it. */
static Oid next_gradients(const gan_run *run) {
    Oid relation = RelnameGetRelid(gan_partition(GAN_GRADIENT, run->run, run->iteration + 1));
    Datum size = !OidIsValid(relation) ? Int64GetDatum(0)
                                       : DirectFunctionCall2(pg_relation_size, ObjectIdGetDatum(relation),
                                                             CStringGetTextDatum("main"));
    return DatumGetInt64(size) > 0 ? relation : InvalidOid;
}

/* Empties the next iteration's gradients, if there are any. */
void gan_make_room(const gan_run *run) {
    if (OidIsValid(next_gradients(run)))
        gan_partition_empty(GAN_GRADIENT, run->run, run->iteration + 1);
}

PG_FUNCTION_INFO_V1(gan_empty_next);

/* The same ahead of the step; not if somebody reads them. */
Datum gan_empty_next(PG_FUNCTION_ARGS) {
    gan_run run;
    Oid relation;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    relation = next_gradients(&run);
    if (OidIsValid(relation) && ConditionalLockRelationOid(relation, AccessExclusiveLock))
        gan_partition_empty(GAN_GRADIENT, run.run, run.iteration + 1);
    SPI_finish();
    PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(gan_empty_results);

/* Empties both slots of a run's results. */
Datum gan_empty_results(PG_FUNCTION_ARGS) {
    int32 run = PG_GETARG_INT32(0);

    SPI_connect();
    for (int32 slot = 0; slot < 2; slot++)
        gan_partition_empty(GAN_GRADIENT, run, slot);
    SPI_finish();
    PG_RETURN_VOID();
}

/* Allocates a blob for count numbers, which begin at a cache line; to be filled in and sealed. */
unsigned char *gan_blob_new(size_t count) {
    char *memory = palloc(blob_size(count) + 2 * PG_CACHE_LINE_SIZE);
    return (unsigned char *)TYPEALIGN(PG_CACHE_LINE_SIZE, memory + BLOB_HEADER_SIZE) - BLOB_HEADER_SIZE;
}

/* Returns the numbers of a blob. */
float *gan_blob_values(unsigned char *blob) {
    return (float *)(blob + BLOB_HEADER_SIZE);
}

/* Writes the header, checksum included, when the numbers are in place. */
void gan_blob_seal(unsigned char *blob, size_t count) {
    blob_write(blob, gan_blob_values(blob), count);
}

/* Raises an error unless a stored blob is fine (it may have been restored, or damaged on disk). */
void gan_blob_require(blob_status status, const char *what, int32 shard) {
    if (status != BLOB_OK)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("%s: the stored shard %d %s", what, shard, blob_status_text(status))));
}

/* Reads a stored shard of the state into a blob and checks it; false if it isn't held. */
bool gan_state_read(gan_pieces *state, gan_part part, int32 shard, unsigned char *blob, size_t count) {
    if (!gan_pieces_read(state, part, shard, blob, blob_size(count)))
        return false;
    gan_blob_require(blob_check(blob, blob_size(count), count), table_names[GAN_STATE], shard);
    return true;
}

/* Computes the digest of a state: SHA-256 of the checksums of its weights' shards, statistics last. */
void gan_digest(const uint32 *checksums, int count, uint8 digest[32]) {
    pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

    if (!hash || pg_cryptohash_init(hash) < 0 ||
        pg_cryptohash_update(hash, (const uint8 *)checksums, count * sizeof *checksums) < 0 ||
        pg_cryptohash_final(hash, digest, 32) < 0)
        elog(ERROR, "could not compute a SHA-256");
    pg_cryptohash_free(hash);
}

/* Makes a bytea of bytes. */
bytea *gan_bytea(const void *bytes, size_t size) {
    bytea *data = palloc(VARHDRSZ + size);

    SET_VARSIZE(data, VARHDRSZ + size);
    memcpy(VARDATA(data), bytes, size);
    return data;
}

/* Tells whether a part of the state is stored in a run. */
bool gan_run_has(const gan_run *run, gan_part part) {
    if (part == GAN_AVERAGE)
        return run->average_decay > 0;
    return part < GAN_OPTIMISER_PARTS ? (int)part < run->optimiser_parts : run->download != BLOB_FLOAT32;
}

/* Tells whether a part of a shard of the state is stored in a run; the shard after the last is the statistics.
 */
bool gan_shard_has(const gan_run *run, gan_part part, int32 shard) {
    if (shard >= run->shards)
        return shard == run->shards && part == GAN_WEIGHTS;
    return gan_run_has(run, part) &&
           (part != GAN_AVERAGE || shard < (int32)shard_total(run->model.generator.count));
}

/* Computes the bytes that are stored of a part of a shard. */
size_t gan_part_size(const gan_run *run, gan_part part, int32 shard) {
    size_t count = gan_shard_length(&run->model, shard);
    return part == GAN_CHANGE ? change_size(count, run->download) : blob_size(count);
}

/* Counts the numbers of a shard; the shard after the last is the statistics. Zero: there is no such shard. */
size_t gan_shard_length(const dcgan_model *model, int32 shard) {
    if (shard < 0)
        return 0;
    if ((size_t)shard == shard_total(model->parameter_count))
        return model->statistics_count;
    return shard_length(model->parameter_count, (size_t)shard);
}
