/*
 * training.h - a training on one machine as a value: what `gan_local` changes, and what a
 * checkpoint keeps of it
 */
#ifndef GANN_TRAINING_H
#define GANN_TRAINING_H

#include <stddef.h>
#include <stdint.h>

#include "../dcgan/dcgan.h"
#include "../dataset/dataset.h"

typedef struct training {
    dcgan_model model;
    uint64_t seed;
    size_t batch, local_steps;
    dcgan_local_options rules; /* learning rates before any schedule: there is none */
    uint32_t iteration, target;
    uint64_t position; /* of the next image in the order */
    uint64_t dataset_images;
    unsigned char dataset_digest[DATASET_DIGEST_SIZE];
    real *weights, *statistics; /* statistics are the running ones */
} training;

/* Allocates weights and statistics for a configuration. Returns 0, or -1 with one line in error. */
int training_allocate(training *t, const dcgan_config *config, char *error, size_t error_size);
void training_free(training *t);

/* Writes the training as a safetensors file with all that gan_import or training_load() needs to go
 * on. */
int training_save(const training *t, const char *path, char *error, size_t error_size);

/* Reads the networks of any checkpoint. On 0 there is something to free, on -1 one line in
 * error. */
int training_load_networks(training *t, const char *path, char *error, size_t error_size);

/* Reads a checkpoint that a training can go on from: its own, or a run's in the server that was
 * trained in the same way. */
int training_load(training *t, const char *path, char *error, size_t error_size);

#endif
