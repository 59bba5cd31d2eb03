/*
 * training.h - the state of a training on one machine: what gan_local changes, and what a
 * checkpoint stores
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
    dcgan_local_options rules; /* its learning rates are constant: there is no schedule */
    uint32_t iteration, target;
    uint64_t position; /* of the next image in the order */
    uint64_t dataset_images;
    unsigned char dataset_digest[DATASET_DIGEST_SIZE];
    real *weights, *statistics; /* statistics are the running ones */
} training;

/* Allocates weights and statistics for a configuration. Returns 0, or -1 with one line in error. */
int training_allocate(training *t, const dcgan_config *config, char *error, size_t error_size);
void training_free(training *t);

/* Writes the training as a safetensors file with everything that gan_import or training_load()
 * needs to continue it. */
int training_save(const training *t, const char *path, char *error, size_t error_size);

/* Reads the networks of any checkpoint. Returns 0, and then t must be freed, or -1 with one line in
 * error. */
int training_load_networks(training *t, const char *path, char *error, size_t error_size);

/* Reads a checkpoint from which a training can continue: gan_local's own, or that of a run in the
 * server that was trained in the same way. */
int training_load(training *t, const char *path, char *error, size_t error_size);

#endif
