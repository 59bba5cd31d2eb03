/*
 * adam.c - Adam, on any slice of the parameter vector
 *
 * Elementwise, so shards never talk to each other. Compiled without contraction of a*b+c into fused
 * multiply-add, so that the same gradients give the same bits on every machine.
 */
#include "../dcgan.h"
#include "../vectorised.h"

#include <math.h>

/* The numbers of a step that all parameters share. */
typedef struct adam_factors {
    real beta1, beta2, rest1, rest2, rate, root, epsilon;
} adam_factors;

/* Moves a slice; sqrt of a float is computed in double precision and rounded, which is sqrtf to the
 * bit. */
VECTORISED static void adam_slice(real *restrict weights, real *restrict moment1,
                                  real *restrict moment2, const real *restrict gradient,
                                  size_t count, const adam_factors *factors) {
    const adam_factors f = *factors;

    for (size_t j = 0; j < count; j++) {
        real g = gradient[j];
        real m = f.beta1 * moment1[j] + f.rest1 * g;
        real v = f.beta2 * moment2[j] + f.rest2 * g * g;
        moment1[j] = m;
        moment2[j] = v;
        weights[j] -= f.rate * m / ((real)sqrt(v) / f.root + f.epsilon);
    }
}

/* Takes step number t = 1, 2, … (Kingma and Ba 2015, algorithm 1, with PyTorch's placing of
 * epsilon). */
void dcgan_adam(real *restrict weights, real *restrict moment1, real *restrict moment2,
                const real *restrict gradient, size_t count, uint64_t t,
                const dcgan_adam_options *options) {
    const adam_factors factors = {
        .beta1 = (real)options->beta1,
        .beta2 = (real)options->beta2,
        .rest1 = (real)(1.0 - options->beta1),
        .rest2 = (real)(1.0 - options->beta2),
        .rate = (real)(options->learning_rate / (1.0 - pow(options->beta1, (double)t))),
        .root = (real)sqrt(1.0 - pow(options->beta2, (double)t)),
        .epsilon = (real)options->epsilon,
    };

    adam_slice(weights, moment1, moment2, gradient, count, &factors);
}
