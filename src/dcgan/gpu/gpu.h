/*
 * gpu.h - what the ways to a GPU share
 *
 * A driver (opencl.c) has memory, a queue and kernels. The functions of the table that compute
 * (products.c, layers.c, unit.c, memory.c) call a driver and know nothing else of a device, so
 * that another driver needs no more than the functions of gpu_driver and the same kernels' text.
 * portable.cl, narrow.cl, products.cl, layers.cl and unit.cl say what each kernel does, with which
 * groups.
 *
 * Only in programs that students run: nothing here may be linked into the extension.
 */
#ifndef DCGAN_GPU_H
#define DCGAN_GPU_H

#include "../backend.h"

#ifdef DCGAN_DOUBLE
#error "kernels compute with floats"
#endif

enum { GPU_GROUP = 256 }; /* threads of a group: GROUP in portable.cl */

/* ---- kernels ---- */

#define GPU_KERNELS(X)                                                                             \
    X(down_64)                                                                                     \
    X(up_64)                                                                                       \
    X(gradient_64)                                                                                 \
    X(down_128)                                                                                    \
    X(up_128)                                                                                      \
    X(gradient_128)                                                                                \
    X(up_narrow)                                                                                   \
    X(down_one)                                                                                    \
    X(add_slices)                                                                                  \
    X(moments_slices)                                                                              \
    X(moments_total)                                                                               \
    X(normalise)                                                                                   \
    X(normalise_backward_slices)                                                                   \
    X(normalise_backward_total)                                                                    \
    X(normalise_backward)                                                                          \
    X(rectify)                                                                                     \
    X(rectify_backward)                                                                            \
    X(hyperbolic_tangent)                                                                          \
    X(hyperbolic_tangent_backward)                                                                 \
    X(judge)                                                                                       \
    X(add_statistics)                                                                              \
    X(adam)                                                                                        \
    X(difference)                                                                                  \
    X(zero)                                                                                        \
    X(samples)                                                                                     \
    X(finite_groups)                                                                               \
    X(finite_total)

#define GPU_KERNEL(name) KERNEL_##name,
typedef enum gpu_kernel { GPU_KERNELS(GPU_KERNEL) GPU_KERNEL_COUNT } gpu_kernel;

extern const char *const gpu_kernel_names[GPU_KERNEL_COUNT];

/* The kernels' text: pieces to be joined, and their number (text.c). */
extern const char *const gpu_text[];
extern const size_t gpu_text_count;

/* A kernel's argument. */
typedef struct gpu_argument {
    enum { GPU_TENSOR, GPU_MEMORY, GPU_INT, GPU_FLOAT } kind;
    union {
        tensor tensor; /* two of the kernel's parameters: memory, first */
        void *memory;  /* the driver's own, without an offset */
        int32_t integer;
        float number;
    };
} gpu_argument;

typedef struct gpu_groups {
    size_t x, y, z;
} gpu_groups;

/* ---- drivers ---- */

/* Each returns DCGAN_DEVICE or DCGAN_DEVICE_MEMORY after a failure, with device->error. */
typedef struct gpu_driver {
    dcgan_status (*allocate)(dcgan_device *device, size_t bytes, void **memory);
    void (*release)(dcgan_device *device, void *memory); /* null is fine */
    dcgan_status (*copy_in)(dcgan_device *device, void *to, size_t at, const void *from,
                            size_t bytes);
    dcgan_status (*copy_out)(dcgan_device *device, void *to, const void *from, size_t at,
                             size_t bytes, int wait);
    dcgan_status (*launch)(dcgan_device *device, gpu_kernel kernel, gpu_groups groups,
                           const gpu_argument *arguments, size_t count);
} gpu_driver;

/* What every driver's device->own begins with. */
typedef struct gpu_state {
    const gpu_driver *driver;
    size_t processors; /* that take groups at the same time */
    size_t tile;       /* of products: 64 or 128; 0: chosen for each */
    void *arena;       /* what reserve gave */
    size_t arena_reals;
    tensor slices; /* GPU_SLICE_REALS for batch norm's partial sums */
    void *bytes;   /* 8-bit samples on their way */
    size_t byte_count;
    const char *fault; /* the function that fails at its fault_call-th call, for tests */
    size_t fault_length;
    long fault_call;
    size_t memory_limit; /* bytes that reserve may give, for tests; 0: what the device has */
} gpu_state;

static inline gpu_state *gpu_of(const dcgan_device *device) {
    return device->own;
}

/* ---- state.c ---- */

/* Allocates what the functions need of a driver's device; reads the faults to be made. */
dcgan_status gpu_begin(dcgan_device *device);

/* Frees it, and what was reserved. */
void gpu_end(dcgan_device *device);

/* Writes what happened; returns the status. */
__attribute__((format(printf, 3, 4))) dcgan_status
gpu_fail(dcgan_device *device, dcgan_status status, const char *format, ...);

/* Begins a function of the table: fails where GANN_DEVICE_FAULT=function:n asks for it. */
dcgan_status gpu_enter(dcgan_device *device, const char *function);
#define GPU_ENTER(device) TRY(gpu_enter(device, __func__ + sizeof "gpu_" - 1))

/* ---- launching ---- */

#define GPU_T(x)                                                                                   \
    { .kind = GPU_TENSOR, .tensor = (x) }
#define GPU_M(x)                                                                                   \
    { .kind = GPU_MEMORY, .memory = (x) }
#define GPU_I(x)                                                                                   \
    { .kind = GPU_INT, .integer = (int32_t)(x) }
