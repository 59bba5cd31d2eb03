/*
 * shard.c - a run's shards: where they are, and the blobs they are
 *
 * A run has two partitions of each large table, for even and for odd iterations. A step reads one and fills the
 * other.
 */
#include "gannsfriends.h"

#include "catalog/namespace.h"
#include "storage/lmgr.h"

static const char *const table_names[] = {"gan_weights", "gan_moments", "gan_batch_norm", "gan_gradient"};

/* Names the partition that holds an iteration. Numbers only: nothing needs quoting. */
const char *gan_partition(gan_table table, int32 run, int32 iteration) {
    return psprintf("%s_r%d_%d", table_names[table], run, iteration % 2);
}

/*
 * Empties the partition that an iteration will fill. TRUNCATE gives the space back at once and leaves nothing
 * for vacuum, but it needs the table for itself. If somebody reads it (pg_dump, say), deleting the rows is as
 * right and only leaves dead ones.
 */
void gan_partition_empty(gan_table table, int32 run, int32 iteration) {
    const char *name = gan_partition(table, run, iteration);
    Oid relation = RelnameGetRelid(name);

    if (!OidIsValid(relation))
        elog(ERROR, "partition %s is missing", name);
    if (ConditionalLockRelationOid(relation, AccessExclusiveLock))
        SPI_execute(psprintf("TRUNCATE %s", name), false, 0);
    else
        SPI_execute(psprintf("DELETE FROM %s", name), false, 0);
}

/* Allocates a blob for count numbers, to be filled in and sealed. */
bytea *gan_blob_new(size_t count) {
    bytea *blob = palloc(VARHDRSZ + blob_size(count));
    SET_VARSIZE(blob, VARHDRSZ + blob_size(count));
    return blob;
}

/* Returns the numbers of a blob. They are aligned: varlena and blob header are multiples of 4 bytes long. */
float *gan_blob_values(bytea *blob) {
    return (float *)(VARDATA(blob) + BLOB_HEADER_SIZE);
}

/* Writes the header, checksum included, when the numbers are in place. */
void gan_blob_seal(bytea *blob) {
    size_t count = (VARSIZE(blob) - VARHDRSZ - BLOB_HEADER_SIZE) / sizeof(float);
    blob_write((unsigned char *)VARDATA(blob), gan_blob_values(blob), count);
}

/* Checks a stored blob again (it may have been restored, or damaged on disk) and returns its numbers. */
float *gan_blob_expect(Datum datum, size_t count, const char *what) {
    bytea *blob = DatumGetByteaP(datum);
    blob_status status = blob_check((unsigned char *)VARDATA(blob), VARSIZE(blob) - VARHDRSZ, count);

    if (status != BLOB_OK)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("%s: a stored shard %s", what, blob_status_text(status))));
    return gan_blob_values(blob);
}

/* Reads the checksum of a sealed blob. */
uint32 gan_blob_crc(bytea *blob) {
    return blob_stored_crc((unsigned char *)VARDATA(blob));
}

/* Counts the numbers of a shard; the shard after the last is the statistics. Zero: there is no such shard. */
size_t gan_shard_length(const dcgan_model *model, int32 shard) {
    if (shard < 0)
        return 0;
    if ((size_t)shard == shard_total(model->parameter_count))
        return model->statistics_count;
    return shard_length(model->parameter_count, (size_t)shard);
}
