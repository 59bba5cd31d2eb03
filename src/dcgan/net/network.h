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
    tensor input; /* [images][in of layer 0] */
    /* output of the convolution, before batch norm; none without batch norm */
    tensor z[DCGAN_MAX_LAYERS];
    tensor output[DCGAN_MAX_LAYERS]; /* after the activation */
    tensor mean[DCGAN_MAX_LAYERS];   /* batch statistics of z */
    tensor variance[DCGAN_MAX_LAYERS];
} dcgan_tape;

/* Lays out a tape for up to batch images. */
void tape_take(dcgan_tape *tape, dcgan_arena *arena, const dcgan_network *network, size_t batch);

/* Returns the network's output, once it has run. */
tensor tape_output(const dcgan_tape *tape, const dcgan_network *network);

/* Finds the largest scratch memory over all layers for a number of images, and the largest
 * activation of one image over all layers. */
size_t network_scratch_count(const dcgan_network *network, const dcgan_backend *backend,
                             size_t images);
size_t network_widest(const dcgan_network *network);

/*
 * Runs the network on tape->input. weights is the whole parameter vector. running is none in
 * training (batch statistics, kept on the tape) and the whole statistics vector in evaluation.
 */
dcgan_status network_forward(dcgan_tape *tape, const dcgan_network *network, dcgan_device *device,
                             tensor weights, tensor running, size_t images);

/* Called during the backward pass when a layer's parameters, first ... first + count - 1, have
 * their gradient. */
typedef struct network_listener {
    dcgan_status (*layer_done)(void *context, size_t first, size_t count);
    void *context;
} network_listener;

/* What a backward pass works with besides the tape. */
typedef struct network_backward_state {
    tensor weights, dweights; /* whole vectors; dweights is added to, or none: not wanted */
    /* two buffers of images x widest activation that change roles from layer to layer; dy holds the
     * derivative of the last output at the start, and that of the input at the end, where wanted */
    tensor dy, spare;
    int want_dinput;
    size_t images;
    const network_listener *listener; /* may be null */
} network_backward_state;

/* Runs backward from the derivative of the last output. */
dcgan_status network_backward(const dcgan_tape *tape, const dcgan_network *network,
                              dcgan_device *device, network_backward_state *state);

/* Adds the batch statistics on the tape to sums (dcgan_statistics_add's), for this network's
 * layers. */
dcgan_status tape_add_statistics(const dcgan_tape *tape, const dcgan_network *network,
                                 dcgan_device *device, tensor sums, double weight);

#endif
