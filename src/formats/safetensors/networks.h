/*
 * networks.h - the weights of both networks as a safetensors file, under the names and in the
 * shapes that PyTorch has for them
 *
 * The names are those of PyTorch's DCGAN tutorial, where each network is one nn.Sequential called
 * main:
 *
 *   generator.main.0.weight          [in][out][4][4]    ConvTranspose2d
 *   generator.main.1.weight, .bias   [channels]         BatchNorm2d: scale, shift
 *   generator.main.1.running_mean, .running_var, .num_batches_tracked
 *   generator.main.3.weight ...                         2, 5, ... are the ReLUs
 *   discriminator.main.0.weight      [out][in][4][4]    Conv2d
 *   optimizer.exp_avg.NAME, optimizer.exp_avg_sq.NAME   moments of the parameter NAME, in its
 *                                    shape; may be left out
 *
 * Parameters and statistics go in and out in the order of docs/format.md, section 5, in slices of
 * any size, so that no caller needs them whole. Pure C, allocates nothing.
 */
#ifndef GANN_NETWORKS_H
#define GANN_NETWORKS_H

#include "../../dcgan/dcgan.h"
#include "safetensors.h"

/* The vectors of a checkpoint. */
typedef enum checkpoint_vector {
    CHECKPOINT_WEIGHTS,
    CHECKPOINT_FIRST,
    CHECKPOINT_SECOND,
    CHECKPOINT_VECTORS
} checkpoint_vector;

/* Where everything is in a file, in bytes from its beginning. */
typedef struct checkpoint {
    dcgan_model model;
    int moments;   /* vectors of moments: 0, 1 or 2 */
    size_t size;   /* of the file */
    size_t header; /* of it, up to the data */
    /* of the running statistics: PyTorch's num_batches_tracked, which nothing here depends on */
    uint64_t steps;
    size_t parameters[CHECKPOINT_VECTORS][DCGAN_MAX_TENSORS];
    /* of each layer with batch norm: mean, variance, counter */
    size_t statistics[2 * DCGAN_MAX_LAYERS][3];
    /* of a file that is read */
    safetensors_type parameter_types[CHECKPOINT_VECTORS][DCGAN_MAX_TENSORS];
    safetensors_type statistic_types[2 * DCGAN_MAX_LAYERS][3];
} checkpoint;

/* Lays out a file with 0, 1 or 2 vectors of moments. tensors is scratch memory. */
void checkpoint_plan(checkpoint *c, const dcgan_model *model, int moments, uint64_t steps,
                     const safetensors_text *pairs, size_t pair_count, safetensors_file *tensors);

/* Writes the header and the counters of a file that checkpoint_plan() has laid out with the same
 * arguments; tensors as checkpoint_plan() has left it. */
void checkpoint_begin(const checkpoint *c, unsigned char *bytes, const safetensors_text *pairs,
                      size_t pair_count, const safetensors_file *tensors);

/* Writes numbers first ... first + count - 1 of a vector, and all running statistics. */
void checkpoint_put(const checkpoint *c, unsigned char *bytes, checkpoint_vector vector,
                    size_t first, size_t count, const float *values);
void checkpoint_put_statistics(const checkpoint *c, unsigned char *bytes, const float *statistics);

/*
 * Finds everything in a file that safetensors_read() has read. Tensors with the names of other
 * programs get our names (aliases.h). The networks' configuration follows from the shapes. Tensors
 * that are missing, don't fit each other, or belong to neither network are errors. Returns 0, or -1
 * with the reason in error.
 */
int checkpoint_open(checkpoint *c, safetensors_file *file, size_t size, char *error,
                    size_t error_size);

/* Reads what checkpoint_put() writes. The numbers are not checked: the caller must look for NaN and
 * infinity. */
void checkpoint_get(const checkpoint *c, const unsigned char *bytes, checkpoint_vector vector,
                    size_t first, size_t count, float *values);

/* Reads the running statistics. Returns 0, or -1 if one is not finite or a variance is negative. */
int checkpoint_get_statistics(const checkpoint *c, const unsigned char *bytes, float *statistics);

#endif
