/*
 * outer.c - the outer optimiser: applies the mean change of local units, on any slice of the
 * vectors
 *
 * As adam.c: elementwise, without contraction, so that the same changes give the same bits on every
 * machine.
 */
#include "../dcgan.h"
#include "../vectorised.h"

/* Moves the weights along the mean change. At learning rate 1 that is the average of the units'
 * weights. */
VECTORISED static void average(real *restrict weights, const real *restrict change, size_t count,
                               real rate) {
    for (size_t j = 0; j < count; j++)
        weights[j] += rate * change[j];
}

/* Takes Nesterov's step for the gradient -change (Sutskever et al. 2013, in PyTorch's form). */
VECTORISED static void nesterov(real *restrict weights, real *restrict velocity,
                                const real *restrict change, size_t count, real rate,
                                real momentum) {
    for (size_t j = 0; j < count; j++) {
        real gradient = -change[j];
        real v = momentum * velocity[j] + gradient;
        velocity[j] = v;
        weights[j] -= rate * (gradient + momentum * v);
    }
}

VECTORISED static void negate(real *x, size_t count) {
    for (size_t j = 0; j < count; j++)
        x[j] = -x[j];
}

/* Counts the vectors that an optimiser keeps beside the weights. */
int dcgan_outer_moments(dcgan_outer_optimizer optimizer) {
    return optimizer == DCGAN_OUTER_AVERAGE ? 0 : optimizer == DCGAN_OUTER_NESTEROV ? 1 : 2;
}

/* Takes outer step number t = 1, 2, …; change is overwritten. */
void dcgan_outer(real *restrict weights, real *restrict moment1, real *restrict moment2,
                 real *restrict change, size_t count, uint64_t t,
                 const dcgan_outer_options *options) {
    const dcgan_adam_options adam = {options->learning_rate, options->momentum, options->beta2,
                                     options->epsilon};

    switch (options->optimizer) {
    case DCGAN_OUTER_AVERAGE:
        average(weights, change, count, (real)options->learning_rate);
        break;
    case DCGAN_OUTER_NESTEROV:
        nesterov(weights, moment1, change, count, (real)options->learning_rate,
                 (real)options->momentum);
        break;
    case DCGAN_OUTER_ADAM:
        negate(change, count);
        dcgan_adam(weights, moment1, moment2, change, count, t, &adam);
        break;
    }
}
