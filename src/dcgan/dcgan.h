/*
 * dcgan.h - the mathematics of a DCGAN work unit
 *
 * Knows nothing of databases, networks, files or terminals. It never prints, never exits; all
 * memory is the caller's, but for a device's (dcgan_device_open). Every function that can fail
 * returns a status.
 *
 * Intended use:
 *
 *     dcgan_config config = {.channels = 3, .image_size = 64, .latent = 100,
 *                            .generator_features = 64, .discriminator_features = 64};
 *     dcgan_model model;                  // shapes, offsets, counts: the table of all parameters
 *     dcgan_model_init(&model, &config);
 *     size_t bytes;
 *     dcgan_unit_workspace(&model, 64, &bytes);       // minibatches of up to 64 images
 *     void *workspace = malloc(bytes);                // once; serves any number of units
 *     dcgan_unit_gradients(&model, &unit, &result, workspace, bytes);
 *
 * Images are NHWC: [image][row][column][channel]. All parameters are one vector, the generator's
 * first, in the order of docs/format.md section 5. "real" is float; the test suite also compiles it
 * as double, for gradient checks.
 */
#ifndef DCGAN_H
#define DCGAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef DCGAN_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* ---- status ---- */

typedef enum dcgan_status {
    DCGAN_OK = 0,
    DCGAN_INVALID_CONFIG,   /* a hyper-parameter outside its limits */
    DCGAN_INVALID_ARGUMENT, /* a count of zero, a null pointer */
    DCGAN_TOO_LARGE,        /* a size that does not fit size_t or the BLAS's int */
    DCGAN_WORKSPACE,        /* the workspace is smaller than dcgan_unit_workspace says */
    DCGAN_NOT_FINITE,       /* NaN or infinity in a result */
    DCGAN_CANCELLED,        /* the progress function asked to stop */
    DCGAN_DEVICE,           /* the device failed: dcgan_device_error() says how */
    DCGAN_DEVICE_MEMORY     /* the device has too little memory free */
} dcgan_status;

/* Names a status for people. */
const char *dcgan_status_text(dcgan_status status);

/* ---- devices (docs/backends.md) ---- */

/* Something that computes, with its memory: the CPU, or a GPU. Serves any number of units, one at a
 * time. */
typedef struct dcgan_device dcgan_device;

/* Lists the backends by name, the one that is always there first; returns null behind the last. */
const char *dcgan_backend_name(int index);

/* Counts the devices of a backend that this machine has: 1 for the CPU; 0 if there is no such
 * backend, or no device. */
int dcgan_device_count(const char *backend);

/* Names a device for people; tells its memory in bytes, 0: the processor. */
void dcgan_device_describe(const char *backend, int number, char *text, size_t size,
                           uint64_t *memory);

/* Opens device number 0, 1, ... of a backend. threads: of the host, 1 to 64, where the backend
 * computes with them. On failure, too, the device must be closed; null: no memory, or no such
 * backend. */
dcgan_status dcgan_device_open(dcgan_device **device, const char *backend, int number, int threads);

/* Closes it; null is fine. */
void dcgan_device_close(dcgan_device *device);

/* Names an opened device for people, and tells its memory in bytes, 0: the processor. */
const char *dcgan_device_name(const dcgan_device *device);
uint64_t dcgan_device_memory(const dcgan_device *device);

/* What happened, in words, after DCGAN_DEVICE and DCGAN_DEVICE_MEMORY. */
const char *dcgan_device_error(const dcgan_device *device);

/* ---- the model: one table of every parameter tensor ---- */

#define DCGAN_MAX_LAYERS 6                           /* at 128x128 */
#define DCGAN_MAX_TENSORS (2 * 3 * DCGAN_MAX_LAYERS) /* weight, scale, shift */
#define DCGAN_MAX_FEATURES 512
#define DCGAN_MAX_LATENT 1024
#define DCGAN_MAX_PARAMETERS ((size_t)1 << 28)
#define DCGAN_NORM_EPSILON 1e-5

