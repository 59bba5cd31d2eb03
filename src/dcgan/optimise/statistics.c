/*
 * statistics.c - merges the batch-norm statistics of parts
 *
 * A part is a minibatch of a unit, or a unit of an iteration: the same formula (law of total
 * variance) joins both. Sums are kept as first and second moment in double precision, so that the
 * order of the parts is the only thing that matters.
 */
#include "../dcgan.h"

#include <string.h>

/* Calls back for every layer with batch norm, in the order of the statistics vector. */
typedef void (*layer_function)(const dcgan_layer *layer, size_t channels, int discriminator,
                               void *context);

static void for_each_norm(const dcgan_model *model, layer_function function, void *context) {
    for (int n = 0; n < 2; n++) {
        const dcgan_network *network = n ? &model->discriminator : &model->generator;
        for (size_t i = 0; i < network->layer_count; i++) {
            const dcgan_layer *layer = &network->layers[i];
            if (layer->normalised)
                function(layer,
                         layer->transposed ? layer->shape.large_channels
                                           : layer->shape.small_channels,
                         n, context);
        }
    }
}

struct adding {
    double *sums;
    const real *part;
    double weight;
};

static void add_layer(const dcgan_layer *layer, size_t channels, int discriminator, void *context) {
    struct adding *a = context;
    double *first = a->sums + layer->statistics, *second = first + channels;
    const real *mean = a->part + layer->statistics, *variance = mean + channels;

    (void)discriminator;
    for (size_t c = 0; c < channels; c++) {
        first[c] += a->weight * (double)mean[c];
        second[c] += a->weight * ((double)variance[c] + (double)mean[c] * (double)mean[c]);
    }
}

/* Adds one part's statistics to the sums; the weights of all parts sum to 1. */
void dcgan_statistics_add(const dcgan_model *model, double *sums, const real *part, double weight) {
    for_each_norm(model, add_layer, &(struct adding){sums, part, weight});
}

struct finishing {
    real *statistics;
    const double *sums;
};

static void finish_layer(const dcgan_layer *layer, size_t channels, int discriminator,
                         void *context) {
    struct finishing *f = context;
    const double *first = f->sums + layer->statistics, *second = first + channels;
    real *mean = f->statistics + layer->statistics, *variance = mean + channels;

    (void)discriminator;
    for (size_t c = 0; c < channels; c++) {
        double v = second[c] - first[c] * first[c];
        mean[c] = (real)first[c];
        variance[c] = (real)(v > 0 ? v : 0);
    }
}

/* Turns the sums into the mean and biased variance of the whole. */
void dcgan_statistics_finish(const dcgan_model *model, real *statistics, const double *sums) {
    for_each_norm(model, finish_layer, &(struct finishing){statistics, sums});
}

struct running {
    real *running;
    const real *merged;
    double momentum;
    uint64_t images;
};

static void run_layer(const dcgan_layer *layer, size_t channels, int discriminator, void *context) {
    struct running *r = context;
    real *mean = r->running + layer->statistics, *variance = mean + channels;
    const real *new_mean = r->merged + layer->statistics, *new_variance = new_mean + channels;
    size_t pixels = layer->transposed ? layer->shape.large_height * layer->shape.large_width
                                      : layer->shape.small_height * layer->shape.small_width;
    double values =
        /* D sees real and fake images */
        (double)r->images * (double)pixels * (discriminator ? 2 : 1);

    for (size_t c = 0; c < channels; c++) {
        double unbiased = (double)new_variance[c] * values / (values - 1);
        mean[c] = (real)((double)mean[c] + r->momentum * ((double)new_mean[c] - (double)mean[c]));
        variance[c] = (real)((double)variance[c] + r->momentum * (unbiased - (double)variance[c]));
    }
}

/* Moves the running statistics towards an iteration's merged ones; images is the number of images
 * behind them. */
void dcgan_statistics_run(const dcgan_model *model, real *running, const real *merged,
                          double momentum, uint64_t images) {
    for_each_norm(model, run_layer, &(struct running){running, merged, momentum, images});
}

static void initialise_layer(const dcgan_layer *layer, size_t channels, int discriminator,
                             void *context) {
    real *mean = (real *)context + layer->statistics;

    (void)discriminator;
    for (size_t c = 0; c < channels; c++)
        mean[c] = 0, mean[channels + c] = 1;
}

/* Sets running statistics to mean 0, variance 1. */
void dcgan_initialise_statistics(const dcgan_model *model, real *statistics) {
    for_each_norm(model, initialise_layer, statistics);
}
