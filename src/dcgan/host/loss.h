/*
 * loss.h - binary cross entropy with logits (Goodfellow et al. 2014, in the stable form)
 */
#ifndef DCGAN_LOSS_H
#define DCGAN_LOSS_H

#include "../dcgan.h"

/* Sums -log(sigmoid(l)) over logits[count]: the loss of images that should be taken for real. */
double loss_real(const real *logits, size_t count);

/* Sums -log(1 - sigmoid(l)): the loss of images that should be taken for fake. */
double loss_fake(const real *logits, size_t count);

/* Differentiates either sum, times weight: d = weight (sigmoid(l) - target), target 1 for real, 0
 * for fake. */
void loss_backward(real *dlogits, const real *logits, size_t count, double target, double weight);

#endif