typedef struct dcgan_config {
    uint32_t channels;               /* 1 or 3 */
    uint32_t image_size;             /* 32, 64 or 128 */
    uint32_t latent;                 /* 1 … 1024 */
    uint32_t generator_features;     /* 1 … 512 */
    uint32_t discriminator_features; /* 1 … 512 */
} dcgan_config;

/*
 * A 4x4 convolution between a larger image of large_height x large_width x large_channels and a
 * smaller one. The same shape, read from small to large, is the transposed convolution. Weights:
 * [small_channels][4][4][large_channels].
 */
typedef struct dcgan_convolution {
    size_t small_height, small_width, small_channels;
    size_t large_height, large_width, large_channels;
    size_t stride, padding; /* 2 and 1, or 1 and 0 between 1x1 and 4x4 */
} dcgan_convolution;

typedef enum dcgan_activation { DCGAN_RECTIFIER, DCGAN_TANH, DCGAN_LOGIT } dcgan_activation;

typedef struct dcgan_layer {
    dcgan_convolution shape;
    int transposed;              /* the generator's layers go from small to large */
    int normalised;              /* batch norm behind the convolution */
    dcgan_activation activation; /* rectifier: x > 0 ? x : slope x */
    real slope;                  /* 0 (ReLU) or 0.2 (LeakyReLU) */
    size_t weight, weight_count; /* offset and count in the parameter vector */
    size_t scale, shift;         /* offsets in the parameter vector, where normalised */
    /* offset of mean[channels], variance[channels] in the statistics vector */
    size_t statistics;
} dcgan_layer;

typedef struct dcgan_network {
    size_t layer_count;
    dcgan_layer layers[DCGAN_MAX_LAYERS];
    size_t first, count; /* its part of the parameter vector */
} dcgan_network;

typedef enum dcgan_tensor_kind { DCGAN_WEIGHT, DCGAN_SCALE, DCGAN_SHIFT } dcgan_tensor_kind;

typedef struct dcgan_tensor {
    char name[32]; /* "generator.0.weight" */
    dcgan_tensor_kind kind;
    size_t dimensions;
    size_t shape[4]; /* weights [small][4][4][large], scale and shift [channels] */
    size_t offset, count;
    double mean, deviation; /* initial distribution */
} dcgan_tensor;

typedef struct dcgan_model {
    dcgan_config config;
    dcgan_network generator, discriminator;
    size_t tensor_count;
    /* in the order of the parameter vector, without gaps */
    dcgan_tensor tensors[DCGAN_MAX_TENSORS];
    size_t parameter_count;
    size_t statistics_count; /* floats of all means and variances */
    size_t image_count;      /* floats of one image */
} dcgan_model;

/* Checks a configuration; names what is wrong in error (may be NULL). */
dcgan_status dcgan_config_check(const dcgan_config *config, char *error, size_t error_size);

/* Fills in the table. */
dcgan_status dcgan_model_init(dcgan_model *model, const dcgan_config *config);

/* Draws initial values of parameters first … first + count - 1 (docs/format.md section 5). */
void dcgan_initialise(const dcgan_model *model, uint64_t seed, size_t first, size_t count,
                      real *weights);

/* Sets running statistics to mean 0, variance 1. */
void dcgan_initialise_statistics(const dcgan_model *model, real *statistics);

/* ---- random numbers (docs/format.md sections 1 and 2) ---- */

enum {
    DCGAN_STREAM_UNIT = 1,
    DCGAN_STREAM_WEIGHTS = 2,
    DCGAN_STREAM_ORDER = 3,
    DCGAN_STREAM_SAMPLE = 4
};

/* Computes one Philox4x32-10 block (Salmon et al. 2011). */
void dcgan_philox(const uint32_t counter[4], uint64_t seed, uint32_t result[4]);

/* Turns one block into four standard normal deviates (Box and Muller 1958). */
void dcgan_normal(const uint32_t block[4], double deviates[4]);

