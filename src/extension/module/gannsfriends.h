/*
 * gannsfriends.h - what the files of the extension share
 */
#ifndef GANNSFRIENDS_H
#define GANNSFRIENDS_H

#include "postgres.h"

#include "access/genam.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "../../dcgan/rules/aggregators.h"
#include "../../dcgan/dcgan.h"
#include "../../formats/wire/blob.h"
#include "../../formats/wire/change.h"

#include "fault.h"

/* What a step or a sample needs to know of a run; read from gan_run. */
typedef struct gan_run {
    int32 run;
    int32 iteration;
    int32 quorum;
    char *state;
    int64 seed;
    double norm_momentum;
    int32 local_steps; /* 0: units give gradients; else changes of the weights */
    bool alternating;
    dcgan_schedule schedule;
    double generator_rate, discriminator_rate;   /* the schedule's factor is to be applied */
    dcgan_adam_options generator, discriminator; /* this iteration's */
    dcgan_outer_options outer;                   /* of local units */
    int optimiser_parts;                         /* the weights, and the moments that it keeps */
    const dcgan_aggregator *aggregator;          /* the rule by which results become one */
    double update_limit;                         /* ‖Δw‖/‖w‖ of a network in one step */
    int32 batch;
    dcgan_model model;
    int32 shards;          /* of the parameters; the statistics are one more */
    blob_element download; /* of the changes that workers follow; BLOB_FLOAT32: there are none */
    double average_decay;  /* of the generator's moving average; 0: there is none */
} gan_run;

/* A run's tables that are as large as the model, and whose the pieces in gan_state_piece are. */
typedef enum gan_table { GAN_STATE, GAN_GRADIENT } gan_table;
typedef enum gan_part {
    GAN_WEIGHTS,
    GAN_FIRST_MOMENT,
    GAN_SECOND_MOMENT,
    GAN_OPTIMISER_PARTS,
    GAN_COPY = GAN_OPTIMISER_PARTS, /* what workers hold, where the run has changes for them to follow */
    GAN_CHANGE,                     /* what led to it from the copy of the iteration before */
    GAN_AVERAGE, /* moving average of the weights, of the shards that hold something of the generator */
    GAN_PARTS
} gan_part;

/* 2,018 numbers: as many as a row of gan_gradient_piece has room for on a page of 8 kB. */
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
    BlockNumber *blocks;       /* when old rows are overwritten: theirs, in the order of the keys */
    size_t *starts[GAN_PARTS]; /* where a shard's begin in blocks */
    bool lenient;              /* a piece that is missing means the iteration isn't held any more */
    bool found;                /* the last step of a reader found a row, of whatever iteration */
} gan_pieces;

/* run.c: all of these need SPI to be connected */
extern void gan_run_read(gan_run *run, int32 number, bool lock);
extern void gan_run_at(gan_run *run, int32 iteration);
extern int32 gan_run_find(FunctionCallInfo fcinfo, int argument);
extern dcgan_networks gan_networks_stepped(const gan_run *run, int32 iteration);
extern bool gan_shard_needed(const gan_run *run, int32 iteration, int32 shard);

/* shard.c */
extern const char *gan_partition(gan_table table, int32 run, int32 iteration);
extern void gan_partition_empty(gan_table table, int32 run, int32 iteration);
extern void gan_make_room(const gan_run *run);
extern unsigned char *gan_blob_new(size_t count);
extern float *gan_blob_values(unsigned char *blob);
extern void gan_blob_seal(unsigned char *blob, size_t count);
extern void gan_blob_require(blob_status status, const char *what, int32 shard);
extern bool gan_state_read(gan_pieces *state, gan_part part, int32 shard, unsigned char *blob, size_t count);
extern void gan_digest(const uint32 *checksums, int count, uint8 digest[32]);
extern bytea *gan_bytea(const void *bytes, size_t size);
extern size_t gan_shard_length(const dcgan_model *model, int32 shard);
extern bool gan_run_has(const gan_run *run, gan_part part);
extern bool gan_shard_has(const gan_run *run, gan_part part, int32 shard);
extern size_t gan_part_size(const gan_run *run, gan_part part, int32 shard);

/* memory.c */
extern void gan_keep_memory(void);

/* pieces.c */
extern void gan_pieces_open(gan_pieces *p, gan_table table, int32 run, int32 iteration, Snapshot snapshot);
extern void gan_pieces_open_to_write(gan_pieces *p, gan_table table, int32 run, int32 iteration);
extern void gan_pieces_close(gan_pieces *p);
extern void gan_pieces_release(gan_pieces *p);
extern void gan_pieces_seek(gan_pieces *p, int64 owner, int32 shard, int32 piece);
extern const unsigned char *gan_pieces_next(gan_pieces *p, size_t *size);
extern bool gan_pieces_receipt(gan_pieces *p, int64 owner, int32 shard, pg_uuid_t *token, double *square_sum);
extern bool gan_pieces_read(gan_pieces *p, int64 owner, int32 shard, unsigned char *blob, size_t size);
extern void gan_pieces_delete(gan_pieces *p, int64 owner, int32 shard, Snapshot snapshot);
extern void gan_pieces_write(gan_pieces *p, int64 owner, int32 shard, const unsigned char *blob, size_t size,
                             const pg_uuid_t *token, double square_sum);

/* room.c */
extern bool gan_take_alone(Oid relation);

/* reuse.c */
extern void gan_state_open_to_fill(gan_pieces *p, const gan_run *run, int32 iteration);
extern void gan_pieces_overwrite(gan_pieces *p, int64 owner, int32 shard, int32 piece, HeapTuple row);

/* inspect.c */
extern size_t gan_first_negative(const float *values, size_t count);

/* spi.c */
extern int gan_execute(const char *query, int arguments, Oid *types, Datum *values, bool read_only);
extern int gan_execute_saved(SPIPlanPtr *plan, const char *query, int arguments, Oid *types, Datum *values,
                             bool read_only);
extern Datum gan_value(int row, int column, bool *is_null);

/* gannsfriends.c */
extern void gan_refuse_block(const char *name);

/* Turns a status of the library into an error; DCGAN_OK does nothing. */
extern void gan_check_status(dcgan_status status);

#endif
