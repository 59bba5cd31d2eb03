/*
 * ranked.c - the mean of the middle of sorted numbers, number by number: trimmed mean and median
 *
 * A sorting network compares the same pairs whatever the numbers are. So 64 coordinates are sorted
 * at a time, by vector minima and maxima, without a branch; calling qsort for each coordinate takes
 * twenty times as long. The network is Batcher's odd-even merge sort (Knuth, TAOCP 3, 5.2.2,
 * algorithm M), without the comparators that no wanted rank depends on.
 */
#include "rules.h"
#include "../vectorised.h"

#include <string.h>

/* What a rule of ranks works in; the network and the columns follow. */
typedef struct sorter {
    size_t comparators, inputs, first, last;
    double *column;            /* [inputs] */
    real *lanes;               /* [inputs][DCGAN_SORT_LANES] */
    dcgan_comparator *network; /* [comparators] */
} sorter;

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

size_t dcgan_ranked_memory(size_t accounts) {
    return sizeof(sorter) + accounts * (sizeof(double) + DCGAN_SORT_LANES * sizeof(real)) +
           dcgan_sorting_network(accounts, 0, accounts, NULL) * sizeof(dcgan_comparator);
}

void dcgan_ranked_begin(void *memory, size_t accounts, size_t first, size_t last) {
    sorter *s = memory;

    s->inputs = accounts;
    s->first = first;
    s->last = last;
    s->column = (double *)(s + 1);
    s->lanes = (real *)(s->column + accounts);
    s->network = (dcgan_comparator *)(s->lanes + accounts * DCGAN_SORT_LANES);
    s->comparators = dcgan_sorting_network(accounts, first, last, s->network);
}

bool dcgan_ranked_mean(void *memory, real *mean, const real *rows, size_t stride, size_t count) {
    const sorter *s = memory;
    real block[DCGAN_SORT_LANES];

    for (size_t at = 0; at < count; at += DCGAN_SORT_LANES) {
        size_t lanes = count - at < DCGAN_SORT_LANES ? count - at : DCGAN_SORT_LANES;
        if (lanes < DCGAN_SORT_LANES)
            memset(s->lanes, 0, s->inputs * DCGAN_SORT_LANES * sizeof *s->lanes);
        for (size_t k = 0; k < s->inputs; k++)
            memcpy(s->lanes + k * DCGAN_SORT_LANES, rows + k * stride + at, lanes * sizeof *rows);
        sort_lanes(s->lanes, s->network, s->comparators);
        average_lanes(block, s->lanes, s->first, s->last);
        memcpy(mean + at, block, lanes * sizeof *mean);
    }
    return true;
}

bool dcgan_ranked_sums(void *memory, double *sums, const double *rows, size_t count) {
    const sorter *s = memory;

    for (size_t j = 0; j < count; j++) {
        double sum = 0;
        for (size_t k = 0; k < s->inputs; k++)
            s->column[k] = rows[k * count + j];
        dcgan_sort(s->column, s->inputs);
        for (size_t k = s->first; k < s->last; k++)
            sum += s->column[k];
        sums[j] = sum / (double)(s->last - s->first);
    }
    return true;
}
