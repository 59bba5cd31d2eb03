/*
 * distances.c - the distances between the accounts' results
 */
#include "rules.h"
#include "../vectorised.h"

#define LANES 32
#define PART ((size_t)512) /* numbers whose squares are added in single precision */

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
