/*
 * network.h - forward and backward through one network
 *
 * Generator and discriminator are lists of the same kind of layer: convolution in one direction or
 * the other, batch norm or not, an activation. A tape holds the values that the backward pass needs
 * from the forward pass.
 */
#ifndef DCGAN_NETWORK_H
#define DCGAN_NETWORK_H

#include "arena.h"
#include "../backend.h"

typedef struct dcgan_tape {
    const real *input; /* [images][in of layer 0] */
    /* output of the convolution, before batch norm; null without batch norm */
    real *z[DCGAN_MAX_LAYERS];
    real *output[DCGAN_MAX_LAYERS]; /* after the activation */
    real *mean[DCGAN_MAX_LAYERS];   /* batch statistics of z */
    real *variance[DCGAN_MAX_LAYERS];
} dcgan_tape;

/* Lays out a tape for up to batch images. */
void tape_take(dcgan_tape *tape, dcgan_arena *arena, const dcgan_network *network, size_t batch);

/* Finds the largest scratch memory over all layers for a number of images, and the largest
 * activation of one image over all layers. */
size_t network_scratch_count(const dcgan_network *network, const dcgan_backend *backend,
                             size_t images);
size_t network_widest(const dcgan_network *network);

/*
 * Runs the network on tape->input. weights is the whole parameter vector. running is null in
 * training (batch statistics, kept on the tape) and the whole statistics vector in evaluation.
 * Returns the last output.
 */
const real *network_forward(dcgan_tape *tape, const dcgan_network *network,
                            const dcgan_backend *backend, const real *weights, const real *running,
                            size_t images, const dcgan_work *work);

/* Called during the backward pass when a layer's parameters, first … first + count - 1, have their
 * gradient. */
typedef struct network_listener {
    void (*layer_done)(void *context, size_t first, size_t count);
    void *context;
} network_listener;

/*
 * Runs backward from the derivative of the last output, which dy holds at the start. dy and spare
 * are two buffers of images x widest activation that change roles from layer to layer. dweights
 * (the whole vector) is added to, or null: not wanted. listener may be null. Returns the derivative
 * of the input where want_dinput, else null.
 */
real *network_backward(const dcgan_tape *tape, const dcgan_network *network,
                       const dcgan_backend *backend, const real *weights, real *dweights,
                       int want_dinput, real *dy, real *spare, size_t images,
                       const dcgan_work *work, const network_listener *listener);

/* Adds the batch statistics on the tape to double sums (dcgan_statistics_add's), for this network's
 * layers. */
void tape_add_statistics(const dcgan_tape *tape, const dcgan_network *network, double *sums,
                         double weight);

#endif
