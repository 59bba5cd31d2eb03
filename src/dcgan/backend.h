/*
 * backend.h - the table of functions that do the networks' arithmetic, on whatever device
 *
 * A unit lives on the device from its first minibatch to its last: the passes (net/) name tensors
 * and call this table; only a backend's own folder looks into a tensor's memory. docs/backends.md
 * says how to add one.
 *
 * Calls are queued in order. None of them waits but passed(), when asked to, and read_sums(). What
 * a call is given in the host's memory must stay as it is until a later mark has passed. Every call
 * returns a status; after anything but DCGAN_OK the unit is given up.
 *
 * All images are NHWC; "rows" counts images x rows x columns. Gradients named d... of parameters
 * are added to; those of activations are written. A tensor without memory means: not wanted.
 */
#ifndef DCGAN_BACKEND_H
#define DCGAN_BACKEND_H

#include "dcgan.h"

/* Gives a failure on to the caller. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        dcgan_status try_status = (call);                                                          \
        if (try_status != DCGAN_OK)                                                                \
            return try_status;                                                                     \
    } while (0)

/* A place in a backend's memory: on the CPU a pointer and an offset, on a GPU a buffer and one. */
typedef struct tensor {
    void *memory; /* null: no tensor */
    size_t first; /* in reals */
} tensor;

static inline tensor tensor_at(tensor t, size_t reals) {
    return (tensor){t.memory, t.memory ? t.first + reals : 0};
}

/* Sums are kept in about double precision, in 8 bytes each whose meaning is the backend's own. */
#define SUM_REALS (sizeof(double) / sizeof(real))

static inline tensor tensor_sum_at(tensor sums, size_t number) {
    return tensor_at(sums, number * SUM_REALS);
}

typedef struct dcgan_backend dcgan_backend;

/* An opened backend. */
struct dcgan_device {
    const dcgan_backend *backend;
    int number;      /* which of the backend's devices, from 0 */
    int threads;     /* of the host, that it may compute with */
    tensor scratch;  /* scratch_count reals, aligned to a cache line */
    void *own;       /* the backend's own state */
    char name[80];   /* for people */
    uint64_t memory; /* bytes; 0: it is the processor itself */
    char error[200]; /* after DCGAN_DEVICE or DCGAN_DEVICE_MEMORY: what happened, in words */
};

struct dcgan_backend {
    const char *name; /* by which it is chosen */
    /* Tensors are the caller's memory: nothing is copied to and fro. reserve is null then. */
    int on_host;

    /* ---- the device ---- */

    /* Counts the devices that this machine has. */
    int (*count)(void);

    /* Writes the name of one for people: "NVIDIA T4"; the memory that it can use, in bytes. 0: it is
     * the processor itself. */
    void (*describe)(int number, char *text, size_t size, uint64_t *memory);

    /* Prepares device->number for work; close undoes it, whatever has failed. */
    dcgan_status (*open)(dcgan_device *device);
    void (*close)(dcgan_device *device);

    /* ---- memory ---- */

    /* Gives memory for this many reals; what was given before is no longer valid. */
    dcgan_status (*reserve)(dcgan_device *device, size_t reals, tensor *memory);

    dcgan_status (*write)(dcgan_device *device, tensor to, const real *from, size_t count);
    /* to = from / 127.5 - 1: 8-bit samples to [-1, 1] */
    dcgan_status (*write_samples)(dcgan_device *device, tensor to, const uint8_t *from,
                                  size_t count);
    /* The numbers are there when a later mark has passed. */
    dcgan_status (*read)(dcgan_device *device, real *to, tensor from, size_t count);
    dcgan_status (*read_sums)(dcgan_device *device, double *to, tensor sums, size_t count);
    dcgan_status (*zero)(dcgan_device *device, tensor x, size_t reals);

    /* Numbers a mark, which passes when all calls before it are done. Marks pass in order. */
    dcgan_status (*mark)(dcgan_device *device, uint64_t *mark);
    /* Tells whether a mark has passed; waits for it where asked to. */
    dcgan_status (*passed)(dcgan_device *device, uint64_t mark, int wait, int *passed);

    /* ---- convolutions ---- */

    /* Counts the reals of scratch memory that a layer of a shape needs for a number of images. */
    size_t (*scratch_count)(const dcgan_convolution *shape, size_t images);

