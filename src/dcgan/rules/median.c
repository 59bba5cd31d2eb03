/*
 * median.c - for each number the median of the accounts (Yin et al. 2018,
 * "Byzantine-Robust Distributed Learning")
 */
#include "rules.h"

static void begin(void *memory, const dcgan_round *r) {
    dcgan_ranked_begin(memory, r->accounts, (r->accounts - 1) / 2, r->accounts / 2 + 1);
}

const dcgan_rule dcgan_rule_median = {
    .name = "median",
    .meaning = "number by number, the median of the accounts",
    .weigh = dcgan_weigh_within_account,
    .tile_memory = dcgan_ranked_memory,
    .tile_begin = begin,
    .tile = dcgan_ranked_mean,
    .tile_of_sums = dcgan_ranked_sums,
};
