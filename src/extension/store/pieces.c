/*
 * pieces.c - blobs in tables: rows of almost a page, written and read without SQL
 *
 * A blob of 1 MiB is cut into pieces of PIECE_BYTES, so that a row fills a page of its own and is
 * stored in line. Against TOAST's chunks of 2 kB that is a quarter of the rows, of the index
 * entries and of the WAL records; and a piece can be read where it lies, in the server's buffer.
 *
 * The tables have their columns in common: run, slot, iteration, owner (a unit, or a part of the
 * state), shard, piece, data, and for gradients token and square_sum, in the first piece of a shard
 * only. The primary key is (owner, shard, piece).
 */
#include "store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

enum { RUN = 1, SLOT, ITERATION, OWNER, SHARD, PIECE, DATA, TOKEN, SQUARE_SUM };

/* Opens the partition of an iteration and its primary key. */
static void open_partition(gan_pieces *p, gan_table table, int32 run, int32 iteration,
                           LOCKMODE mode) {
    Oid relation = RelnameGetRelid(gan_partition(table, run, iteration));

    memset(p, 0, sizeof *p);
    p->lock = mode;
    if (!OidIsValid(relation))
        elog(ERROR, "partition %s is missing", gan_partition(table, run, iteration));
    p->run = run;
    p->iteration = iteration;
    p->relation = table_open(relation, mode);
    if (!OidIsValid(RelationGetPrimaryKeyIndex(p->relation)))
        elog(ERROR, "table %s has no primary key", RelationGetRelationName(p->relation));
    p->index = index_open(RelationGetPrimaryKeyIndex(p->relation), mode);
    p->slot = table_slot_create(p->relation, NULL);
}

/* Opens an iteration's partition for reading what a snapshot sees; it must stay registered until
 * the end. */
void gan_pieces_open(gan_pieces *p, gan_table table, int32 run, int32 iteration,
                     Snapshot snapshot) {
    open_partition(p, table, run, iteration, AccessShareLock);
    p->scan = index_beginscan(p->relation, p->index, snapshot, 3, 0);
}

/* Opens an iteration's partition for writing. */
void gan_pieces_open_to_write(gan_pieces *p, gan_table table, int32 run, int32 iteration) {
    open_partition(p, table, run, iteration, RowExclusiveLock);
    p->info = BuildIndexInfo(p->index);
}

static void close_partition(gan_pieces *p, LOCKMODE lock) {
    if (p->scan)
        index_endscan(p->scan);
    ExecDropSingleTupleTableSlot(p->slot);
    index_close(p->index, lock);
    table_close(p->relation, lock);
}

/* Closes it; the lock on the table stays until the end of the transaction. */
void gan_pieces_close(gan_pieces *p) {
    close_partition(p, NoLock);
}

/*
 * Closes it and releases the lock, for a function that a student calls: the transaction may last
 * after the call for as long as the student likes (a pipeline without a Sync, an answer that is
 * never read), and the step needs an exclusive lock on the partition. Data that was read is a copy.
 * Rows that were written still belong to this transaction; if the partition is emptied before it
 * commits, they are lost with their file, but they are not needed: only uploads of an iteration
 * that is over are emptied.
 */
void gan_pieces_release(gan_pieces *p) {
    close_partition(p, p->lock);
}

/* Goes to a piece of a shard. */
void gan_pieces_seek(gan_pieces *p, int64 owner, int32 shard, int32 piece) {
    ScanKeyData keys[3];

    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(owner));
    ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(shard));
    ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(piece));
    index_rescan(p->scan, keys, 3, NULL, 0);
    p->owner = owner;
    p->shard = shard;
    p->piece = piece;
}

/*
 * Returns the bytes of the next piece in place in the server's buffer, valid until the next call;
 * null at the end of the shard, or if it belongs to another iteration. Pieces come in order; a
 * missing one is an error.
 */
const unsigned char *gan_pieces_next(gan_pieces *p, size_t *size) {
    bool null;
    bytea *data;

    p->found = index_getnext_slot(p->scan, ForwardScanDirection, p->slot);
    if (!p->found || DatumGetInt32(slot_getattr(p->slot, ITERATION, &null)) != p->iteration)
        return NULL;
    if (DatumGetInt32(slot_getattr(p->slot, PIECE, &null)) != p->piece) {
        if (p->lenient)
            return NULL;
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("%s: piece %d of shard %d is missing",
                               RelationGetRelationName(p->relation), p->piece, p->shard)));
    }
    p->piece++;
    data = (bytea *)DatumGetPointer(slot_getattr(p->slot, DATA, &null));
    if (VARATT_IS_EXTENDED(data)) /* a short header, or a row that was inserted by hand */
        data = DatumGetByteaP(PointerGetDatum(data));
    *size = VARSIZE(data) - VARHDRSZ;
    return (unsigned char *)VARDATA(data);
}

