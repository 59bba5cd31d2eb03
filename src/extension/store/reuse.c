/*
 * reuse.c - the next iteration's weights and moments over those of the iteration before, page by
 * page
 *
 * What TRUNCATE and INSERT do, without giving 76 MB of file back to the system and asking for them
 * again: every page is made anew with the one row it had, under this transaction's number (page.c).
 * The row keeps its place and its key, so that the index stays as it is. It takes the same lock as
 * TRUNCATE, and the outcome is the same: the rows are there if the transaction commits; if it
 * doesn't, the partition is empty.
 *
 * Only if everything is as a step leaves it: one row a page, each in the index once and not marked
 * as dead (a reader marks the rows of a step that failed), no page in the visibility map (a manual
 * VACUUM). Otherwise TRUNCATE makes it so.
 */
#include "store.h"

#include "access/genam.h"
#include "access/visibilitymap.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static int32 pieces_of(size_t size) {
    return (int32)((size + PIECE_BYTES - 1) / PIECE_BYTES);
}

/* Tells whether an index entry is the one of this key, and its row the first of a page. */
static bool is_entry(IndexScanDesc scan, ItemPointer tid, int64 part, int32 shard, int32 piece) {
    bool null;

    return tid && ItemPointerGetOffsetNumber(tid) == FirstOffsetNumber &&
           DatumGetInt64(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &null)) == part &&
           DatumGetInt32(index_getattr(scan->xs_itup, 2, scan->xs_itupdesc, &null)) == shard &&
           DatumGetInt32(index_getattr(scan->xs_itup, 3, scan->xs_itupdesc, &null)) == piece;
}

/* Walks through the whole index and notes the block of each row, in the order of the keys; tells
 * whether all are there and nothing else. */
static bool note_blocks(gan_pieces *p, const gan_run *run, IndexScanDesc scan, size_t total) {
    size_t n = 0;

    for (gan_part part = 0; part < GAN_PARTS; part++) {
        for (int32 shard = 0; shard <= run->shards; shard++) {
            CHECK_FOR_INTERRUPTS();
            if (!gan_shard_has(run, part, shard))
                continue;
            p->starts[part][shard] = n;
            for (int32 piece = 0; piece < pieces_of(gan_part_size(run, part, shard)); piece++) {
                ItemPointer tid = index_getnext_tid(scan, ForwardScanDirection);
                if (n == total || !is_entry(scan, tid, part, shard, piece))
                    return false;
                p->blocks[n++] = ItemPointerGetBlockNumber(tid);
            }
        }
    }
    return n == total && !index_getnext_tid(scan, ForwardScanDirection);
}

/* Tells whether the partition is as a step leaves it. Rows that are as many as pages, each the
 * first of its page, have a page each. */
static bool is_reusable(gan_pieces *p, const gan_run *run) {
    BlockNumber total = RelationGetNumberOfBlocks(p->relation), visible;
    IndexScanDesc scan;
    bool fine;

    visibilitymap_count(p->relation, &visible, NULL);
    if (total == 0 || visible > 0 || RelationIsLogicallyLogged(p->relation))
        return false;
    p->blocks = palloc_extended(total * sizeof *p->blocks, MCXT_ALLOC_HUGE);
    for (gan_part part = 0; part < GAN_PARTS; part++)
        p->starts[part] = palloc((run->shards + 1) * sizeof *p->starts[part]);
    scan = index_beginscan(p->relation, p->index, SnapshotAny, 0, 0);
    scan->xs_want_itup = true;
    index_rescan(scan, NULL, 0, NULL, 0);
    fine = note_blocks(p, run, scan, total);
    index_endscan(scan);
    return fine;
}

/* Opens the partition that a step will fill: over the old rows where that can be done, else
 * emptied. */
void gan_state_open_to_fill(gan_pieces *p, const gan_run *run, int32 iteration) {
    Oid relation = RelnameGetRelid(gan_partition(GAN_STATE, run->run, iteration));

    if (OidIsValid(relation) && gan_take_alone(relation)) {
        gan_pieces_open_to_write(p, GAN_STATE, run->run, iteration);
        if (is_reusable(p, run)) {
            GANN_FAULT("reusable");
            return;
        }
        gan_pieces_close(p);
    }
    gan_partition_empty(GAN_STATE, run->run, iteration);
    gan_pieces_open_to_write(p, GAN_STATE, run->run, iteration);
}
