/*
 * model.c - shapes of both networks and the one table of their parameters
 *
 * DCGAN (Radford, Metz, Chintala 2016). Everything that walks over parameters walks over this
 * table.
 */
#include "dcgan.h"

#include <stdio.h>
#include <string.h>

/* Names a status for people. */
const char *dcgan_status_text(dcgan_status status) {
    switch (status) {
    case DCGAN_OK:
        return "no error";
    case DCGAN_INVALID_CONFIG:
        return "a hyper-parameter is outside its limits";
    case DCGAN_INVALID_ARGUMENT:
        return "an argument is missing or zero";
    case DCGAN_TOO_LARGE:
        return "a size is too large for this machine";
    case DCGAN_WORKSPACE:
        return "the workspace is too small";
    case DCGAN_NOT_FINITE:
        return "a result is NaN or infinite";
    case DCGAN_CANCELLED:
        return "cancelled";
    case DCGAN_DEVICE:
        return "the device failed";
    case DCGAN_DEVICE_MEMORY:
        return "the device has too little memory free";
    }
    return "unknown status";
}

/* Writes a message about one hyper-parameter and returns the status for it. */
static dcgan_status refuse(char *error, size_t size, const char *name, uint32_t value,
                           const char *allowed) {
    if (error && size)
        snprintf(error, size, "%s is %u, but must be %s", name, (unsigned)value, allowed);
    return DCGAN_INVALID_CONFIG;
}

/* Checks a configuration; names what is wrong in error (may be NULL). */
dcgan_status dcgan_config_check(const dcgan_config *c, char *error, size_t size) {
    if (c->channels != 1 && c->channels != 3)
        return refuse(error, size, "channels", c->channels, "1 or 3");
    if (c->image_size != 32 && c->image_size != 64 && c->image_size != 128)
        return refuse(error, size, "image_size", c->image_size, "32, 64 or 128");
    if (c->latent < 1 || c->latent > DCGAN_MAX_LATENT)
        return refuse(error, size, "latent", c->latent, "between 1 and 1024");
    if (c->generator_features < 1 || c->generator_features > DCGAN_MAX_FEATURES)
        return refuse(error, size, "generator_features", c->generator_features,
                      "between 1 and 512");
    if (c->discriminator_features < 1 || c->discriminator_features > DCGAN_MAX_FEATURES)
        return refuse(error, size, "discriminator_features", c->discriminator_features,
                      "between 1 and 512");
    return DCGAN_OK;
}

/* Counts the stride-2 stages between 4x4 and the image: 3, 4 or 5. */
static size_t stage_count(uint32_t image_size) {
    size_t stages = 0;
    for (uint32_t size = 4; size < image_size; size *= 2)
        stages++;
    return stages;
}

/* Describes the convolution between a square image of small_size and the next larger one. */
static dcgan_convolution convolution_shape(size_t small_size, size_t small_channels,
                                           size_t large_channels) {
    size_t stride = small_size == 1 ? 1 : 2, padding = small_size == 1 ? 0 : 1;
    size_t large_size = (small_size - 1) * stride + 4 - 2 * padding;
    return (dcgan_convolution){.small_height = small_size,
                               .small_width = small_size,
                               .small_channels = small_channels,
                               .large_height = large_size,
                               .large_width = large_size,
                               .large_channels = large_channels,
                               .stride = stride,
                               .padding = padding};
}