/* Fills z[count] with deviates 0 … count - 1 of the stream whose other counter words are c1, c2. */
void dcgan_noise(uint64_t seed, uint32_t c1, uint32_t c2, uint32_t stream, size_t count, real *z);

/* Maps a place in an epoch to an image number: a bijection of 0 … images - 1; images is 1 …
 * 2^32. */
uint64_t dcgan_permute(uint64_t seed, uint64_t epoch, uint64_t images, uint64_t place);

/* ---- a work unit ---- */

/* Called between the passes of a minibatch with the images done so far; anything but 0 cancels the
 * unit. */
typedef int (*dcgan_progress)(void *context, size_t images_done);

/* Called, in the last minibatch, when parameters first … first + count - 1 of the gradient are
 * final: layer by layer (network by network with local steps), D's before G's, each once. The
 * gradient of a unit that fails later on must not be used. */
typedef void (*dcgan_ready)(void *context, size_t first, size_t count);

/* The networks whose gradient a unit computes, or that an iteration steps. */
typedef enum dcgan_networks {
    DCGAN_BOTH = 0,
    DCGAN_DISCRIMINATOR_ONLY,
    DCGAN_GENERATOR_ONLY
} dcgan_networks;

typedef struct dcgan_unit {
    const real *weights;     /* [parameter_count] */
    const uint8_t *images;   /* [count][size][size][channels] */
    size_t count, batch;     /* images of the unit, images of a minibatch */
    uint64_t seed;           /* the run's */
    uint32_t iteration;      /* the run's iteration these weights belong to */
    uint64_t position;       /* position of the first image in the run's order */
    dcgan_networks networks; /* the other one's gradient stays zero; dcgan_unit_local steps both */
    /* to compute with, 1 to 64, where device is null; the result has the same bits for any
     * number */
    int threads;
    dcgan_device *device;    /* null: the CPU */
    dcgan_progress progress; /* may be NULL */
    dcgan_ready ready;       /* may be NULL */
    void *context;
} dcgan_unit;

typedef struct dcgan_unit_result {
    /* [parameter_count]: d loss_g of the generator, d loss_d of the discriminator */
    real *gradient;
    real *statistics; /* [statistics_count]: means and biased variances over the unit */
    double loss_d, loss_g;
    double accuracy_real, accuracy_fake;
} dcgan_unit_result;

/* Computes the bytes of workspace that units with minibatches of up to batch images need on a
 * device (null: the CPU). */
dcgan_status dcgan_unit_workspace(const dcgan_model *model, dcgan_device *device, size_t batch,
                                  size_t *bytes);

/* Computes both gradients of a unit at the same weights (docs/format.md section 6). The result is
 * undefined on error. */
dcgan_status dcgan_unit_gradients(const dcgan_model *model, const dcgan_unit *unit,
                                  dcgan_unit_result *result, void *workspace,
                                  size_t workspace_bytes);

/* ---- a work unit of local steps ---- */

typedef struct dcgan_adam_options {
    double learning_rate, beta1, beta2, epsilon;
} dcgan_adam_options;

typedef struct dcgan_local_options {
    dcgan_adam_options generator, discriminator;
    /* of the run's running statistics: the later a minibatch, the more it counts */
    double norm_momentum;
} dcgan_local_options;

/* Computes the bytes of workspace that dcgan_unit_local needs: dcgan_unit_workspace's and, on the
 * CPU, three vectors of parameters. */
dcgan_status dcgan_unit_local_workspace(const dcgan_model *model, dcgan_device *device,
                                        size_t batch, size_t *bytes);

/*
 * For each minibatch, from the unit's weights on and with moments of zero at first: a step of Adam
 * for D, then one for G at the new D (docs/format.md section 9). result->gradient is the change of
 * all parameters, new - old; result->statistics weighs minibatches as running statistics would.
 * ready is called for D after its last step, and for G after the one that follows. The result is
 * undefined on error.
 */
