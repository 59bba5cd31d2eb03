/*
 * update.c - measures how far a step moves the weights relative to their size, and shortens it
 */
#include "../dcgan.h"
#include "../vectorised.h"

#define LANES 32 /* partial sums: fixed, so that every width of vector gives the same bits */

VECTORISED void dcgan_update_size(const real *restrict weights, const real *restrict old,
                                  size_t count, double *change, double *size) {
    double changes[LANES] = {0}, sizes[LANES] = {0};

    for (size_t j = 0; j + LANES <= count; j += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double w = (double)old[j + l], d = (double)weights[j + l] - w;
            changes[l] += d * d;
            sizes[l] += w * w;
        }
    for (size_t j = count / LANES * LANES; j < count; j++) {
        double w = (double)old[j], d = (double)weights[j] - w;
        changes[j % LANES] += d * d;
        sizes[j % LANES] += w * w;
    }
    for (size_t l = 0; l < LANES; l++) {
        *change += changes[l];
        *size += sizes[l];
    }
}

VECTORISED void dcgan_update_scale(real *restrict weights, const real *restrict old, size_t count,
                                   double scale) {
    for (size_t j = 0; j < count; j++)
        weights[j] = (real)((double)old[j] + scale * ((double)weights[j] - (double)old[j]));
}
