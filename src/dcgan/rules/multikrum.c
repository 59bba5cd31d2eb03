/*
 * multikrum.c - the mean of the accounts whose results have near neighbours
 *
 * (Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
 * Descent".) Of n accounts f are taken for attackers. An account's score is the sum of its squared
 * distances to the n - f - 2 nearest others; the n - f with the lowest scores are averaged, each
 * account as much as any other. Distances of G and D are measured in units of their medians over
 * all pairs and added: so neither network's poison hides behind the size of the other's gradient,
 * and an account is taken or left as a whole.
 */
#include "aggregators.h"
#include "../vectorised.h"

#include <math.h>
#include <string.h>

#define ATTACKERS 0.3 /* of the accounts */
#define LANES 32
#define PART ((size_t)512) /* numbers whose squares are added in single precision */

size_t dcgan_multikrum_refused(size_t accounts) {
    size_t most = accounts < 3 ? 0 : (accounts - 3) / 2, f = (size_t)((double)accounts * ATTACKERS);
    return f < most ? f : most;
}

/* Adds up the squares of a part's differences, in lanes. */
VECTORISED static double distance(const real *restrict x, const real *restrict y, size_t count) {
    real lanes[LANES] = {0};
    double sum = 0;
    size_t j = 0;

    for (; j + LANES <= count; j += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += (x[j + l] - y[j + l]) * (x[j + l] - y[j + l]);
    for (; j < count; j++)
        lanes[j % LANES] += (x[j] - y[j]) * (x[j] - y[j]);
    for (size_t l = 0; l < LANES; l++)
        sum += (double)lanes[l];
    return sum;
}

void dcgan_add_distances(double *distances, const real *rows, size_t stride, size_t inputs,
                         size_t count) {
    for (size_t at = 0; at < count; at += PART) {
        size_t length = count - at < PART ? count - at : PART;
        for (size_t i = 0; i < inputs; i++)
            for (size_t j = 0; j < i; j++) {
                double d = distance(rows + i * stride + at, rows + j * stride + at, length);
                distances[i * inputs + j] += d;
                distances[j * inputs + i] += d;
            }
    }
}

/* Returns the median of a network's distances over all pairs, or 1 where that is no measure. */
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
    size_t n = r->accounts, count = 0, f = dcgan_multikrum_refused(n),
           neighbours = n > f + 3 ? n - f - 2 : 1;
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

void dcgan_weigh_multikrum(const dcgan_round *r) {
    size_t n = r->accounts, chosen = n - dcgan_multikrum_refused(n);
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
