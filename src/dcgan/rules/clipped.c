/*
 * clipped.c - an adaptive bound on the norm of what a unit may add, then the mean
 *
 * A result whose norm is above the bound is scaled down to it, G and D together by the same factor.
 * The bound is twice the median (or as many times as the run says), over accounts, of the norms of
 * their units (weighted by images):
 * it follows the training, it can't be set by anybody who has fewer than half of the accounts,
 * however many programs they run, and an honest result seldom reaches it (so that the mean of an
 * honest class has the same bits as without). Compare "adaptive clipping" of Andrew et al. 2021 and
 * TensorFlow Federated's robust_aggregator.
 *
 * Changes of the weights after H local steps are the longer the larger H is: they grow between as
 * sqrt(H), where steps are noise, and as H, where they agree. So each unit is held against the
 * larger of two bounds, one for each law. Where all H are equal, and of gradients, both are the
 * same.
 *
 * Of one account, or two, neither is the exception: with the mean of the two as median the bound is
 * the sum of the norms, and nothing is clipped.
 */
#include "rules.h"

#include <math.h>

/* Returns the median over accounts of the units' norms divided by effort^power; images and level
 * are [accounts]. */
static double median_level(const dcgan_round *r, size_t network, double power, const double *images,
                           double *level) {
    for (size_t a = 0; a < r->accounts; a++)
        level[a] = 0;
    for (size_t i = 0; i < r->units; i++)
        level[r->account[i]] +=
            r->images[i] / images[r->account[i]] *
            (r->norms[i * DCGAN_NETWORK_COUNT + network] / pow(r->effort[i], power));
    return dcgan_median(level, r->accounts);
}

static void weigh(const dcgan_round *r) {
    double *images = r->scratch, *level = r->scratch + r->accounts;

    dcgan_weigh_by_images(r);
    dcgan_images_of_accounts(r, images);
    for (size_t network = 0; network < DCGAN_NETWORK_COUNT; network++) {
        double by_root = median_level(r, network, 0.5, images, level),
               by_step = median_level(r, network, 1.0, images, level);
        for (size_t i = 0; i < r->units; i++) {
            double norm = r->norms[i * DCGAN_NETWORK_COUNT + network],
                   bound = r->parameters[0] *
                           fmax(by_root * sqrt(r->effort[i]), by_step * r->effort[i]);
            /* A bound of 0: most accounts have sent nothing but zeros, which is no measure. */
            if (bound > 0 && norm > bound)
                r->scale[i] = fmin(r->scale[i], bound / norm);
        }
    }
    for (size_t i = 0; i < r->units; i++)
        r->weight[i] *= r->scale[i];
}

const dcgan_rule dcgan_rule_clipped = {
    .name = "clipped",
    .meaning = "the mean, after units that are much longer than usual were shortened",
    .needs = DCGAN_NEEDS_NORMS,
    .parameters = {{"bound", 2, 1, 1000, "times the median of the accounts' norms"}},
    .weigh = weigh,
};
