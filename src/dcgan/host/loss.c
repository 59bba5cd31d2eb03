/*
 * loss.c - binary cross entropy with logits
 */
#include "loss.h"

#include <math.h>

/* Computes log(1 + e^x) without overflow for large and without loss for small x. */
static double softplus(double x) {
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* Sums -log(sigmoid(l)) = softplus(-l). */
double loss_real(const real *logits, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += softplus(-(double)logits[i]);
    return sum;
}

/* Sums -log(1 - sigmoid(l)) = softplus(l). */
double loss_fake(const real *logits, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += softplus((double)logits[i]);
    return sum;
}

/* Differentiates: softplus'(x) = sigmoid(x), so d = sigmoid(l) - target for both. */
void loss_backward(real *dlogits, const real *logits, size_t count, double target, double weight) {
    for (size_t i = 0; i < count; i++) {
        double e = exp(-fabs((double)logits[i])); /* never overflows */
        double sigmoid = logits[i] >= 0 ? 1 / (1 + e) : e / (1 + e);
        dlogits[i] = (real)(weight * (sigmoid - target));
    }
}
