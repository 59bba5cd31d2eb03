/*
 * paths.c - chooses how each layer's convolution is computed on the CPU
 *
 * Measurements decided the table (bench/README.md): where Winograd's tiles fit, it is faster in all
 * three passes; the layers at the ends of the networks (3 channels, one pixel) use im2col.
 */
#include "paths.h"
#include "im2col.h"
#include "kernels.h"
#include "winograd.h"

#include <stdatomic.h>
#include <string.h>

typedef struct path {
    const char *name;
    int (*takes)(const dcgan_convolution *s);
    size_t (*scratch_count)(const dcgan_convolution *s, size_t images);
    void (*convolution)(real *, const real *, const real *, size_t, const dcgan_convolution *,
                        const dcgan_work *);
    void (*transposed_convolution)(real *, const real *, const real *, size_t,
                                   const dcgan_convolution *, const dcgan_work *);
    void (*weight_gradient)(real *, const real *, const real *, size_t, const dcgan_convolution *,
                            const dcgan_work *);
} path;

/* In the order in which they are asked; the last takes every shape. */
static const path paths[] = {
    {"Winograd", winograd_takes, winograd_scratch_count, winograd_convolution,
     winograd_transposed_convolution, winograd_weight_gradient},
    {"im2col", im2col_takes, im2col_scratch_count, im2col_convolution,
     im2col_transposed_convolution, im2col_weight_gradient},
};

static _Atomic(const path *) preferred;

/* Finds the path of a shape. */
static const path *path_of(const dcgan_convolution *s) {
    const path *p = atomic_load(&preferred);

    if (p && p->takes(s))
        return p;
    for (p = paths; !p->takes(s);)
        p++;
    return p;
}

const char *cpu_path_name(const dcgan_convolution *s) {
    static const char *const winograd[] = {"Winograd (AVX-512)", "Winograd (AVX2)",
                                           "Winograd (portable)"};
    const path *p = path_of(s);

    for (size_t i = 0; p == &paths[0] && i < sizeof winograd / sizeof *winograd; i++)
        if (strstr(winograd[i], kernels_choose()->name))
            return winograd[i];
    return p->name;
}

int cpu_path_prefer(const char *name) {
    for (size_t i = 0; name && i < sizeof paths / sizeof *paths; i++)
        if (strcmp(paths[i].name, name) == 0) {
            atomic_store(&preferred, &paths[i]);
            return 1;
        }
    if (!name)
        atomic_store(&preferred, NULL);
    return !name;
}

/* Asked for the largest, as the preference may change. */
size_t cpu_path_scratch_count(const dcgan_convolution *s, size_t images) {
    size_t largest = 0;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t count = paths[i].takes(s) ? paths[i].scratch_count(s, images) : 0;
        largest = count > largest ? count : largest;
    }
    return largest;
}

void cpu_convolution(real *small, const real *large, const real *weights, size_t images,
                     const dcgan_convolution *s, const dcgan_work *work) {
    path_of(s)->convolution(small, large, weights, images, s, work);
}

void cpu_transposed_convolution(real *large, const real *small, const real *weights, size_t images,
                                const dcgan_convolution *s, const dcgan_work *work) {
    path_of(s)->transposed_convolution(large, small, weights, images, s, work);
}

void cpu_weight_gradient(real *dweights, const real *large, const real *small, size_t images,
                         const dcgan_convolution *s, const dcgan_work *work) {
    path_of(s)->weight_gradient(dweights, large, small, images, s, work);
}