dcgan_status dcgan_unit_local(const dcgan_model *model, const dcgan_unit *unit,
                              const dcgan_local_options *options, dcgan_unit_result *result,
                              void *workspace, size_t workspace_bytes);

/* ---- generation ---- */

/* In all of these, device is null for the CPU, with the caller's thread alone. */

dcgan_status dcgan_generate_workspace(const dcgan_model *model, dcgan_device *device, size_t batch,
                                      size_t *bytes);

/* Where the generator's images come from: its weights (the generator's part of the parameter vector
 * is read), and the device and workspace to compute with. */
typedef struct dcgan_generator {
    const dcgan_model *model;
    const real *weights;
    const real *running_statistics; /* [statistics_count]; dcgan_generator_statistics needs none */
    dcgan_device *device;
    void *workspace;
    size_t workspace_bytes;
} dcgan_generator;

/*
 * Generates images first ... first + batch - 1 of a seed with batch norm in evaluation mode.
 * images: [batch][size][size][channels] in [-1, 1].
 */
dcgan_status dcgan_generate(const dcgan_generator *generator, uint64_t seed, uint32_t first,
                            size_t batch, real *images);

/* The same from given latent vectors[batch][latent]. */
dcgan_status dcgan_generate_from(const dcgan_generator *generator, const real *vectors,
                                 size_t batch, real *images);

/*
 * Computes batch-norm statistics for generator weights that no iteration was trained with, their
 * moving average: the means over parts x batch latent vectors of a seed, in training mode (what
 * Brock et al. 2019 call standing statistics). statistics: [statistics_count], of which the
 * generator's are written. The workspace is dcgan_generate_workspace's for this batch.
 */
dcgan_status dcgan_generator_statistics(const dcgan_generator *generator, uint64_t seed,
                                        size_t batch, size_t parts, real *statistics);

/* Draws the latent vector[latent] of image number i of a seed. */
void dcgan_sample_latent(const dcgan_model *model, uint64_t seed, uint32_t i, real *vector);

/*
 * Goes from a (share 0) to b (share 1) along the great circle (White 2016): normal vectors lie near
 * a sphere, and points on the straight line between them are nearer to its centre than any vector
 * that the generator has learnt from. For (nearly) parallel or opposite vectors it falls back to
 * linear interpolation.
 */
void dcgan_interpolate(const real *a, const real *b, size_t count, double share, real *between);

/* Rounds x in [-1, 1] to the 8-bit sample it stands for; what is outside is clipped. */
uint8_t dcgan_to_sample(real x);

/* ---- the step (docs/format.md section 7); these work on any slice of the vectors ---- */

/* Adds weight * x to a sum in double precision. */
void dcgan_mean_add(double *sum, const real *x, double weight, size_t count);

/* Rounds the sum, once. */
void dcgan_mean_finish(real *mean, const double *sum, size_t count);

/* Takes step number t = 1, 2, … (Kingma and Ba 2015, algorithm 1, with PyTorch's placing of
 * epsilon). */
void dcgan_adam(real *weights, real *moment1, real *moment2, const real *gradient, size_t count,
                uint64_t t, const dcgan_adam_options *options);

typedef enum dcgan_outer_optimizer {
    DCGAN_OUTER_AVERAGE,  /* weights += learning_rate change */
    DCGAN_OUTER_NESTEROV, /* momentum on the gradient -change; moment1 is the velocity */
    DCGAN_OUTER_ADAM      /* Adam on the gradient -change; momentum is its beta1 */
} dcgan_outer_optimizer;

typedef struct dcgan_outer_options {
    dcgan_outer_optimizer optimizer;
    double learning_rate, momentum, beta2, epsilon;
} dcgan_outer_options;

/* Counts the vectors that an optimiser keeps beside the weights: 0, 1 (moment1) or 2. */
int dcgan_outer_moments(dcgan_outer_optimizer optimizer);

