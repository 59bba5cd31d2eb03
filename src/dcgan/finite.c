/*
 * finite.c - whether all numbers of a vector are finite, and the sum of their squares
 */
#include "dcgan.h"
#include "vectorised.h"

#include <math.h>

#define LANES                                                                                      \
    32 /* partial sums of dcgan_finite: fixed, so that every width of vector gives the same bits */

/* Adds up squares in double precision, in lanes. */
VECTORISED static double sum_of_squares(const real *x, size_t count) {
    double lanes[LANES] = {0}, sum = 0;
    size_t j = 0;

    for (; j + LANES <= count; j += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += (double)x[j + l] * (double)x[j + l];
    for (; j < count; j++)
        lanes[j % LANES] += (double)x[j] * (double)x[j];
    for (size_t l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/*
 * Looks for NaN and infinity; returns 1 and adds up the squares if there are none, 0 otherwise. A
 * sum of squares is NaN or infinite if one of them is: no square of a float overflows a double, and
 * what can't be negative doesn't cancel.
 */
int dcgan_finite(const real *x, size_t count, double *square_sum) {
    double sum = sum_of_squares(x, count);

    if (!isfinite(sum))
        return 0;
    if (square_sum)
        *square_sum += sum;
    return 1;
}
