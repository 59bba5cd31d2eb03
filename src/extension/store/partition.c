/*
 * partition.c - the partitions of the large tables
 *
 * A run has two partitions of each large table, for even and for odd iterations. A step reads one
 * and fills the other.
 */
#include "store.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "replication/message.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

/* How many times larger than its live pages (plus 2 MB) a partition may become while it can't be
 * emptied. */
#define GROWTH_MAX 16
#define GROWTH_FREE 256

static const char *const table_names[] = {"gan_state_piece", "gan_gradient_piece"};

/* Names the partition that holds an iteration. Numbers only: nothing needs quoting. */
const char *gan_partition(gan_table table, int32 run, int32 iteration) {
    return psprintf("%s_r%d_%d", table_names[table], run, iteration % 2);
}

static bool truncated; /* an unlogged table, in this transaction */

/* Flushes the WAL written so far to disk. */
static void flush_log(void) {
    XLogFlush(LogLogicalMessage("gannsfriends", "", 0, false));
}

static void at_end(XactEvent event, void *context) {
    if (event == XACT_EVENT_ABORT && truncated)
        flush_log();
    if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
        truncated = false;
}

static void at_end_of_part(SubXactEvent event, SubTransactionId part, SubTransactionId parent,
                           void *context) {
    if (event == SUBXACT_EVENT_ABORT_SUB && truncated)
        flush_log();
}

/*
 * Makes sure that the server can start after a crash that follows the rollback of a TRUNCATE.
 * PostgreSQL deletes the new files when it has written the abort into the log, but not yet to disk.
 * If a crash comes in between, recovery restores the file that marks an unlogged table, but doesn't
 * learn of the abort, finds the rest of the table in its way ("could not create file …: File
 * exists") and gives up, at every start. So the abort goes to disk first: these functions are
 * called between the two.
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

/* Raises an error when a partition has grown too much because another session keeps it from being
 * emptied: it holds live rows, of about a page each, and the dead ones of earlier steps. */
static void check_growth(Oid relation, uint64 live) {
    Datum size = DirectFunctionCall2(pg_relation_size, ObjectIdGetDatum(relation),
                                     CStringGetTextDatum("main"));

    if (DatumGetInt64(size) / BLCKSZ > GROWTH_MAX * (int64)live + GROWTH_FREE)
        ereport(
            ERROR,
            (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
             errmsg("partition %s can't be emptied: another session has it open, and it has grown "
                    "to %d times "
                    "its size",
                    get_rel_name(relation), GROWTH_MAX),
             errhint("The step waits. End that session: pg_locks and pg_stat_activity show it.")));
}

/*
 * Empties the partition that an iteration will fill. TRUNCATE gives the space back at once and
 * leaves nothing for vacuum, but it needs an exclusive lock. If another session reads the table
 * (pg_dump, say), the rows are deleted instead: that is as correct, but leaves dead rows until the
 * next TRUNCATE.
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
Oid gan_next_gradients(const gan_run *run) {
    Oid relation = RelnameGetRelid(gan_partition(GAN_GRADIENT, run->run, run->iteration + 1));
    Datum size = !OidIsValid(relation)
                     ? Int64GetDatum(0)
                     : DirectFunctionCall2(pg_relation_size, ObjectIdGetDatum(relation),
                                           CStringGetTextDatum("main"));
    return DatumGetInt64(size) > 0 ? relation : InvalidOid;
}

/* Empties the next iteration's gradients, if there are any. */
void gan_make_room(const gan_run *run) {
    if (OidIsValid(gan_next_gradients(run)))
        gan_partition_empty(GAN_GRADIENT, run->run, run->iteration + 1);
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
