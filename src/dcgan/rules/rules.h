/*
 * rules.h - the rules that combine the results of an iteration's units
 *
 * A rule counts accounts, not workers: the results of an account are averaged, weighted by images,
 * before it is compared with other accounts. G and D are judged separately but accepted or refused
 * together.
 *
 * There are two kinds of rules. Some are a weighted sum of units (mean, clipped, multikrum): they
 * only choose the weights, before the first number is added, and `needs` says what they must know
 * of whole vectors for that. The others look at the accounts number by number (trimmed, median):
 * these have the functions of a tile.
 *
 * A new rule is one file, which ends with its dcgan_rule, and one row in rules.c. Nothing here
 * allocates: memory is the caller's.
 */
#ifndef DCGAN_RULES_H
#define DCGAN_RULES_H

#include "../dcgan.h"

#include <stdbool.h>

/* The networks' places in arrays of two. */
enum { DCGAN_OF_GENERATOR, DCGAN_OF_DISCRIMINATOR, DCGAN_NETWORK_COUNT };

/* ---- what a rule is given, and what it answers ---- */

/* How many numbers of its own a rule may be given. */
#define DCGAN_RULE_PARAMETERS 2

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
    const double *parameters; /* [DCGAN_RULE_PARAMETERS]: the rule's own */
    double *scratch;          /* [dcgan_round_scratch] */
    /* [units], out: the units' weights in the sum; of a rule with tiles: within their account */
    double *weight;
    /* [units], out: by what the rule has multiplied the weight in the mean: 1 all of it, 0 none */
    double *scale;
} dcgan_round;

/* Flags: what a rule must know of whole vectors before it weighs. */
enum { DCGAN_NEEDS_NOTHING = 0, DCGAN_NEEDS_NORMS = 1, DCGAN_NEEDS_DISTANCES = 2 };

typedef struct dcgan_rule_parameter {
    const char *name;        /* null: there are no more */
    double usual, low, high; /* low and high are allowed */
    const char *meaning;
} dcgan_rule_parameter;

typedef struct dcgan_rule {
    const char *name, *meaning;
    unsigned needs;
    size_t most_units; /* of an iteration; 0: any number */
    dcgan_rule_parameter parameters[DCGAN_RULE_PARAMETERS];
    void (*weigh)(const dcgan_round *round);
    /*
     * Of a rule that looks at the accounts number by number; all null of one that is a sum. Counts
     * the bytes of memory that it works in; prepares them, after it has weighed; makes of the
     * accounts' rows [accounts], stride numbers apart, one [count]; and does the same with rows of
     * double precision, [accounts][count], the sums of dcgan_statistics_add. These two return
     * whether they could.
     */
    size_t (*tile_memory)(size_t accounts);
    void (*tile_begin)(void *memory, const dcgan_round *round);
    bool (*tile)(void *memory, real *one, const real *rows, size_t stride, size_t count);
    bool (*tile_of_sums)(void *memory, double *one, const double *rows, size_t count);
} dcgan_rule;

/* ---- the table (rules.c) ---- */

/* A rule with the numbers that a run gives it. */
typedef struct dcgan_chosen_rule {
    const dcgan_rule *rule;
    double parameters[DCGAN_RULE_PARAMETERS];
} dcgan_chosen_rule;

/* Returns the rules, one after the other; NULL after the last. */
const dcgan_rule *dcgan_rule_at(size_t i);

/* Finds a rule by its name; NULL if there is none. */
const dcgan_rule *dcgan_rule_find(const char *name);

/* What is wrong with the text that names a rule. */
typedef enum dcgan_rule_fault {
    DCGAN_RULE_OK,
    DCGAN_RULE_UNKNOWN,           /* there is no rule of that name */
    DCGAN_RULE_MALFORMED,         /* neither `name` nor `name(parameter=number, ...)` */
    DCGAN_RULE_NO_SUCH_PARAMETER, /* the rule has none of that name, or it is given twice */
    DCGAN_RULE_OUT_OF_RANGE       /* a parameter is not a number between its limits */
} dcgan_rule_fault;

/* Reads `name` or `name(parameter=number, ...)`, blanks allowed; parameters that are left out get
 * their defaults. chosen->rule is set as soon as the rule is known, also if something else is
 * wrong. */
dcgan_rule_fault dcgan_rule_read(dcgan_chosen_rule *chosen, const char *text);

/* Counts the doubles of scratch memory that a rule needs. */
size_t dcgan_round_scratch(const dcgan_rule *rule, size_t accounts);

/* ---- what several rules need (round.c) ---- */

/* Weighs by images: every image counts as much as any other. */
void dcgan_weigh_by_images(const dcgan_round *round);

/* Weighs by images within each account; what a rule with tiles begins with. */
void dcgan_weigh_within_account(const dcgan_round *round);

/* Adds the images of each account's units to images[accounts]. */
void dcgan_images_of_accounts(const dcgan_round *round, double *images);

/* Sorts numbers, smallest first. */
void dcgan_sort(double *x, size_t count);

/* Returns the median of numbers, which it sorts: of an even count the mean of the two in the
 * middle. */
double dcgan_median(double *x, size_t count);

/* ---- sorting, number by number (ranked.c) ---- */

/* Puts the smaller of two inputs at low, the larger at high. */
typedef struct dcgan_comparator {
    uint16_t low, high;
} dcgan_comparator;

/* The most inputs that a network can have. */
#define DCGAN_MAX_INPUTS ((size_t)65536)

/* Builds the part of Batcher's network for a number of inputs that ranks first … last - 1 depend
 * on; returns the number of comparators. network may be NULL: then it counts all of Batcher's,
 * which is enough memory for any ranks. */
size_t dcgan_sorting_network(size_t inputs, size_t first, size_t last, dcgan_comparator *network);

/* Numbers that are sorted at a time. */
#define DCGAN_SORT_LANES 64

/* Counts the bytes that a rule of ranks works in. */
size_t dcgan_ranked_memory(size_t accounts);

/* Prepares them: the mean is that of the sorted numbers first … last - 1. */
void dcgan_ranked_begin(void *memory, size_t accounts, size_t first, size_t last);

/* For each number: the mean of those of ranks first … last - 1, added up in double precision,
 * smallest first, and rounded once. Never fails. */
bool dcgan_ranked_mean(void *memory, real *mean, const real *rows, size_t stride, size_t count);

/* The same of a few numbers in double precision. */
bool dcgan_ranked_sums(void *memory, double *sums, const double *rows, size_t count);

/* ---- distances (distances.c) ---- */

/* Adds the squares of the rows' differences to distances[inputs][inputs], both halves. The sums are
 * taken in fixed lanes and parts, so that every width of vector gives the same bits. A slice of a
 * vector must always be handed over in the same cuts for that. */
void dcgan_add_distances(double *distances, const real *rows, size_t stride, size_t inputs,
                         size_t count);

#endif
