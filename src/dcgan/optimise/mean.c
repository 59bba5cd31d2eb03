/*
 * mean.c - the weighted mean of vectors, on any slice of them
 */
#include "../dcgan.h"
#include "../vectorised.h"

/* Adds weight * x to a sum in double precision. */
VECTORISED void dcgan_mean_add(double *restrict sum, const real *restrict x, double weight,
                               size_t count) {
    for (size_t j = 0; j < count; j++)
        sum[j] += weight * (double)x[j];
}

/* Rounds the sum, once. */
VECTORISED void dcgan_mean_finish(real *restrict mean, const double *restrict sum, size_t count) {
    for (size_t j = 0; j < count; j++)
        mean[j] = (real)sum[j];
}
