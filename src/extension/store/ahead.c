/*
 * ahead.c - prepares the step while the class computes, so that the step is faster
 *
 * It empties the partition for the next iteration's gradients. It also opens the tables that the
 * step will read: emptying a partition changes the catalogs, and reading them again takes a
 * millisecond for which the class would wait.
 */
#include "store.h"

#include "storage/lmgr.h"
#include "utils/snapmgr.h"

/* Opens and closes a partition. */
static void look_up(gan_table table, const gan_run *run, int32 iteration) {
    gan_pieces pieces;

    gan_pieces_open(&pieces, table, run->run, iteration, GetActiveSnapshot());
    gan_pieces_release(&pieces);
}

PG_FUNCTION_INFO_V1(gan_prepare_step);

/* Makes room for the next iteration's gradients, unless somebody reads the old ones, and looks the
 * step's partitions up. */
Datum gan_prepare_step(PG_FUNCTION_ARGS) {
    gan_run run;
    Oid relation;

    SPI_connect();
    gan_run_read(&run, PG_GETARG_INT32(0), false);
    relation = gan_next_gradients(&run);
    if (OidIsValid(relation) && ConditionalLockRelationOid(relation, AccessExclusiveLock))
        gan_partition_empty(GAN_GRADIENT, run.run, run.iteration + 1);
    look_up(GAN_GRADIENT, &run, run.iteration);
    look_up(GAN_STATE, &run, run.iteration);
    SPI_finish();
    PG_RETURN_VOID();
}
