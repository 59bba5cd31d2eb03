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
        tape->z[i] = tape->mean[i] = tape->variance[i] = (tensor){0};
        if (layer->normalised) {
            tape->z[i] = arena_take(arena, batch, layer_output_count(layer));
            tape->mean[i] = arena_take(arena, 1, layer_channels(layer));
            tape->variance[i] = arena_take(arena, 1, layer_channels(layer));
        }
    }
}

tensor tape_output(const dcgan_tape *tape, const dcgan_network *network) {
    return tape->output[network->layer_count - 1];
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
static dcgan_status finish_layer(dcgan_tape *tape, size_t i, const dcgan_layer *layer,
                                 dcgan_device *device, tensor weights, tensor running,
                                 size_t images) {
    const dcgan_backend *b = device->backend;
    size_t channels = layer_channels(layer), count = images * layer_output_count(layer),
           rows = count / channels;
    tensor y = tape->output[i], mean = tape->mean[i], variance = tape->variance[i];

    if (layer->normalised) {
        if (running.memory) {
            mean = tensor_at(running, layer->statistics);
            variance = tensor_at(running, layer->statistics + channels);
        } else
            TRY(b->moments(device, mean, variance, tape->z[i], rows, channels));
        return b->normalise(device, y, tape->z[i], mean, variance, tensor_at(weights, layer->scale),
                            tensor_at(weights, layer->shift), rows, channels, layer->slope);
    }
    if (layer->activation == DCGAN_RECTIFIER)
        return b->rectify(device, y, count, layer->slope);
    return layer->activation == DCGAN_TANH ? b->hyperbolic_tangent(device, y, count) : DCGAN_OK;
}

dcgan_status network_forward(dcgan_tape *tape, const dcgan_network *network, dcgan_device *device,
                             tensor weights, tensor running, size_t images) {
    const dcgan_backend *b = device->backend;
    tensor x = tape->input;

    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        tensor z = layer->normalised ? tape->z[i] : tape->output[i],
               w = tensor_at(weights, layer->weight);
        TRY(layer->transposed ? b->transposed_convolution(device, z, x, w, images, &layer->shape)
                              : b->convolution(device, z, x, w, images, &layer->shape));
        TRY(finish_layer(tape, i, layer, device, weights, running, images));
        x = tape->output[i];
    }
    return DCGAN_OK;
}

/* Turns dy into dz in place: backward of finish_layer, line by line from its end. */
static dcgan_status unfinish_layer(const dcgan_tape *tape, size_t i, const dcgan_layer *layer,
                                   dcgan_device *device, const network_backward_state *s) {
    const dcgan_backend *b = device->backend;
    size_t channels = layer_channels(layer), count = s->images * layer_output_count(layer);

    if (layer->normalised)
        return b->normalise_backward(
            device, s->dy, tensor_at(s->dweights, layer->scale),
            tensor_at(s->dweights, layer->shift), s->dy, tape->z[i], tape->mean[i],
            tape->variance[i], tensor_at(s->weights, layer->scale),
            tensor_at(s->weights, layer->shift), count / channels, channels, layer->slope);
    if (layer->activation == DCGAN_RECTIFIER)
        return b->rectify_backward(device, s->dy, tape->output[i], count, layer->slope);
    return layer->activation == DCGAN_TANH
               ? b->hyperbolic_tangent_backward(device, s->dy, tape->output[i], count)
               : DCGAN_OK;
}

/* Tells the listener that a layer's gradient is complete. Its tensors lie one behind the other. */
static dcgan_status tell_layer_done(const network_listener *listener, const dcgan_layer *layer) {
    size_t norm = layer->normalised ? 2 * layer_channels(layer) : 0;

    return listener
               ? listener->layer_done(listener->context, layer->weight, layer->weight_count + norm)
               : DCGAN_OK;
}

dcgan_status network_backward(const dcgan_tape *tape, const dcgan_network *network,
                              dcgan_device *device, network_backward_state *s) {
    const dcgan_backend *b = device->backend;

    for (size_t i = network->layer_count; i-- > 0;) {
        const dcgan_layer *layer = &network->layers[i];
        const dcgan_convolution *shape = &layer->shape;
        tensor x = i ? tape->output[i - 1] : tape->input, w = tensor_at(s->weights, layer->weight),
               dw = tensor_at(s->dweights, layer->weight), freed = s->dy;

        TRY(unfinish_layer(tape, i, layer, device, s));
        if (dw.memory)
            TRY(layer->transposed ? b->weight_gradient(device, dw, s->dy, x, s->images, shape)
                                  : b->weight_gradient(device, dw, x, s->dy, s->images, shape));
        TRY(tell_layer_done(s->listener, layer));
        if (i == 0 && !s->want_dinput)
            return DCGAN_OK;
        TRY(layer->transposed
                ? b->convolution(device, s->spare, s->dy, w, s->images, shape)
                : b->transposed_convolution(device, s->spare, s->dy, w, s->images, shape));
        s->dy = s->spare;
        s->spare = freed;
    }
    return DCGAN_OK;
}

dcgan_status tape_add_statistics(const dcgan_tape *tape, const dcgan_network *network,
                                 dcgan_device *device, tensor sums, double weight) {
    for (size_t i = 0; i < network->layer_count; i++) {
        const dcgan_layer *layer = &network->layers[i];
        if (layer->normalised)
            TRY(device->backend->add_statistics(device, tensor_sum_at(sums, layer->statistics),
                                                tape->mean[i], tape->variance[i],
                                                layer_channels(layer), weight));
    }
    return DCGAN_OK;
}