/* Reads the receipt of an upload from the first piece of a shard; false if there is none in this
 * iteration. */
bool gan_pieces_receipt(gan_pieces *p, int64 owner, int32 shard, pg_uuid_t *token,
                        double *square_sum) {
    bool null[2];
    size_t size;
    Datum values[2];

    gan_pieces_seek(p, owner, shard, 0);
    if (!gan_pieces_next(p, &size))
        return false;
    values[0] = slot_getattr(p->slot, TOKEN, &null[0]);
    values[1] = slot_getattr(p->slot, SQUARE_SUM, &null[1]);
    if (null[0] || null[1])
        return false;
    *token = *DatumGetUUIDP(values[0]);
    *square_sum = DatumGetFloat8(values[1]);
    return true;
}

/* Copies a whole blob of a given size; false if no piece of it is there. */
bool gan_pieces_read(gan_pieces *p, int64 owner, int32 shard, unsigned char *blob, size_t size) {
    size_t at = 0, length;
    const unsigned char *bytes;

    gan_pieces_seek(p, owner, shard, 0);
    while ((bytes = gan_pieces_next(p, &length)) != NULL) {
        if (length > size - at)
            break;
        memcpy(blob + at, bytes, length);
        at += length;
    }
    if (p->lenient && at != size)
        return false;
    if (bytes || (at != 0 && at != size))
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("%s: shard %d has another length than its %zu bytes",
                               RelationGetRelationName(p->relation), shard, size)));
    return at != 0;
}

/* Reads a stored shard of the state into a blob and checks it; false if it isn't held. */
bool gan_state_read(gan_pieces *state, gan_part part, int32 shard, unsigned char *blob,
                    size_t count) {
    if (!gan_pieces_read(state, part, shard, blob, blob_size(count)))
        return false;
    gan_blob_require(blob_check(blob, blob_size(count), count), "gan_state_piece", shard);
    return true;
}

/* Deletes the pieces of a shard that a snapshot sees, from a partition that is open for writing.
 * The caller makes sure that no other session writes that shard. */
void gan_pieces_delete(gan_pieces *p, int64 owner, int32 shard, Snapshot snapshot) {
    p->scan = index_beginscan(p->relation, p->index, snapshot, 3, 0);
    gan_pieces_seek(p, owner, shard, 0);
    while (index_getnext_slot(p->scan, ForwardScanDirection, p->slot))
        simple_table_tuple_delete(p->relation, &p->slot->tts_tid, snapshot);
}

/* Inserts one row and its index entry. */
static void insert_piece(gan_pieces *p, HeapTuple row, Datum *values, bool *nulls) {
    ExecForceStoreHeapTuple(row, p->slot, false);
    /* Only TRUNCATE reclaims space, so the free space map is not searched. */
    table_tuple_insert(p->relation, p->slot, GetCurrentCommandId(true), TABLE_INSERT_SKIP_FSM,
                       NULL);
    GANN_FAULT("row_without_entry");
    index_insert(p->index, &values[OWNER - 1], &nulls[OWNER - 1], &p->slot->tts_tid, p->relation,
                 UNIQUE_CHECK_YES, false, p->info);
}

/* Stores a blob in pieces; the token and the sum of squares of an upload go with the first one. */
void gan_pieces_write(gan_pieces *p, int64 owner, int32 shard, const unsigned char *blob,
                      size_t size, const pg_uuid_t *token, double square_sum) {
    struct {
        int32 length;
        char bytes[PIECE_BYTES];
    } row;
    Datum values[SQUARE_SUM] = {Int32GetDatum(p->run),       Int32GetDatum(p->iteration % 2),
                                Int32GetDatum(p->iteration), Int64GetDatum(owner),
                                Int32GetDatum(shard),        0,
                                PointerGetDatum(&row),       UUIDPGetDatum(token),
                                Float8GetDatum(square_sum)};
    bool nulls[SQUARE_SUM] = {false};

    nulls[TOKEN - 1] = nulls[SQUARE_SUM - 1] = !token;
    for (size_t at = 0; at < size; at += PIECE_BYTES) {
        size_t length = Min(size - at, PIECE_BYTES);
        HeapTuple tuple;
        memcpy(row.bytes, blob + at, length);
        SET_VARSIZE(&row, VARHDRSZ + length);
        values[PIECE - 1] = Int32GetDatum((int32)(at / PIECE_BYTES));
        tuple = heap_form_tuple(RelationGetDescr(p->relation), values, nulls);
        if (p->blocks)
            gan_pieces_overwrite(p, owner, shard, (int32)(at / PIECE_BYTES), tuple);
        else
            insert_piece(p, tuple, values, nulls);
        heap_freetuple(tuple);
        nulls[TOKEN - 1] = nulls[SQUARE_SUM - 1] = true;
    }
}
