/*
 * reuse.c - overwrites the previous iteration's weights and moments with the next one's, page by
 * page
 *
 * This has the effect of TRUNCATE and INSERT, without returning 76 MB of file to the system and
 * allocating them again. Each heap page is overwritten in place with one new row that has the same
 * key and this transaction's ID (page.c). The row's address does not change, so the index stays
 * valid. It takes the same lock as TRUNCATE, with the same outcome: the rows are there if the
 * transaction commits; if it doesn't, the partition is empty.
 *
 * It is only possible if the partition is as a step leaves it: one row per page, each row once in
 * the index and not marked dead (readers mark the rows of a failed step), and no page in the
 * visibility map (a manual VACUUM sets it). Otherwise TRUNCATE restores that state.
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

/* Tells whether the partition is as a step leaves it. If there are as many rows as pages, and each
 * row is the first of its page, then each page holds one row. */
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

/* Opens the partition that a step will fill: to overwrite the old rows if possible, else
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
