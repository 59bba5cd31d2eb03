/*
 * store.h - stores a run's tensors in rows of tables, in pieces of almost a page
 *
 * A run has two partitions of each large table, for even and for odd iterations. A step reads one
 * and fills the other, which it empties first (partition.c). A tensor is cut into shards, a shard's
 * blob (blobs.c) into pieces (pieces.c):
 *
 *     gan_pieces p;
 *     gan_pieces_open(&p, GAN_STATE, run, iteration, snapshot);         // to read
 *     gan_pieces_read(&p, GAN_WEIGHTS, shard, blob, blob_size(count));  // a whole shard, or
 *     gan_pieces_seek(&p, GAN_WEIGHTS, shard, 0);                       // piece by piece
 *     while ((bytes = gan_pieces_next(&p, &size)) != NULL) …
 *     gan_pieces_close(&p);
 */
#ifndef GAN_STORE_H
#define GAN_STORE_H

#include "../run/run.h"

#include "access/genam.h"
#include "nodes/execnodes.h"
#include "utils/uuid.h"

/* The two model-sized tables of a run. */
typedef enum gan_table { GAN_STATE, GAN_GRADIENT } gan_table;

/* 2,018 numbers: as many as fit in a row of gan_gradient_piece on a page of 8 kB. */
#define PIECE_BYTES ((size_t)8072)

/* A partition that is open, and where in it a reader is. */
typedef struct gan_pieces {
    int32 run, iteration;
    Relation relation, index;
    int lock; /* on both: a LOCKMODE */
    TupleTableSlot *slot;
    IndexScanDesc scan; /* when reading */
    IndexInfo *info;    /* when writing */
    int64 owner;
    int32 shard, piece;        /* the next one */
    BlockNumber *blocks;       /* of the old rows to be overwritten, in the order of the keys */
    size_t *starts[GAN_PARTS]; /* where a shard's begin in blocks */
    bool lenient;              /* a missing piece means that the iteration isn't held any more */
    bool found;                /* the last step of a reader found a row, of whatever iteration */
} gan_pieces;

/* partition.c: names the partition that holds an iteration */
extern const char *gan_partition(gan_table table, int32 run, int32 iteration);

/* Empties the partition that an iteration will fill: by TRUNCATE, or row by row if another session
 * reads it. */
extern void gan_partition_empty(gan_table table, int32 run, int32 iteration);

/* Finds the partition of the next iteration's gradients; invalid if there is nothing in it. */
extern Oid gan_next_gradients(const gan_run *run);

/* Empties the next iteration's gradients, if there are any. */
extern void gan_make_room(const gan_run *run);

/* room.c: locks a partition exclusively for this transaction; false if a session that is not a
 * student's has it open */
extern bool gan_take_alone(Oid relation);

/* blobs.c: allocates a blob for count numbers; to be filled in and sealed */
extern unsigned char *gan_blob_new(size_t count);
extern float *gan_blob_values(unsigned char *blob);
extern void gan_blob_seal(unsigned char *blob, size_t count);

/* Raises an error unless a stored blob is fine. */
extern void gan_blob_require(blob_status status, const char *what, int32 shard);

/* Computes the digest of a state: SHA-256 of the checksums of its weights' shards, statistics
 * last. */
extern void gan_digest(const uint32 *checksums, int count, uint8 digest[32]);

/* Returns where the first negative number is, count if there is none. */
extern size_t gan_first_negative(const float *values, size_t count);

/* pieces.c: opens a partition, to read what a snapshot sees or to write */
extern void gan_pieces_open(gan_pieces *p, gan_table table, int32 run, int32 iteration,
                            Snapshot snapshot);
extern void gan_pieces_open_to_write(gan_pieces *p, gan_table table, int32 run, int32 iteration);

/* Closes it: the lock stays until the end of the transaction, or (release) is given back. */
extern void gan_pieces_close(gan_pieces *p);
extern void gan_pieces_release(gan_pieces *p);

/* Goes to a piece of a shard, and returns the bytes of one after the other; null at the end. */
extern void gan_pieces_seek(gan_pieces *p, int64 owner, int32 shard, int32 piece);
extern const unsigned char *gan_pieces_next(gan_pieces *p, size_t *size);

/* Reads the receipt of an upload; false if there is none in this iteration. */
extern bool gan_pieces_receipt(gan_pieces *p, int64 owner, int32 shard, pg_uuid_t *token,
                               double *square_sum);

/* Copies a whole blob of a given size; false if no piece of it is there. */
extern bool gan_pieces_read(gan_pieces *p, int64 owner, int32 shard, unsigned char *blob,
                            size_t size);

/* The same of a shard of the state, which is checked; false if it isn't held. */
extern bool gan_state_read(gan_pieces *state, gan_part part, int32 shard, unsigned char *blob,
                           size_t count);

extern void gan_pieces_delete(gan_pieces *p, int64 owner, int32 shard, Snapshot snapshot);

/* Stores a blob in pieces; the token and the sum of squares of an upload go with the first one. */
extern void gan_pieces_write(gan_pieces *p, int64 owner, int32 shard, const unsigned char *blob,
                             size_t size, const pg_uuid_t *token, double square_sum);

/* page.c: overwrites the row that has the same key, in a partition that was opened to be filled */
extern void gan_pieces_overwrite(gan_pieces *p, int64 owner, int32 shard, int32 piece,
                                 HeapTuple row);

/* reuse.c: opens the partition that a step will fill: to overwrite the old rows if possible, else
 * emptied */
extern void gan_state_open_to_fill(gan_pieces *p, const gan_run *run, int32 iteration);

#endif
