/*
 * aggregators.c - the table of rules
 */
#include "aggregators.h"

#include <string.h>

static const dcgan_aggregator rules[] = {
    {"mean", DCGAN_NEEDS_NOTHING, dcgan_weigh_by_images, NULL},
    {"clipped", DCGAN_NEEDS_NORMS, dcgan_weigh_clipped, NULL},
    {"trimmed", DCGAN_NEEDS_NOTHING, dcgan_weigh_within_account, dcgan_trimmed_ranks},
    {"median", DCGAN_NEEDS_NOTHING, dcgan_weigh_within_account, dcgan_median_ranks},
    {"multikrum", DCGAN_NEEDS_DISTANCES, dcgan_weigh_multikrum, NULL},
};

const dcgan_aggregator *dcgan_aggregator_at(size_t i) {
    return i < sizeof rules / sizeof *rules ? &rules[i] : NULL;
}

const dcgan_aggregator *dcgan_aggregator_find(const char *name) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

size_t dcgan_round_scratch(const dcgan_aggregator *rule, size_t accounts) {
    return rule->needs == DCGAN_NEEDS_DISTANCES ? accounts * accounts + 3 * accounts : 3 * accounts;
}
