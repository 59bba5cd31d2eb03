/*
 * aggregators.c - the table of rules, the mean, and what several rules need
 */
#include "aggregators.h"

#include <stdlib.h>
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

/* The mean: every image counts as much as any other. */
void dcgan_weigh_by_images(const dcgan_round *r) {
    double total = 0;

    for (size_t i = 0; i < r->units; i++)
        total += r->images[i];
    for (size_t i = 0; i < r->units; i++) {
        r->weight[i] = r->images[i] / total;
        r->scale[i] = 1;
    }
}

void dcgan_images_of_accounts(const dcgan_round *r, double *images) {
    memset(images, 0, r->accounts * sizeof *images);
    for (size_t i = 0; i < r->units; i++)
        images[r->account[i]] += r->images[i];
}

/* Every image of an account counts as much as any other of it. */
void dcgan_weigh_within_account(const dcgan_round *r) {
    dcgan_images_of_accounts(r, r->scratch);
    for (size_t i = 0; i < r->units; i++) {
        r->weight[i] = r->images[i] / r->scratch[r->account[i]];
        r->scale[i] = 1;
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void dcgan_sort(double *x, size_t count) {
    qsort(x, count, sizeof *x, compare);
}

double dcgan_median(double *x, size_t count) {
    dcgan_sort(x, count);
    return count % 2 ? x[count / 2] : 0.5 * x[count / 2 - 1] + 0.5 * x[count / 2];
}
