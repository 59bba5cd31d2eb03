/*
 * generator.h - holds an iteration's generator in memory and draws images
 */
#ifndef GANN_GENERATOR_H
#define GANN_GENERATOR_H

#include "../store/store.h"

typedef struct gan_generator {
    const gan_run *run;
    gan_part part;            /* whose weights: GAN_WEIGHTS or GAN_AVERAGE */
    float *weights, *running; /* the generator's shards, and the running statistics */
    float *images;            /* of a batch, in [-1, 1] */
    void *workspace;
    size_t bytes;
} gan_generator;

/* Reads the generator of an iteration that is held, the current one or the one before; an error
 * otherwise. part: GAN_WEIGHTS or GAN_AVERAGE. SPI must be connected. */
extern void gan_generator_read(gan_generator *g, const gan_run *run, int32 iteration,
                               gan_part part);

/* Returns the part that is drawn by default: the moving average if there is one. */
extern gan_part gan_generator_part(const gan_run *run);

/* Draws count images from latent vectors[count][latent], or images 0 … count - 1 of a seed, as
 * samples of 8 bits, NHWC. */
extern void gan_generator_draw_from(gan_generator *g, const float *vectors, size_t count,
                                    unsigned char *samples);
extern void gan_generator_draw(gan_generator *g, int64 seed, size_t count, unsigned char *samples);

#endif
