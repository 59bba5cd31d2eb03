/*
 * network.c - forward and backward through one network
 */
#include "network.h"

/* Counts the floats of a layer's larger and smaller image. */
static size_t large_count(const dcgan_convolution *s) {
    return s->large_height * s->large_width * s->large_channels;
}

static size_t small_count(const dcgan_convolution *s) {
    return s->small_height * s->small_width * s->small_channels;
}

/* Count the floats of a layer's input and output for one image, and its channels. */
static size_t layer_input_count(const dcgan_layer *layer) {
    return layer->transposed ? small_count(&layer->shape) : large_count(&layer->shape);
}

/* Counts the floats of a layer's input and output for one image. */
static size_t layer_output_count(const dcgan_layer *layer) {
    return layer->transposed ? large_count(&layer->shape) : small_count(&layer->shape);
}

static size_t layer_channels(const dcgan_layer *layer) {
    return layer->transposed ? layer->shape.large_channels : layer->shape.small_channels;
}

/* Lays out a tape for up to batch images. */
void tape_take(dcgan_tape *tape, dcgan_arena *arena, const dcgan_network *network, size_t batch) {
    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        tape->output[i] = arena_take(arena, batch, layer_output_count(layer));
        tape->z[i] = layer->normalised ? arena_take(arena, batch, layer_output_count(layer)) : NULL;
        tape->mean[i] = layer->normalised ? arena_take(arena, 1, layer_channels(layer)) : NULL;
        tape->variance[i] = layer->normalised ? arena_take(arena, 1, layer_channels(layer)) : NULL;
    }
}

/* Finds the largest scratch memory over all layers. */
size_t network_scratch_count(const dcgan_network *network, const dcgan_backend *backend,
                             size_t images) {
    size_t largest = 0;
    for (size_t i = 0; i < network->layer_count; i++) {
        size_t count = backend->scratch_count(&network->layers[i].shape, images);
        largest = count > largest ? count : largest;
    }
    return largest;
}

/* Finds the largest activation of one image over all layers, the input included. */
size_t network_widest(const dcgan_network *network) {
    size_t widest = layer_input_count(&network->layers[0]);
    for (size_t i = 0; i < network->layer_count; i++) {
        size_t count = layer_output_count(&network->layers[i]);
        widest = count > widest ? count : widest;
    }
    return widest;
}

/* Normalises (in training by the batch's own statistics) and applies the layer's activation. */
static void finish_layer(dcgan_tape *tape, size_t i, const dcgan_layer *layer,
                         const dcgan_backend *backend, const real *weights, const real *running,
                         size_t images, const dcgan_work *work) {
    size_t channels = layer_channels(layer), count = images * layer_output_count(layer),
           rows = count / channels;
    real *y = tape->output[i];

    if (layer->normalised) {
        const real *mean = running ? running + layer->statistics : tape->mean[i];
        const real *variance = running ? running + layer->statistics + channels : tape->variance[i];
        if (!running)
            backend->moments(tape->mean[i], tape->variance[i], tape->z[i], rows, channels, work);
        backend->normalise(y, tape->z[i], mean, variance, weights + layer->scale,
                           weights + layer->shift, rows, channels, layer->slope, work);
    } else if (layer->activation == DCGAN_RECTIFIER)
        backend->rectify(y, count, layer->slope, work);
    else if (layer->activation == DCGAN_TANH)
        backend->hyperbolic_tangent(y, count, work);
}

/* Runs the network on tape->input; returns the last output. */
const real *network_forward(dcgan_tape *tape, const dcgan_network *network,
                            const dcgan_backend *backend, const real *weights, const real *running,
                            size_t images, const dcgan_work *work) {
    const real *x = tape->input;

    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        real *z = layer->normalised ? tape->z[i] : tape->output[i];
        if (layer->transposed)
            backend->transposed_convolution(z, x, weights + layer->weight, images, &layer->shape,
                                            work);
        else
            backend->convolution(z, x, weights + layer->weight, images, &layer->shape, work);
        finish_layer(tape, i, layer, backend, weights, running, images, work);
        x = tape->output[i];
    }
    return x;
}

/* Turns dy into dz in place: backward of finish_layer, line by line from its end. */
static void unfinish_layer(const dcgan_tape *tape, size_t i, const dcgan_layer *layer,
                           const dcgan_backend *backend, const real *weights, real *dweights,
                           real *dy, size_t images, const dcgan_work *work) {
    size_t channels = layer_channels(layer), count = images * layer_output_count(layer);

    if (layer->normalised)
        backend->normalise_backward(dy, dweights ? dweights + layer->scale : NULL,
                                    dweights ? dweights + layer->shift : NULL, dy, tape->z[i],
                                    tape->mean[i], tape->variance[i], weights + layer->scale,
                                    weights + layer->shift, count / channels, channels,
                                    layer->slope, work);
    else if (layer->activation == DCGAN_RECTIFIER)
        backend->rectify_backward(dy, tape->output[i], count, layer->slope, work);
    else if (layer->activation == DCGAN_TANH)
        backend->hyperbolic_tangent_backward(dy, tape->output[i], count, work);
}

/* Tells the listener that a layer's gradient is complete. Its tensors lie one behind the other. */
static void tell_layer_done(const network_listener *listener, const dcgan_layer *layer) {
    size_t norm = layer->normalised ? 2 * layer_channels(layer) : 0;

    if (listener)
        listener->layer_done(listener->context, layer->weight, layer->weight_count + norm);
}

/* Runs backward from dy; returns the derivative of the input where wanted. */
real *network_backward(const dcgan_tape *tape, const dcgan_network *network,
                       const dcgan_backend *backend, const real *weights, real *dweights,
                       int want_dinput, real *dy, real *spare, size_t images,
                       const dcgan_work *work, const network_listener *listener) {
    for (size_t i = network->layer_count; i-- > 0;) {
        const dcgan_layer *layer = &network->layers[i];
        const dcgan_convolution *shape = &layer->shape;
        const real *x = i ? tape->output[i - 1] : tape->input, *w = weights + layer->weight;
        real *freed = dy;

        unfinish_layer(tape, i, layer, backend, weights, dweights, dy, images, work);
        if (dweights && layer->transposed)
            backend->weight_gradient(dweights + layer->weight, dy, x, images, shape, work);
        else if (dweights)
            backend->weight_gradient(dweights + layer->weight, x, dy, images, shape, work);
        tell_layer_done(listener, layer);
        if (i == 0 && !want_dinput)
            return NULL;
        if (layer->transposed)
            backend->convolution(spare, dy, w, images, shape, work);
        else
            backend->transposed_convolution(spare, dy, w, images, shape, work);
        dy = spare;
        spare = freed;
    }
    return dy;
}

/* Adds the batch statistics on the tape to double sums, for this network's layers. */
void tape_add_statistics(const dcgan_tape *tape, const dcgan_network *network, double *sums,
                         double weight) {
    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        size_t channels = layer_channels(layer);
        double *first = sums + layer->statistics, *second = first + channels;
        if (!layer->normalised)
            continue;
        for (size_t c = 0; c < channels; c++) {
            double mean = (double)tape->mean[i][c];
            first[c] += weight * mean;
            second[c] += weight * ((double)tape->variance[i][c] + mean * mean);
        }
    }
}
