/*
 * weigh.c - what a rule must know of the results before it adds the first number: norms, distances,
 * weights
 */
#include "combine.h"

#include "miscadmin.h"

#include <math.h>

/* Tells whether a shard holds numbers of both networks. */
static bool is_shared(const gan_combiner *c, int32 shard) {
    size_t border = c->run->model.discriminator.first, first = (size_t)shard * SHARD_COUNT;

    return first < border && border < first + gan_shard_length(&c->run->model, shard);
}

/* Adds up the squares of a unit's shard by network, from the numbers themselves. */
static void measure_shared(gan_combiner *c, int i, int32 shard, unsigned char *blob,
                           double *squares) {
    size_t count = gan_shard_length(&c->run->model, shard);
    gan_tile whole = {.shard = shard, .last = count};

    if (!gan_pieces_read(c->gradients, c->list->units[i], shard, blob, blob_size(count)))
        gan_result_missing(c, i, shard);
    for (int n = 0; n < DCGAN_NETWORK_COUNT; n++) {
        gan_slice part = gan_tile_slice(
            c, &whole, n == DCGAN_OF_GENERATOR ? DCGAN_GENERATOR_ONLY : DCGAN_DISCRIMINATOR_ONLY);
        gan_blob_require(dcgan_finite(gan_blob_values(blob) + part.at, part.count, &squares[n])
                             ? BLOB_OK
                             : BLOB_CRC,
                         "gan_gradient", shard);
    }
}

/* Returns the sum of the squares of a unit's shard, as it was stored with the upload. */
static double stored_squares(gan_combiner *c, int i, int32 shard) {
    pg_uuid_t token;
    double squares;

    if (!gan_pieces_receipt(c->gradients, c->list->units[i], shard, &token, &squares))
        gan_result_missing(c, i, shard);
    return squares;
}

/* Computes the norms of the units' results for each network: from the sums stored with the uploads
 * and, for the one shard that belongs to both networks, from the numbers. */
static double *measure_norms(gan_combiner *c) {
    double *norms = palloc0(c->list->count * DCGAN_NETWORK_COUNT * sizeof *norms);
    unsigned char *blob = gan_blob_new(SHARD_COUNT);

    for (int i = 0; i < c->list->count; i++) {
        double *squares = norms + i * DCGAN_NETWORK_COUNT;
        CHECK_FOR_INTERRUPTS();
        for (int32 shard = 0; shard < c->run->shards; shard++) {
            if (!gan_shard_needed(c->run, c->run->iteration, shard))
                continue;
            if (is_shared(c, shard))
                measure_shared(c, i, shard, blob, squares);
            else
                squares[(size_t)shard * SHARD_COUNT < c->run->model.discriminator.first
                            ? DCGAN_OF_GENERATOR
                            : DCGAN_OF_DISCRIMINATOR] += stored_squares(c, i, shard);
        }
        for (int n = 0; n < DCGAN_NETWORK_COUNT; n++)
            squares[n] = sqrt(squares[n]);
    }
    return norms;
}

/* Computes the squared distances between all accounts, by network; tile by tile, like the step
 * itself. */
static double *measure_distances(gan_combiner *c) {
    size_t n = c->list->account_count;
    double *distances = palloc_extended(DCGAN_NETWORK_COUNT * n * n * sizeof *distances,
                                        MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

    dcgan_weigh_within_account(&c->round);
    for (int32 shard = 0; shard < c->run->shards; shard++) {
        if (!gan_shard_needed(c->run, c->run->iteration, shard))
            continue;
        for (gan_tile t = gan_first_tile(c, shard); gan_tile_is_in(&t); gan_next_tile(c, &t)) {
            gan_slice g = gan_tile_slice(c, &t, DCGAN_GENERATOR_ONLY),
                      d = gan_tile_slice(c, &t, DCGAN_DISCRIMINATOR_ONLY);
            gan_gather_tile(c, &t);
            dcgan_add_distances(distances, c->rows + g.at, t.last - t.first, n, g.count);
            dcgan_add_distances(distances + n * n, c->rows + d.at, t.last - t.first, n, d.count);
        }
    }
    return distances;
}

/* Computes how many minibatches each unit's change comes from; 1 for a gradient. */
static double *efforts(const gan_combiner *c) {
    double *effort = palloc(c->list->count * sizeof *effort);

    for (int i = 0; i < c->list->count; i++)
        effort[i] = c->run->local_steps > 0 ? c->list->images[i] / c->run->batch : 1;
    return effort;
}

/* Gives each unit its weight in the sum, after computing what the rule must know of whole
 * vectors. */
void gan_weigh(gan_combiner *c) {
    size_t units = c->list->count;

    c->round = (dcgan_round){
        .units = units,
        .accounts = c->list->account_count,
        .account = c->list->accounts,
        .images = c->list->images,
        .effort = efforts(c),
        .parameters = c->run->rule.parameters,
        .scratch = palloc_extended(
            dcgan_round_scratch(c->rule, c->list->account_count) * sizeof(double), MCXT_ALLOC_HUGE),
        .weight = palloc(units * sizeof(double)),
        .scale = palloc(units * sizeof(double)),
    };
    if (c->rule->needs & DCGAN_NEEDS_NORMS)
        c->round.norms = measure_norms(c);
    if (c->rule->needs & DCGAN_NEEDS_DISTANCES)
        c->round.distances = measure_distances(c);
    c->rule->weigh(&c->round);
}

/*
 * Returns the units' weights in the mean of the statistics; they sum to 1. A rule that bounds norms
 * also bounds those of the statistics, as if they were one more network, and a clipped unit counts
 * less.
 */
const double *gan_weigh_statistics(gan_combiner *c) {
    dcgan_round round = c->round;
    double *norms, *weight = palloc(round.units * sizeof *weight), *effort, sum = 0;

    if (!(c->rule->needs & DCGAN_NEEDS_NORMS))
        return c->round.weight;
    norms = palloc0(round.units * DCGAN_NETWORK_COUNT * sizeof *norms);
    effort = palloc(round.units * sizeof *effort);
    round.scale = palloc(round.units * sizeof *round.scale);
    round.weight = weight;
    round.norms = norms;
    round.effort = effort;
    for (size_t i = 0; i < round.units; i++) {
        norms[i * DCGAN_NETWORK_COUNT] = sqrt(stored_squares(c, (int)i, c->run->shards));
        effort[i] = 1;
    }
    c->rule->weigh(&round);
    for (size_t i = 0; i < round.units; i++)
        sum += weight[i] = round.images[i] * c->round.scale[i] * round.scale[i];
    for (size_t i = 0; i < round.units; i++)
        weight[i] /= sum;
    return weight;
}
