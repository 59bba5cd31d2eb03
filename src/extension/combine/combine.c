/*
 * combine.c - combines the results of units, tile by tile
 *
 * It needs the memory of one tile, or of a tile for each account if the rule compares accounts.
 * Then tiles are shorter, so that it stays within a few megabytes.
 */
#include "combine.h"

#include "miscadmin.h"

/* Pieces of a shard that are summed at a time: their sums, 200 kB, stay in the second level
 * cache. */
#define TILE_PIECES 13
/* The memory for the rows of a rule that compares accounts, with up to 512 accounts. */
#define ROWS_BYTES ((size_t)4 << 20)

/* Gives a rule with tiles its working memory. */
static void prepare_rule(gan_combiner *c) {
    c->rule_memory = palloc_extended(c->rule->tile_memory(c->list->account_count), MCXT_ALLOC_HUGE);
    if (c->rule == &gan_sql_rule)
        gan_sql_rule_open(c->rule_memory, c->run);
    c->rule->tile_begin(c->rule_memory, &c->round);
}

/* Begins with the units' results and, if the rule does that beforehand, weighs them. An empty list
 * is an error. */
void gan_combiner_open(gan_combiner *c, const gan_run *run, const gan_unit_list *list,
                       gan_pieces *gradients) {
    size_t tile_count, accounts = list->account_count;
    bool has_rows;

    memset(c, 0, sizeof *c);
    c->run = run;
    c->networks = gan_networks_stepped(run, run->iteration);
    c->list = list;
    c->gradients = gradients;
    c->rule = run->sql_rule ? &gan_sql_rule : run->rule.rule;
    c->tile_pieces = TILE_PIECES;
    has_rows = c->rule->tile || c->rule->needs & DCGAN_NEEDS_DISTANCES;
    if (has_rows)
        c->tile_pieces = (int32)Max(1, Min(TILE_PIECES, ROWS_BYTES / (accounts * PIECE_BYTES)));
    tile_count = c->tile_pieces * PIECE_BYTES / sizeof(float);
    if (has_rows)
        c->rows = palloc_extended(accounts * tile_count * sizeof *c->rows, MCXT_ALLOC_HUGE);
    c->sum = palloc(tile_count * sizeof *c->sum);
    c->mean = palloc(tile_count * sizeof *c->mean);
    c->announced = palloc(list->count * sizeof *c->announced);
    c->computed = palloc(list->count * sizeof *c->computed);
    gan_chain_units(c);
    gan_weigh(c);
    if (c->rule->tile)
        prepare_rule(c);
}

/* Combines a tile, and adds to the norms of the networks that are stepped. */
void gan_combine_tile(gan_combiner *c, const gan_tile *t) {
    size_t count = t->last - t->first;
    gan_slice g = gan_tile_slice(c, t, DCGAN_GENERATOR_ONLY),
              d = gan_tile_slice(c, t, DCGAN_DISCRIMINATOR_ONLY);

    if (c->rule->tile) {
        gan_gather_tile(c, t);
        if (c->failure || !c->rule->tile(c->rule_memory, c->mean, c->rows, count, count)) {
            c->failure = gan_sql_rule_failure(c->rule_memory);
            memset(c->mean, 0, count * sizeof *c->mean);
        }
    } else {
        memset(c->sum, 0, count * sizeof *c->sum);
        for (int i = 0; i < c->list->count; i++)
            gan_add_unit(c, i, t);
        dcgan_mean_finish(c->mean, c->sum, count);
    }
    GANN_FAULT("tile_added");
    if (!dcgan_finite(c->mean + g.at, g.count, &c->square_sums[DCGAN_OF_GENERATOR]) ||
        !dcgan_finite(c->mean + d.at, d.count, &c->square_sums[DCGAN_OF_DISCRIMINATOR]))
        ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                        errmsg("the mean %s of shard %d is not finite",
                               c->run->local_steps > 0 ? "change" : "gradient", t->shard)));
}

/* Raises an error unless the data read of a shard has the announced checksums. */
void gan_combine_done(const gan_combiner *c, int32 shard) {
    for (int i = 0; i < c->list->count; i++)
        gan_blob_require(c->announced[i] == c->computed[i] ? BLOB_OK : BLOB_CRC, "gan_gradient",
                         shard);
}

/* Adds a unit's statistics to sums. */
static void add_statistics(gan_combiner *c, int i, double weight, double *sums,
                           unsigned char *blob) {
    size_t count = c->run->model.statistics_count;

    CHECK_FOR_INTERRUPTS();
    if (!gan_pieces_read(c->gradients, c->list->units[i], c->run->shards, blob, blob_size(count)))
        gan_result_missing(c, i, c->run->shards);
    gan_blob_require(blob_check(blob, blob_size(count), count), "gan_gradient", c->run->shards);
    dcgan_statistics_add(&c->run->model, sums, gan_blob_values(blob), weight);
}

/* Combines the accounts' statistics into one row, by the same rule as their results. */
static void combine_rows(gan_combiner *c, double *sums, unsigned char *blob) {
    size_t count = c->run->model.statistics_count, accounts = c->list->account_count;
    double *rows =
        palloc_extended(accounts * count * sizeof *rows, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

    for (int i = 0; i < c->list->count; i++)
        add_statistics(c, i, c->round.weight[i], rows + c->list->accounts[i] * count, blob);
    if (c->failure || !c->rule->tile_of_sums(c->rule_memory, sums, rows, count)) {
        c->failure = gan_sql_rule_failure(c->rule_memory);
        memset(sums, 0, count * sizeof *sums);
    }
    pfree(rows);
}

/* Combines the units' batch-norm statistics: merged is [statistics_count], means and biased
 * variances. */
void gan_combine_statistics(gan_combiner *c, float *merged) {
    size_t count = c->run->model.statistics_count;
    double *sums = palloc0(count * sizeof *sums);
    unsigned char *blob = gan_blob_new(count);

    if (c->rule->tile)
        combine_rows(c, sums, blob);
    else {
        const double *weight = gan_weigh_statistics(c);
        for (int i = 0; i < c->list->count; i++)
            add_statistics(c, i, weight[i], sums, blob);
    }
    dcgan_statistics_finish(&c->run->model, merged, sums);
}