/* Appends one tensor to the table and returns its offset in the parameter vector. */
static size_t add_tensor(dcgan_model *model, const char *network, size_t layer,
                         dcgan_tensor_kind kind, const dcgan_convolution *shape, size_t channels) {
    static const char *const kind_names[] = {"weight", "scale", "shift"};
    dcgan_tensor *t = &model->tensors[model->tensor_count++];

    snprintf(t->name, sizeof t->name, "%s.%zu.%s", network, layer, kind_names[kind]);
    t->kind = kind;
    t->dimensions = kind == DCGAN_WEIGHT ? 4 : 1;
    t->shape[0] = kind == DCGAN_WEIGHT ? shape->small_channels : channels;
    t->shape[1] = t->shape[2] = kind == DCGAN_WEIGHT ? 4 : 1;
    t->shape[3] = kind == DCGAN_WEIGHT ? shape->large_channels : 1;
    t->count = t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
    t->offset = model->parameter_count;
    t->mean = kind == DCGAN_SCALE ? 1.0 : 0.0;
    t->deviation = kind == DCGAN_SHIFT ? 0.0 : 0.02;
    model->parameter_count += t->count;
    return t->offset;
}

/* Appends a layer's tensors to the table and its batch norm to the statistics. */
static void add_layer(dcgan_model *model, dcgan_network *network, const char *name,
                      dcgan_layer layer) {
    size_t number = network->layer_count++;
    size_t channels = layer.transposed ? layer.shape.large_channels : layer.shape.small_channels;

    layer.weight = add_tensor(model, name, number, DCGAN_WEIGHT, &layer.shape, channels);
    layer.weight_count = model->parameter_count - layer.weight;
    if (layer.normalised) {
        layer.scale = add_tensor(model, name, number, DCGAN_SCALE, &layer.shape, channels);
        layer.shift = add_tensor(model, name, number, DCGAN_SHIFT, &layer.shape, channels);
        layer.statistics = model->statistics_count;
        model->statistics_count += 2 * channels;
    }
    network->layers[number] = layer;
}

/* Lays out the generator: latent -> 4x4 -> … -> image. */
static void build_generator(dcgan_model *model, size_t stages) {
    const dcgan_config *c = &model->config;
    size_t in = c->latent, size = 1;

    for (size_t i = 0; i <= stages; i++) {
        size_t out = i < stages ? (size_t)c->generator_features << (stages - 1 - i) : c->channels;
        add_layer(model, &model->generator, "generator",
                  (dcgan_layer){.shape = convolution_shape(size, in, out),
                                .transposed = 1,
                                .normalised = i < stages,
                                .activation = i < stages ? DCGAN_RECTIFIER : DCGAN_TANH,
                                .slope = 0});
        size = size == 1 ? 4 : 2 * size;
        in = out;
    }
    model->generator.count = model->parameter_count;
}

/* Lays out the discriminator: image -> … -> 4x4 -> logit. */
static void build_discriminator(dcgan_model *model, size_t stages) {
    const dcgan_config *c = &model->config;
    size_t in = c->channels, size = c->image_size;

    for (size_t i = 0; i <= stages; i++) {
        size_t out = i < stages ? (size_t)c->discriminator_features << i : 1;
        size = size == 4 ? 1 : size / 2;
        add_layer(model, &model->discriminator, "discriminator",
                  (dcgan_layer){.shape = convolution_shape(size, out, in),
                                .transposed = 0,
                                .normalised = i > 0 && i < stages,
                                .activation = i < stages ? DCGAN_RECTIFIER : DCGAN_LOGIT,
                                .slope = (real)0.2});
        in = out;
    }
    model->discriminator.first = model->generator.count;
    model->discriminator.count = model->parameter_count - model->generator.count;
}

/* Fills in the table. */
dcgan_status dcgan_model_init(dcgan_model *model, const dcgan_config *config) {
    dcgan_status status = dcgan_config_check(config, NULL, 0);
    size_t stages;

    if (status != DCGAN_OK)
        return status;
    stages = stage_count(config->image_size);
    memset(model, 0, sizeof *model);
    model->config = *config;
    model->image_count = (size_t)config->image_size * config->image_size * config->channels;
    build_generator(model, stages);
    build_discriminator(model, stages);
    return model->parameter_count <= DCGAN_MAX_PARAMETERS ? DCGAN_OK : DCGAN_TOO_LARGE;
}
