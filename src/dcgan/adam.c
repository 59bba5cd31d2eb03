/*
 * adam.c - the mean of gradients and the optimiser, on any slice of the parameter vector
 *
 * Elementwise, so shards never talk to each other. Compiled without contraction of a*b+c into fused
 * multiply-add, so that the same gradients give the same bits on every machine.
 */
#include "dcgan.h"

#include <math.h>

/* Adds weight * x to a sum in double precision. */
void dcgan_mean_add(double *restrict sum, const real *restrict x, double weight, size_t count) {
    for (size_t j = 0; j < count; j++)
        sum[j] += weight * (double)x[j];
}

/* Rounds the sum, once. */
void dcgan_mean_finish(real *restrict mean, const double *restrict sum, size_t count) {
    for (size_t j = 0; j < count; j++)
        mean[j] = (real)sum[j];
}

/* Takes step number t = 1, 2, … (Kingma and Ba 2015, algorithm 1, with PyTorch's placing of epsilon). */
void dcgan_adam(real *restrict weights, real *restrict moment1, real *restrict moment2,
                const real *restrict gradient, size_t count, uint64_t t, const dcgan_adam_options *options) {
    const real beta1 = (real)options->beta1, beta2 = (real)options->beta2;
    const real rest1 = (real)(1.0 - options->beta1), rest2 = (real)(1.0 - options->beta2);
    const real rate = (real)(options->learning_rate / (1.0 - pow(options->beta1, (double)t)));
    const real root = (real)sqrt(1.0 - pow(options->beta2, (double)t));
    const real epsilon = (real)options->epsilon;

    for (size_t j = 0; j < count; j++) {
        real g = gradient[j];
        real m = beta1 * moment1[j] + rest1 * g;
        real v = beta2 * moment2[j] + rest2 * g * g;
        moment1[j] = m;
        moment2[j] = v;
        weights[j] -= rate * m / ((real)sqrt(v) / root + epsilon);
    }
}

/* Looks for NaN and infinity; returns 1 and adds up the squares if there are none, 0 otherwise. */
int dcgan_finite(const real *x, size_t count, double *square_sum) {
    double sum = 0;
    real poison = 0; /* 0 * x is NaN for NaN and infinity, and NaN stays */

    for (size_t j = 0; j < count; j++) {
        poison += 0 * x[j];
        sum += (double)x[j] * (double)x[j];
    }
    if (!(poison == 0) || !isfinite(sum))
        return 0;
    if (square_sum)
        *square_sum += sum;
    return 1;
}
