/*
 * run.h - a run as a value: the options that a step, a download or a sheet needs, and its shards
 */
#ifndef GAN_RUN_H
#define GAN_RUN_H

#include "../module/module.h"

#include "../../dcgan/rules/rules.h"
#include "../../formats/wire/blob.h"

/* The beginning of an aggregator that is a function in SQL. */
#define GAN_SQL_RULE "sql:"

/* The options of a run that a step or a sheet needs; read from gan_run. */
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
    int optimiser_parts;                         /* the weights, and its moments */
    dcgan_chosen_rule rule;                      /* combines results */
    const char *sql_rule;                        /* the class's own rule, or null */
    double rule_seconds;                         /* how long that function may take for a tile */
    double update_limit;                         /* ‖Δw‖/‖w‖ of a network in one step */
    int32 batch;
    dcgan_model model;
    int32 shards;          /* of the parameters; the statistics are one more */
    blob_element download; /* of the changes that workers follow; BLOB_FLOAT32: there are none */
    double average_decay;  /* of the generator's moving average; 0: there is none */
} gan_run;

/* The parts of a run's state. Each is stored in shards; which a run has follows from its
 * options. */
typedef enum gan_part {
    GAN_WEIGHTS,
    GAN_FIRST_MOMENT,
    GAN_SECOND_MOMENT,
    GAN_OPTIMISER_PARTS,
    /* the workers' copy of the weights, if the run has changes for them to download */
    GAN_COPY = GAN_OPTIMISER_PARTS,
    GAN_CHANGE, /* the change from the previous iteration's copy to this one */
    /* moving average of the weights, of the shards that hold something of the generator */
    GAN_AVERAGE,
    GAN_PARTS
} gan_part;

/* run.c: reads a run from gan_run; with lock, so that nobody else changes it until the end of the
 * transaction. Needs SPI to be connected. */
extern void gan_run_read(gan_run *run, int32 number, bool lock);

/* Sets a run to an iteration: its number, and the learning rates of its schedule. */
extern void gan_run_at(gan_run *run, int32 iteration);

/* Returns the run that an argument names; if it is null, the one that gan_the_run finds. */
extern int32 gan_run_find(FunctionCallInfo fcinfo, int argument);

/* shards.c: names the networks that an iteration's units learn and its step moves */
extern dcgan_networks gan_networks_stepped(const gan_run *run, int32 iteration);

/* Counts the numbers of a shard; the shard after the last is the statistics. 0: there is no such
 * shard. */
extern size_t gan_shard_length(const dcgan_model *model, int32 shard);

/* Tells whether an iteration's units upload a shard: one that holds something of a network that is
 * stepped, or the statistics. */
extern bool gan_shard_needed(const gan_run *run, int32 iteration, int32 shard);

/* Tells whether a part of the state is stored in a run, and whether a shard of it is. */
extern bool gan_run_has(const gan_run *run, gan_part part);
extern bool gan_shard_has(const gan_run *run, gan_part part, int32 shard);

/* Computes the bytes that are stored of a part of a shard. */
extern size_t gan_part_size(const gan_run *run, gan_part part, int32 shard);

#endif