/* Takes outer step number t = 1, 2, … for the mean change of local units; change is overwritten.
 * Moments that the optimiser doesn't keep may be null. */
void dcgan_outer(real *weights, real *moment1, real *moment2, real *change, size_t count,
                 uint64_t t, const dcgan_outer_options *options);

/* Computes the decay of the average in the step of iteration i: at most (2 + i) / (11 + i), so that
 * the average soon forgets the initial weights; later the run's. */
double dcgan_average_decay(double decay, uint32_t iteration);

/* Moves an exponential moving average towards new weights: average += (1 - decay) (weights -
 * average). */
void dcgan_average(real *average, const real *weights, size_t count, double decay);

/* Measures an update: adds the squares of new - old to *change, and of old to *size. */
void dcgan_update_size(const real *weights, const real *old, size_t count, double *change,
                       double *size);

/* Shortens an update: weights = old + scale (weights - old). */
void dcgan_update_scale(real *weights, const real *old, size_t count, double scale);

typedef struct dcgan_schedule {
    int linear;              /* falls from 1 to 0 after the warm-up; else it stays 1 */
    uint32_t warmup, target; /* iterations: of the warm-up, of the run */
} dcgan_schedule;

/* Computes the factor of the learning rates in an iteration. */
double dcgan_schedule_factor(const dcgan_schedule *schedule, uint32_t iteration);

/* Names the networks that an iteration steps: both, or, alternating, D in even and G in odd
 * iterations. */
dcgan_networks dcgan_networks_stepped(int alternating, uint32_t iteration);

/* Tells which part of the parameter vector belongs to them. */
void dcgan_networks_range(const dcgan_model *model, dcgan_networks networks, size_t *first,
                          size_t *count);

/* Counts the steps that these networks have taken when an iteration's is taken: Adam's t. */
uint64_t dcgan_step_number(dcgan_networks networks, uint32_t iteration);

/* Adds one part's batch-norm statistics to double sums: [mean, E(mean^2 + variance)]; sums starts
 * at zero, weights sum to 1. */
void dcgan_statistics_add(const dcgan_model *model, double *sums, const real *part, double weight);

/* Turns the sums into the mean and biased variance of the whole (law of total variance). */
void dcgan_statistics_finish(const dcgan_model *model, real *statistics, const double *sums);

/* Moves the running statistics towards an iteration's merged ones; images is the number of images
 * behind them. */
void dcgan_statistics_run(const dcgan_model *model, real *running, const real *merged,
                          double momentum, uint64_t images);

/* How a step moves the weights; the learning rates are the iteration's. */
typedef struct dcgan_step_options {
    int alternating;
    /* 0: results are gradients, which Adam takes; else changes of the weights */
    size_t local_steps;
    dcgan_adam_options generator, discriminator;
    dcgan_outer_options outer; /* of changes */
    double norm_momentum;      /* of the running statistics, in one update */
} dcgan_step_options;

/* What one unit brings to a step. */
typedef struct dcgan_part {
    const real *result;     /* [parameter_count] */
    const real *statistics; /* [statistics_count] */
    uint64_t images;
} dcgan_part;

/* What a step moves: [parameter_count] each, running is [statistics_count]. Moments that the
 * optimiser doesn't keep may be null. */
typedef struct dcgan_state {
    real *weights, *moment1, *moment2, *running;
} dcgan_state;

/*
 * The whole step of an iteration, by the rule 'mean': weighted mean, Adam or the outer optimiser,
 * batch norm. sum and mean are scratch, [parameter_count]. The server takes the same step shard by
 * shard (src/extension/step/step.c); both give the same bits.
 */
void dcgan_step(const dcgan_model *model, const dcgan_step_options *options, uint32_t iteration,
                const dcgan_part *parts, size_t count, const dcgan_state *state, double *sum,
                real *mean);

/* Looks for NaN and infinity; returns 1 and adds up the squares if there are none, 0 otherwise. */
int dcgan_finite(const real *x, size_t count, double *square_sum);

#endif
