/*
 * trimmed.c - for each number the mean of the accounts without the lowest and the highest (Yin et
 * al. 2018, "Byzantine-Robust Distributed Learning")
 *
 * A share of the accounts is left out on each side, rounded up, but never all.
 */
#include "rules.h"

static void begin(void *memory, const dcgan_round *r) {
    double wanted = (double)r->accounts * r->parameters[0];
    size_t cut = (size_t)wanted;

    cut += (double)cut < wanted;
    if (cut > (r->accounts - 1) / 2)
        cut = (r->accounts - 1) / 2;
    dcgan_ranked_begin(memory, r->accounts, cut, r->accounts - cut);
}

const dcgan_rule dcgan_rule_trimmed = {
    .name = "trimmed",
    .meaning = "number by number, the mean without the lowest and the highest accounts",
    .parameters = {{"share", 0.2, 0, 0.5, "of the accounts that are left out on each side"}},
    .weigh = dcgan_weigh_within_account,
    .tile_memory = dcgan_ranked_memory,
    .tile_begin = begin,
    .tile = dcgan_ranked_mean,
    .tile_of_sums = dcgan_ranked_sums,
};
