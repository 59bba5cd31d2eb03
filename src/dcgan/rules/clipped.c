/*
 * clipped.c - limits the norm of each unit's result adaptively, then takes the mean
 *
 * A result whose norm is above the bound is scaled down to it, G and D together by the same factor.
 * The bound is a multiple (twice, unless the run sets another parameter) of the median, over
 * accounts, of the norms of their units, weighted by images. It follows the training. Nobody with
 * fewer than half of the accounts can set it, however many workers they run. An honest result
 * seldom reaches it, so that the mean of an honest class has the same bits as without it. Compare
 * "adaptive clipping" of Andrew et al. 2021 and TensorFlow Federated's robust_aggregator.
 *
 * A change of the weights after H local steps is longer for larger H: it grows like sqrt(H) if the
 * steps are noise, like H if they agree, and in between otherwise. So each unit is compared with
 * the larger of two bounds, one for each law. If all H are equal, and for gradients, both are the
 * same.
 *
 * With one or two accounts there is no majority: the median of two is their mean, so the bound is
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
            /* A bound of 0: most accounts have sent only zeros, so there is nothing to compare
             * with. */
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
