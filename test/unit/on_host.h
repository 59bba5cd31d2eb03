/*
 * on_host.h - calls a backend whose tensors are the host's memory, with plain pointers
 */
#ifndef TEST_ON_HOST_H
#define TEST_ON_HOST_H

#include "../../src/dcgan/backend.h"
#include "../../src/dcgan/cpu/work.h"

#include <assert.h>

/* An opened device of such a backend, with a test's scratch memory and threads. */
static inline dcgan_device on_host(const dcgan_backend *backend, const dcgan_work *work) {
    return (dcgan_device){.backend = backend,
                          .threads = 1,
                          .scratch = tensor_on_host(work->scratch),
                          .own = backend == &dcgan_backend_cpu ? work->pool : NULL};
}

#define ON_HOST(function, ...)                                                                     \
    do {                                                                                           \
        dcgan_device device = on_host(backend, work);                                              \
        dcgan_status status = backend->function(&device, __VA_ARGS__);                             \
        assert(status == DCGAN_OK);                                                                \
        (void)status;                                                                              \
    } while (0)

#define T(x) tensor_on_host(x)

static inline void on_host_convolution(const dcgan_backend *backend, real *small, const real *large,
                                       const real *weights, size_t images,
                                       const dcgan_convolution *s, const dcgan_work *work) {
    ON_HOST(convolution, T(small), T(large), T(weights), images, s);
}

static inline void on_host_transposed_convolution(const dcgan_backend *backend, real *large,
                                                  const real *small, const real *weights,
                                                  size_t images, const dcgan_convolution *s,
                                                  const dcgan_work *work) {
    ON_HOST(transposed_convolution, T(large), T(small), T(weights), images, s);
}

static inline void on_host_weight_gradient(const dcgan_backend *backend, real *dweights,
                                           const real *large, const real *small, size_t images,
                                           const dcgan_convolution *s, const dcgan_work *work) {
    ON_HOST(weight_gradient, T(dweights), T(large), T(small), images, s);
}

static inline void on_host_moments(const dcgan_backend *backend, real *mean, real *variance,
                                   const real *x, size_t rows, size_t channels,
                                   const dcgan_work *work) {
    ON_HOST(moments, T(mean), T(variance), T(x), rows, channels);
}

static inline void on_host_normalise(const dcgan_backend *backend, real *y, const real *x,
                                     const real *mean, const real *variance, const real *scale,
                                     const real *shift, size_t rows, size_t channels, real slope,
                                     const dcgan_work *work) {
    ON_HOST(normalise, T(y), T(x), T(mean), T(variance), T(scale), T(shift), rows, channels, slope);
}

static inline void on_host_normalise_backward(const dcgan_backend *backend, real *dx, real *dscale,
                                              real *dshift, const real *dy, const real *x,
                                              const real *mean, const real *variance,
                                              const real *scale, const real *shift, size_t rows,
                                              size_t channels, real slope, const dcgan_work *work) {
    ON_HOST(normalise_backward, T(dx), T(dscale), T(dshift), T(dy), T(x), T(mean), T(variance),
            T(scale), T(shift), rows, channels, slope);
}

static inline void on_host_rectify(const dcgan_backend *backend, real *x, size_t count, real slope,
                                   const dcgan_work *work) {
    ON_HOST(rectify, T(x), count, slope);
}

static inline void on_host_rectify_backward(const dcgan_backend *backend, real *dy, const real *y,
                                            size_t count, real slope, const dcgan_work *work) {
    ON_HOST(rectify_backward, T(dy), T(y), count, slope);
}

static inline void on_host_hyperbolic_tangent(const dcgan_backend *backend, real *x, size_t count,
                                              const dcgan_work *work) {
    ON_HOST(hyperbolic_tangent, T(x), count);
}

static inline void on_host_hyperbolic_tangent_backward(const dcgan_backend *backend, real *dy,
                                                       const real *y, size_t count,
                                                       const dcgan_work *work) {
    ON_HOST(hyperbolic_tangent_backward, T(dy), T(y), count);
}

#undef T
#undef ON_HOST

#endif
