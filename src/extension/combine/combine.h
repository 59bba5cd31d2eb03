/*
 * combine.h - combines the results of an iteration's units into the one that moves the weights
 *
 * results.c reads the uploads of units, shard by shard and tile by tile; weigh.c asks the run's
 * rule (src/dcgan/rules/rules.h) how much each counts; combine.c combines them. Nothing is written:
 * the caller decides what to do with a tile.
 *
 *     gan_combiner c;
 *     gan_combiner_open(&c, &run, &list, &gradients);    // reads all once if the rule compares
 *     for (gan_tile t = gan_first_tile(&c, shard); gan_tile_is_in(&t); gan_next_tile(&c, &t))
 *         gan_combine_tile(&c, &t);                      // c.mean: t.last - t.first numbers
 *     gan_combine_done(&c, shard);                       // an error unless the checksums fit
 *     gan_combine_statistics(&c, merged);
 *
 * A rule that the class has written (sql_rule.c) may fail: then c.failure says why, and the result
 * is 0.
 */
#ifndef GAN_COMBINE_H
#define GAN_COMBINE_H

#include "../store/store.h"

/* The units whose results are put together, in the order of their first positions. */
typedef struct gan_unit_list {
    int count;
    int64 *units;
    double *images;
    size_t *accounts; /* numbered from 0 as they first appear */
    size_t account_count;
    int64 total_images;
} gan_unit_list;

/* A run of a shard's pieces: which, and which of the shard's numbers they hold. */
typedef struct gan_tile {
    int32 shard, piece, end;
    size_t count;       /* numbers of the shard */
    size_t first, last; /* numbers of the tile: first … last - 1 */
} gan_tile;

/* A part of a tile: of one network. */
typedef struct gan_slice {
    size_t at, count; /* from the tile's first number on */
} gan_slice;

typedef struct gan_combiner {
    const gan_run *run;
    dcgan_networks networks; /* that are stepped */
    const gan_unit_list *list;
    const dcgan_rule *rule;
    void *rule_memory;   /* of a rule with tiles */
    const char *failure; /* of the class's own rule; null: none */
    dcgan_round round;
    gan_pieces *gradients; /* open for reading, of the iteration that the run is at */
    int32 tile_pieces;
    uint32 *announced, *computed; /* checksums of the units' results of this shard */
    int *first_unit, *next_unit;  /* of each account, of the same account; -1: none */
    double *sum;                  /* [a tile] */
    float *mean;                  /* [a tile]: the outcome */
    /* [accounts][a tile], of a rule that compares accounts */
    float *rows;
    double square_sums[DCGAN_NETWORK_COUNT]; /* of the outcome so far, by network */
} gan_combiner;

extern void gan_unit_list_read(gan_unit_list *list, int rows);
extern void gan_combiner_open(gan_combiner *c, const gan_run *run, const gan_unit_list *list,
                              gan_pieces *gradients);
extern gan_tile gan_first_tile(const gan_combiner *c, int32 shard);
extern void gan_next_tile(const gan_combiner *c, gan_tile *t);
extern bool gan_tile_is_in(const gan_tile *t);
extern gan_slice gan_tile_slice(const gan_combiner *c, const gan_tile *t, dcgan_networks network);
extern void gan_combine_tile(gan_combiner *c, const gan_tile *t);
extern void gan_combine_done(const gan_combiner *c, int32 shard);
extern void gan_combine_statistics(gan_combiner *c, float *merged);

extern void gan_gather_tile(gan_combiner *c, const gan_tile *t);
extern void gan_result_missing(const gan_combiner *c, int i, int32 shard) pg_attribute_noreturn();

extern void gan_add_unit(gan_combiner *c, int i, const gan_tile *t);
extern void gan_chain_units(gan_combiner *c);

/* weigh.c: computes what a rule must know of whole vectors before the first tile, and the
 * weights */
extern void gan_weigh(gan_combiner *c);
extern const double *gan_weigh_statistics(gan_combiner *c);

/* sql_rule.c: a rule that the class has written */
extern const dcgan_rule gan_sql_rule;
extern void gan_sql_rule_open(void *memory, const gan_run *run);
extern const char *gan_sql_rule_failure(const void *memory);

#endif