#define GPU_F(x)                                                                                   \
    { .kind = GPU_FLOAT, .number = (float)(x) }

/* Queues a kernel: gpu_launch(device, KERNEL_zero, groups, GPU_T(x), GPU_I(count)). */
#define gpu_launch(device, kernel, groups, ...)                                                    \
    gpu_of(device)->driver->launch(device, kernel, groups, (const gpu_argument[]){__VA_ARGS__},    \
                                   sizeof((const gpu_argument[]){__VA_ARGS__}) /                   \
                                       sizeof(gpu_argument))

static inline size_t gpu_divide_up(size_t a, size_t b) {
    return a / b + (a % b > 0);
}

/* Groups of which every thread has one of count numbers. */
static inline gpu_groups gpu_elements(size_t count) {
    return (gpu_groups){gpu_divide_up(count, GPU_GROUP), 1, 1};
}

/* Kernels count with 32 bits; some go beyond a tensor's end by less than a tile. */
#define GPU_MAX_COUNT ((size_t)INT32_MAX - 65536)

/* ---- the functions of the table that every driver shares ---- */

enum {
    GPU_SLICES = 128,         /* at most, of batch norm */
    GPU_SLICE_SUMS = 1 << 16, /* slices x channels, at most, above one slice */
    GPU_MAX_CHANNELS = 1 << 16,
    GPU_SLICE_REALS = 4 * GPU_SLICE_SUMS + 2 * GPU_MAX_CHANNELS /* pairs of sums; totals */
};

dcgan_status gpu_reserve(dcgan_device *device, size_t reals, tensor *memory);
dcgan_status gpu_write(dcgan_device *device, tensor to, const real *from, size_t count);
dcgan_status gpu_write_samples(dcgan_device *device, tensor to, const uint8_t *from, size_t count);
dcgan_status gpu_read(dcgan_device *device, real *to, tensor from, size_t count);
dcgan_status gpu_read_sums(dcgan_device *device, double *to, tensor sums, size_t count);
dcgan_status gpu_zero(dcgan_device *device, tensor x, size_t reals);

size_t gpu_scratch_count(const dcgan_convolution *shape, size_t images);
dcgan_status gpu_convolution(dcgan_device *device, tensor small, tensor large, tensor weights,
                             size_t images, const dcgan_convolution *shape);
dcgan_status gpu_transposed_convolution(dcgan_device *device, tensor large, tensor small,
                                        tensor weights, size_t images,
                                        const dcgan_convolution *shape);
dcgan_status gpu_weight_gradient(dcgan_device *device, tensor dweights, tensor large, tensor small,
                                 size_t images, const dcgan_convolution *shape);

dcgan_status gpu_moments(dcgan_device *device, tensor mean, tensor variance, tensor x, size_t rows,
                         size_t channels);
dcgan_status gpu_normalise(dcgan_device *device, tensor y, tensor x, tensor mean, tensor variance,
                           tensor scale, tensor shift, size_t rows, size_t channels, real slope);
dcgan_status gpu_normalise_backward(dcgan_device *device, tensor dx, tensor dscale, tensor dshift,
                                    tensor dy, tensor x, tensor mean, tensor variance, tensor scale,
                                    tensor shift, size_t rows, size_t channels, real slope);
dcgan_status gpu_rectify(dcgan_device *device, tensor x, size_t count, real slope);
dcgan_status gpu_rectify_backward(dcgan_device *device, tensor dy, tensor y, size_t count,
                                  real slope);
dcgan_status gpu_hyperbolic_tangent(dcgan_device *device, tensor x, size_t count);
dcgan_status gpu_hyperbolic_tangent_backward(dcgan_device *device, tensor dy, tensor y,
                                             size_t count);

dcgan_status gpu_judge(dcgan_device *device, tensor dlogits, tensor loss, tensor hits,
                       tensor logits, size_t count, int target, double weight);
dcgan_status gpu_add_statistics(dcgan_device *device, tensor sums, tensor mean, tensor variance,
                                size_t channels, double weight);
dcgan_status gpu_adam(dcgan_device *device, tensor weights, tensor moment1, tensor moment2,
                      tensor gradient, size_t count, uint64_t t, const dcgan_adam_options *options);
dcgan_status gpu_difference(dcgan_device *device, tensor difference, tensor a, tensor b,
                            size_t count);
dcgan_status gpu_finite(dcgan_device *device, tensor sum, tensor x, size_t count);

/* What a driver's table has of these. */
#define GPU_FUNCTIONS                                                                              \
    .reserve = gpu_reserve, .write = gpu_write, .write_samples = gpu_write_samples,                \
    .read = gpu_read, .read_sums = gpu_read_sums, .zero = gpu_zero,                                \
    .scratch_count = gpu_scratch_count, .convolution = gpu_convolution,                            \
    .transposed_convolution = gpu_transposed_convolution, .weight_gradient = gpu_weight_gradient,  \
    .moments = gpu_moments, .normalise = gpu_normalise,                                            \
    .normalise_backward = gpu_normalise_backward, .rectify = gpu_rectify,                          \
    .rectify_backward = gpu_rectify_backward, .hyperbolic_tangent = gpu_hyperbolic_tangent,        \
    .hyperbolic_tangent_backward = gpu_hyperbolic_tangent_backward, .judge = gpu_judge,            \
    .add_statistics = gpu_add_statistics, .adam = gpu_adam, .difference = gpu_difference,          \
    .finite = gpu_finite

#endif