    /* small[images][h][w][b] = sum of large[images][H][W][a] weights[b][ky][kx][a] */
    dcgan_status (*convolution)(dcgan_device *device, tensor small, tensor large, tensor weights,
                                size_t images, const dcgan_convolution *shape);

    /* large[images][H][W][a] = sum of small[images][h][w][b] weights[b][ky][kx][a]: the adjoint of
     * convolution */
    dcgan_status (*transposed_convolution)(dcgan_device *device, tensor large, tensor small,
                                           tensor weights, size_t images,
                                           const dcgan_convolution *shape);

    /* dweights[b][ky][kx][a] += sum of large[...][a] small[...][b]: the gradient of both, with
     * d... in place of the output */
    dcgan_status (*weight_gradient)(dcgan_device *device, tensor dweights, tensor large,
                                    tensor small, size_t images, const dcgan_convolution *shape);

    /* ---- batch norm and activations ---- */

    /* mean[c], variance[c] (biased) of x[rows][c] */
    dcgan_status (*moments)(dcgan_device *device, tensor mean, tensor variance, tensor x,
                            size_t rows, size_t channels);

    /* y = rectify(scale (x - mean) / sqrt(variance + epsilon) + shift): batch norm and what follows
     * it (y may be x) */
    dcgan_status (*normalise)(dcgan_device *device, tensor y, tensor x, tensor mean,
                              tensor variance, tensor scale, tensor shift, size_t rows,
                              size_t channels, real slope);

    /* dx from dy, and dscale, dshift (added to, or none) (dx may be dy) */
    dcgan_status (*normalise_backward)(dcgan_device *device, tensor dx, tensor dscale,
                                       tensor dshift, tensor dy, tensor x, tensor mean,
                                       tensor variance, tensor scale, tensor shift, size_t rows,
                                       size_t channels, real slope);

    /* x = x > 0 ? x : slope x, in place; and dx = dy (y > 0 ? 1 : slope), in place on dy */
    dcgan_status (*rectify)(dcgan_device *device, tensor x, size_t count, real slope);
    dcgan_status (*rectify_backward)(dcgan_device *device, tensor dy, tensor y, size_t count,
                                     real slope);

    /* x = tanh(x), in place; and dx = dy (1 - y^2), in place on dy */
    dcgan_status (*hyperbolic_tangent)(dcgan_device *device, tensor x, size_t count);
    dcgan_status (*hyperbolic_tangent_backward)(dcgan_device *device, tensor dy, tensor y,
                                                size_t count);

    /* ---- what a unit makes of them ---- */

    /* Of logits that ought to be target, 1 (real) or 0: adds the sum of their binary cross
     * entropies to loss and the number of those on the right side of zero to hits, both sums;
     * dlogits = weight x the derivative of the loss (or none). */
    dcgan_status (*judge)(dcgan_device *device, tensor dlogits, tensor loss, tensor hits,
                          tensor logits, size_t count, int target, double weight);

    /* Adds a layer's batch statistics: weight mean to sums 0 ... channels - 1, weight (variance +
     * mean^2) to the next channels (dcgan_statistics_add). */
    dcgan_status (*add_statistics)(dcgan_device *device, tensor sums, tensor mean, tensor variance,
                                   size_t channels, double weight);

    /* Takes Adam's step number t (dcgan_adam), and zeroes the gradient. */
    dcgan_status (*adam)(dcgan_device *device, tensor weights, tensor moment1, tensor moment2,
                         tensor gradient, size_t count, uint64_t t,
                         const dcgan_adam_options *options);

    /* difference = a - b (difference may be either) */
    dcgan_status (*difference)(dcgan_device *device, tensor difference, tensor a, tensor b,
                               size_t count);

    /* Makes a sum NaN or infinite unless all of x is finite. */
    dcgan_status (*finite)(dcgan_device *device, tensor sum, tensor x, size_t count);
};

/* The CPU: Winograd's convolution where it fits, matrix products elsewhere (cpu/paths.c). */
extern const dcgan_backend dcgan_backend_cpu;

/* The plainest loops, in double precision: the reference of the tests. */
extern const dcgan_backend dcgan_backend_naive;

/* Every GPU, and other device, that OpenCL finds: in programs that are compiled with DCGAN_GPU. */
extern const dcgan_backend dcgan_backend_opencl;

/* A tensor in the host's memory, for backends that are on_host. */
static inline tensor tensor_on_host(const real *x) {
    return (tensor){(void *)(uintptr_t)x, 0};
}

#endif
