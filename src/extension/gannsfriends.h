/*
 * gannsfriends.h - what the files of the extension share
 */
#ifndef GANNSFRIENDS_H
#define GANNSFRIENDS_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "../dcgan/dcgan.h"
#include "../wire/blob.h"

/* What a step or a sample needs to know of a run; read from gan_run. */
typedef struct gan_run {
    int32 run;
    int32 iteration;
    int32 quorum;
    char *state;
    int64 seed;
    double norm_momentum;
    dcgan_adam_options adam;
    dcgan_model model;
    int32 shards; /* of the parameters; the statistics are one more */
} gan_run;

/* A run's tables that are as large as the model. */
typedef enum gan_table { GAN_WEIGHTS, GAN_MOMENTS, GAN_BATCH_NORM, GAN_GRADIENT } gan_table;

/* run.c: all of these need SPI to be connected */
extern void gan_run_read(gan_run *run, int32 number, bool lock);
extern int32 gan_run_find(FunctionCallInfo fcinfo, int argument);

/* shard.c */
extern const char *gan_partition(gan_table table, int32 run, int32 iteration);
extern void gan_partition_empty(gan_table table, int32 run, int32 iteration);
extern bytea *gan_blob_new(size_t count);
extern float *gan_blob_values(bytea *blob);
extern void gan_blob_seal(bytea *blob);
extern float *gan_blob_expect(Datum blob, size_t count, const char *what);
extern uint32 gan_blob_crc(bytea *blob);
extern size_t gan_shard_length(const dcgan_model *model, int32 shard);

/* memory.c */
extern void gan_keep_memory(void);

/* spi.c */
extern int gan_execute(const char *query, int arguments, Oid *types, Datum *values, bool read_only);
extern Datum gan_value(int row, int column, bool *is_null);

/* Turns a status of the library into an error; DCGAN_OK does nothing. */
extern void gan_check_status(dcgan_status status);

#endif
