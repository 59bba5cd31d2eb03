/*
 * page.c - overwrites a page that holds one row
 *
 * The page is written to the WAL through PostgreSQL's API for extensions (GenericXLog): it is put
 * together in a copy, and copy and log record become valid together. An error before that leaves
 * the page unchanged.
 */
#include "store.h"

#include "access/generic_xlog.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Gives a row the header of one that this transaction inserts there. */
static void set_header(HeapTuple row, BlockNumber block) {
    HeapTupleHeader header = row->t_data;

    header->t_infomask &= ~HEAP_XACT_MASK;
    header->t_infomask2 &= ~HEAP2_XACT_MASK;
    header->t_infomask |= HEAP_XMAX_INVALID;
    HeapTupleHeaderSetXmin(header, GetCurrentTransactionId());
    HeapTupleHeaderSetCmin(header, GetCurrentCommandId(true));
    HeapTupleHeaderSetXmax(header, InvalidTransactionId);
    ItemPointerSet(&header->t_ctid, block, FirstOffsetNumber);
}

/* Puts a row in the place of the one that had its key. */
void gan_pieces_overwrite(gan_pieces *p, int64 owner, int32 shard, int32 piece, HeapTuple row) {
    BlockNumber block = p->blocks[p->starts[owner][shard] + piece];
    Buffer buffer;
    GenericXLogState *log;
    Page page;

    GANN_FAULT("before_page");
    set_header(row, block);
    buffer = ReadBuffer(p->relation, block);
    LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
    log = GenericXLogStart(p->relation);
    page = GenericXLogRegisterBuffer(log, buffer, GENERIC_XLOG_FULL_IMAGE);
    PageInit(page, BufferGetPageSize(buffer), 0);
    if (PageAddItem(page, (Item)row->t_data, row->t_len, FirstOffsetNumber, false, true) !=
        FirstOffsetNumber)
        elog(ERROR, "a piece does not fit on an empty page");
    GANN_FAULT("page_not_logged");
    GenericXLogFinish(log);
    UnlockReleaseBuffer(buffer);
    GANN_FAULT("page_written");
}
