/*
 * order.c - the mean of the middle of sorted numbers, coordinate by coordinate: trimmed mean and
 * median
 *
 * (Yin et al. 2018.) A sorting network compares the same pairs whatever the numbers are, so 64
 * coordinates are sorted at a time, by vectors of minima and maxima, without a branch; a qsort of
 * each coordinate takes twenty times as long. The network is Batcher's odd-even merge sort (Knuth,
 * TAOCP 3, 5.2.2, algorithm M), without the comparators on which none of the ranks that are wanted
 * depends.
 */
#include "aggregators.h"
#include "../vectorised.h"

#include <string.h>

#define TRIMMED 0.2 /* of the accounts, on each side */

/* Leaves out a fifth on each side, rounded up, but never all. */
void dcgan_trimmed_ranks(size_t accounts, size_t *first, size_t *last) {
    size_t cut = (size_t)((double)accounts * TRIMMED);

    cut += (double)cut < (double)accounts * TRIMMED;
    if (cut > (accounts - 1) / 2)
        cut = (accounts - 1) / 2;
    *first = cut;
    *last = accounts - cut;
}

/* The one in the middle, or the two. */
void dcgan_median_ranks(size_t accounts, size_t *first, size_t *last) {
    *first = (accounts - 1) / 2;
    *last = accounts / 2 + 1;
}

/* Writes Batcher's network for any number of inputs; with NULL it only counts. */
static size_t batcher(size_t inputs, dcgan_comparator *network) {
    size_t top = 1, n = 0;

    while (2 * top < inputs)
        top *= 2;
    if (inputs < 2)
        return 0;
    for (size_t p = top; p > 0; p /= 2)
        for (size_t q = top, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (size_t i = 0; i + d < inputs; i++)
                if ((i & p) == r) {
                    if (network)
                        network[n] = (dcgan_comparator){(uint16_t)i, (uint16_t)(i + d)};
                    n++;
                }
            if (q == p)
                break;
        }
    return n;
}

size_t dcgan_sorting_network(size_t inputs, size_t first, size_t last, dcgan_comparator *network) {
    unsigned char wanted[DCGAN_MAX_INPUTS / 8] = {0};
    size_t all = batcher(inputs, network), kept = all;

    if (!network)
        return all;
    for (size_t k = first; k < last; k++)
        wanted[k / 8] |= (unsigned char)(1 << k % 8);
    /* From the last one back: what is kept gathers at the end. */
    for (size_t n = all; n-- > 0;) {
        dcgan_comparator c = network[n];
        if (!(wanted[c.low / 8] >> c.low % 8 & 1) && !(wanted[c.high / 8] >> c.high % 8 & 1))
            continue;
        wanted[c.low / 8] |= (unsigned char)(1 << c.low % 8);
        wanted[c.high / 8] |= (unsigned char)(1 << c.high % 8);
        network[--kept] = c;
    }
    memmove(network, network + kept, (all - kept) * sizeof *network);
    return all - kept;
}

/* Sorts the lanes of the scratch memory, all at the same time. */
VECTORISED static void sort_lanes(real *restrict x, const dcgan_comparator *network,
                                  size_t comparators) {
    for (size_t n = 0; n < comparators; n++) {
        real *restrict a = x + (size_t)network[n].low * DCGAN_SORT_LANES;
        real *restrict b = x + (size_t)network[n].high * DCGAN_SORT_LANES;
        for (size_t l = 0; l < DCGAN_SORT_LANES; l++) {
            real p = a[l], q = b[l];
            a[l] = q < p ? q : p;
            b[l] = q < p ? p : q;
        }
    }
}

/* Averages ranks first … last - 1 of the lanes. */
VECTORISED static void average_lanes(real *restrict mean, const real *restrict x, size_t first,
                                     size_t last) {
    double sum[DCGAN_SORT_LANES] = {0}, count = (double)(last - first);

    for (size_t k = first; k < last; k++)
        for (size_t l = 0; l < DCGAN_SORT_LANES; l++)
            sum[l] += (double)x[k * DCGAN_SORT_LANES + l];
    for (size_t l = 0; l < DCGAN_SORT_LANES; l++)
        mean[l] = (real)(sum[l] / count);
}

void dcgan_ranked_mean(real *mean, const real *rows, size_t stride, size_t count,
                       const dcgan_sorter *s) {
    real block[DCGAN_SORT_LANES];

    for (size_t at = 0; at < count; at += DCGAN_SORT_LANES) {
        size_t lanes = count - at < DCGAN_SORT_LANES ? count - at : DCGAN_SORT_LANES;
        if (lanes < DCGAN_SORT_LANES)
            memset(s->scratch, 0, s->inputs * DCGAN_SORT_LANES * sizeof *s->scratch);
        for (size_t k = 0; k < s->inputs; k++)
            memcpy(s->scratch + k * DCGAN_SORT_LANES, rows + k * stride + at, lanes * sizeof *rows);
        sort_lanes(s->scratch, s->network, s->comparators);
        average_lanes(block, s->scratch, s->first, s->last);
        memcpy(mean + at, block, lanes * sizeof *mean);
    }
}

void dcgan_ranked_sums(double *sums, const double *rows, size_t inputs, size_t count, size_t first,
                       size_t last, double *column) {
    for (size_t j = 0; j < count; j++) {
        double sum = 0;
        for (size_t k = 0; k < inputs; k++)
            column[k] = rows[k * count + j];
        dcgan_sort(column, inputs);
        for (size_t k = first; k < last; k++)
            sum += column[k];
        sums[j] = sum / (double)(last - first);
    }
}
