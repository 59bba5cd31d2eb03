/*
 * multikrum.c - the mean of the accounts whose results have near neighbours
 *
 * (Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
 * Descent".) Of n accounts, f are assumed to be attackers. An account's score is the sum of its
 * squared distances to the n - f - 2 nearest others; the n - f with the lowest scores are averaged
 * with equal weights. The distances of G and D are divided by their medians over all pairs and
 * added. So a poisoned gradient of one network can't hide behind the size of the other's, and an
 * account is used or left out as a whole.
 */
#include "rules.h"

#include <math.h>

/* How many of the accounts are assumed to be attackers, and left out. */
static size_t refused(const dcgan_round *r) {
    size_t most = r->accounts < 3 ? 0 : (r->accounts - 3) / 2,
           f = (size_t)((double)r->accounts * r->parameters[0]);
    return f < most ? f : most;
}

/* Returns the median of a network's distances over all pairs, or 1 if one can't divide by it. */
static double usual_distance(const double *distances, size_t n, double *pairs) {
    size_t count = 0;
    double usual;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            pairs[count++] = distances[i * n + j];
    usual = count ? dcgan_median(pairs, count) : 1;
    return usual > 0 && isfinite(usual) ? usual : 1;
}

/* Computes an account's score; near is [accounts]. */
static double score(const dcgan_round *r, size_t account, const double *usual, double *near) {
    size_t n = r->accounts, count = 0, f = refused(r), neighbours = n > f + 3 ? n - f - 2 : 1;
    double sum = 0;

    for (size_t j = 0; j < n; j++)
        if (j != account)
            near[count++] = r->distances[account * n + j] / usual[0] +
                            r->distances[n * n + account * n + j] / usual[1];
    dcgan_sort(near, count);
    for (size_t k = 0; k < neighbours && k < count; k++)
        sum += near[k];
    return sum;
}

/* Tells whether an account is among those with the lowest scores; of equal ones the earlier come
 * first. */
static int is_chosen(const double *scores, size_t n, size_t account, size_t chosen) {
    size_t better = 0;

    for (size_t j = 0; j < n; j++)
        better += scores[j] < scores[account] || (scores[j] == scores[account] && j < account);
    return better < chosen;
}

static void weigh(const dcgan_round *r) {
    size_t n = r->accounts, chosen = n - refused(r);
    double *images = r->scratch, *scores = images + n, *near = scores + n, *pairs = near + n;
    double usual[DCGAN_NETWORK_COUNT];

    for (size_t network = 0; network < DCGAN_NETWORK_COUNT; network++)
        usual[network] = usual_distance(r->distances + network * n * n, n, pairs);
    for (size_t a = 0; a < n; a++)
        scores[a] = score(r, a, usual, near);
    dcgan_images_of_accounts(r, images);
    for (size_t i = 0; i < r->units; i++) {
        size_t a = r->account[i];
        r->scale[i] = is_chosen(scores, n, a, chosen);
        r->weight[i] = r->scale[i] * (r->images[i] / images[a] / (double)chosen);
    }
}

const dcgan_rule dcgan_rule_multikrum = {
    .name = "multikrum",
    .meaning = "the mean of the accounts that have near neighbours",
    .needs = DCGAN_NEEDS_DISTANCES,
    .most_units = 512,
    .parameters = {{"attackers", 0.3, 0, 0.5, "share of the accounts that are left out"}},
    .weigh = weigh,
};
