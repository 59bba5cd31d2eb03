/*
 * aggregators.h - the rules by which the results of an iteration's units become one
 *
 * A rule counts accounts, not programs: within an account results are averaged by their numbers of
 * images, and only then is an account compared with another. G and D are judged apart but accepted
 * or refused together.
 *
 * Every rule is one of two shapes. Either it is a weighted sum of units (mean, clipped, multikrum),
 * and all it does is to choose the weights, before the first number is added; or it sorts the
 * accounts' numbers, coordinate by coordinate, and takes the mean of some of them (trimmed,
 * median). What it must know of whole vectors beforehand it says by `needs`. Nothing here
 * allocates: memory is the caller's.
 */
#ifndef DCGAN_AGGREGATORS_H
#define DCGAN_AGGREGATORS_H

#include "../dcgan.h"

/* The networks' places in arrays of two. */
enum { DCGAN_OF_GENERATOR, DCGAN_OF_DISCRIMINATOR, DCGAN_NETWORK_COUNT };

/* What is known of an iteration's results, and what a rule makes of them. */
typedef struct dcgan_round {
    size_t units, accounts;
    const size_t *account; /* [units]: whose it is, 0 … accounts - 1 */
    const double *images;  /* [units] */
    /* [units]: minibatches behind a change of the weights; 1 for a gradient */
    const double *effort;
    /* [units][2]: of G and D (0 where a network isn't stepped); of rules that need norms */
    const double *norms;
    /* [2][accounts][accounts]: squared, of G and D; of rules that need them */
    const double *distances;
    double *scratch; /* [dcgan_round_scratch] */
    /* [units], out: the units' weights in the sum; of a rule that sorts: within their account */
    double *weight;
    /* [units], out: by what the rule has multiplied the weight in the mean: 1 all of it, 0 none */
    double *scale;
} dcgan_round;

typedef enum dcgan_knowledge {
    DCGAN_NEEDS_NOTHING,
    DCGAN_NEEDS_NORMS,
    DCGAN_NEEDS_DISTANCES
} dcgan_knowledge;

typedef struct dcgan_aggregator {
    const char *name;
    dcgan_knowledge needs;
    void (*weigh)(const dcgan_round *round);
    /* Which of the sorted numbers of so many accounts are averaged: first … last - 1. NULL: the
     * rule is a sum. */
    void (*ranks)(size_t accounts, size_t *first, size_t *last);
} dcgan_aggregator;

/* Finds a rule by its name; NULL if there is none. */
const dcgan_aggregator *dcgan_aggregator_find(const char *name);

/* Returns the rules, one after the other; NULL after the last. */
const dcgan_aggregator *dcgan_aggregator_at(size_t i);

/* Counts the doubles of scratch memory that a rule needs. */
size_t dcgan_round_scratch(const dcgan_aggregator *rule, size_t accounts);

/* The rules' own functions; look them up in the table. */
void dcgan_weigh_by_images(const dcgan_round *round);
void dcgan_weigh_within_account(const dcgan_round *round);
void dcgan_weigh_clipped(const dcgan_round *round);
void dcgan_weigh_multikrum(const dcgan_round *round);
void dcgan_trimmed_ranks(size_t accounts, size_t *first, size_t *last);
void dcgan_median_ranks(size_t accounts, size_t *first, size_t *last);

/* Adds the images of each account's units to images[accounts]. */
void dcgan_images_of_accounts(const dcgan_round *round, double *images);

/* Sorts numbers, smallest first. */
void dcgan_sort(double *x, size_t count);

/* Returns the median of numbers, which it sorts: of an even count the mean of the two in the
 * middle. */
double dcgan_median(double *x, size_t count);

/* ---- sorting, coordinate by coordinate (order.c) ---- */

/* Puts the smaller of two inputs at low, the larger at high. */
typedef struct dcgan_comparator {
    uint16_t low, high;
} dcgan_comparator;

/* The most inputs that a network can have. */
#define DCGAN_MAX_INPUTS ((size_t)65536)

/* Builds Batcher's network for so many inputs, as far as ranks first … last - 1 depend on it;
 * returns the number of comparators. network may be NULL: then it counts all of Batcher's, which is
 * enough memory for any ranks. */
size_t dcgan_sorting_network(size_t inputs, size_t first, size_t last, dcgan_comparator *network);

/* What dcgan_ranked_mean needs to know; scratch is [inputs][DCGAN_SORT_LANES]. */
#define DCGAN_SORT_LANES 64
typedef struct dcgan_sorter {
    const dcgan_comparator *network;
    size_t comparators, inputs, first, last;
    real *scratch;
} dcgan_sorter;

/* For each coordinate: the mean of the numbers of ranks first … last - 1 of inputs rows, which are
 * stride numbers apart. Added up in double precision, smallest first, and rounded once. */
void dcgan_ranked_mean(real *mean, const real *rows, size_t stride, size_t count,
                       const dcgan_sorter *sorter);

/* The same of a few numbers in double precision: row by row, the sums of dcgan_statistics_add of
 * each account; column is [inputs]. */
void dcgan_ranked_sums(double *sums, const double *rows, size_t inputs, size_t count, size_t first,
                       size_t last, double *column);

/* ---- distances (multikrum.c) ---- */

/* Adds the squares of the rows' differences to distances[inputs][inputs], both halves. The sums are
 * taken in fixed lanes and parts, so that every width of vector gives the same bits. A slice of a
 * vector must always be handed over in the same cuts for that. */
void dcgan_add_distances(double *distances, const real *rows, size_t stride, size_t inputs,
                         size_t count);

/* How many of so many accounts Multi-Krum takes for attackers, and leaves out. */
size_t dcgan_multikrum_refused(size_t accounts);

/* ---- the relative size of an update ---- */

/* Adds the squares of new - old, and of old. */
void dcgan_update_size(const real *weights, const real *old, size_t count, double *change,
                       double *size);

/* Shortens an update: weights = old + scale (weights - old). */
void dcgan_update_scale(real *weights, const real *old, size_t count, double scale);

#endif
