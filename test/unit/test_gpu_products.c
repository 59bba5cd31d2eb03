/*
 * test_gpu_products.c - convolutions on a device of OpenCL (gpu_device.h)
 */
#include "gpu_device.h"

/* ---- convolutions ---- */

static dcgan_status call_convolution(const place *p) {
    return p->backend->convolution(p->device, at(p, 0), at(p, 1), at(p, 2), c.images, &c.shape);
}

static dcgan_status call_transposed_convolution(const place *p) {
    return p->backend->transposed_convolution(p->device, at(p, 1), at(p, 0), at(p, 2), c.images,
                                              &c.shape);
}

static dcgan_status call_weight_gradient(const place *p) {
    return p->backend->weight_gradient(p->device, at(p, 2), at(p, 1), at(p, 0), c.images, &c.shape);
}

typedef struct layer {
    size_t images, h, w, small_channels, large_channels; /* h = w = 1: between 1x1 and 4x4 */
} layer;

/* Every edge of a tile and of a step in depth, on both sides: primes, 1, and one more. */
static const layer odd_layers[] = {
    {1, 2, 2, 1, 1},  {3, 1, 1, 1, 1},  {2, 3, 5, 7, 3}, {5, 1, 1, 13, 11},
    {1, 5, 3, 2, 17}, {2, 2, 3, 17, 5}, {1, 1, 2, 3, 4},
};

/* The layers of real networks, at fewer images; and more than one tile, slice and group. */
static const layer real_layers[] = {
    {2, 16, 16, 64, 3}, {1, 8, 8, 128, 64}, {3, 4, 4, 129, 67},  {65, 1, 1, 100, 33},
    {67, 1, 1, 1, 64},  {3, 16, 16, 16, 1}, {5, 11, 7, 65, 130}, {2, 4, 4, 257, 31},
};

static void lay_out(const layer *l, int which) {
    const bool one = l->h == 1 && l->w == 1;
    size_t counts[3];

    begin_check();
    c.images = l->images;
    c.shape = (dcgan_convolution){l->h,
                                  l->w,
                                  l->small_channels,
                                  one ? 4 : 2 * l->h,
                                  one ? 4 : 2 * l->w,
                                  l->large_channels,
                                  one ? 1 : 2,
                                  one ? 0 : 1};
    counts[0] = l->images * l->h * l->w * l->small_channels;
    counts[1] = l->images * c.shape.large_height * c.shape.large_width * l->large_channels;
    counts[2] = 16 * l->small_channels * l->large_channels;
    for (int t = 0; t < 3; t++)
        add_tensor(counts[t], t == which, 0, 1);
}

/* Both sizes of tile give the same bits. */
static void check_tiles(const char *what, dcgan_status (*call)(const place *), size_t scratch) {
    float *got[2];

    for (int large = 0; large < 2; large++) {
        gpu_of(&gpu)->tile = large ? 128 : 64;
        check(what, call, scratch, 3e-6);
        got[large] = run_on_gpu(call, scratch);
    }
    gpu_of(&gpu)->tile = 0;
    if (memcmp(got[0], got[1], c.used * sizeof *got[0]) != 0)
        fail_msg("%s: not the same bits with both tiles", what);
    free(got[0]), free(got[1]);
}

static void check_layer(const layer *l) {
    static const struct {
        const char *name;
        dcgan_status (*call)(const place *);
    } kinds[] = {{"convolution", call_convolution},
                 {"transposed convolution", call_transposed_convolution},
                 {"weight gradient", call_weight_gradient}};
    char what[200];

    for (int kind = 0; kind < 3; kind++) {
        lay_out(l, kind);
        snprintf(what, sizeof what, "%s of %zu images, %zux%zu, %zu and %zu channels",
                 kinds[kind].name, l->images, l->h, l->w, l->small_channels, l->large_channels);
        check_tiles(what, kinds[kind].call, gpu.backend->scratch_count(&c.shape, c.images));
    }
}

static void convolutions_of_odd_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(odd_layers); i++)
        check_layer(&odd_layers[i]);
}

static void convolutions_of_real_shapes(void **state) {
    (void)state;
    for (size_t i = 0; i < SIZE(real_layers) && !tiny; i++)
        check_layer(&real_layers[i]);
}

static void shapes_that_no_kernel_knows_are_refused(void **state) {
    (void)state;
    lay_out(&(layer){1, 2, 2, 1, 1}, 0);
    c.shape.padding = 0;
    assert_int_equal(call_convolution(&(place){gpu.backend, &gpu, NULL}), DCGAN_INVALID_ARGUMENT);
    lay_out(&(layer){1, 2, 2, 1, 1}, 0);
    c.images = (size_t)1 << 40;
    assert_int_equal(call_weight_gradient(&(place){gpu.backend, &gpu, NULL}), DCGAN_TOO_LARGE);
    assert_int_equal(gpu.backend->scratch_count(&c.shape, c.images), 0);
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        seeded_test(convolutions_of_odd_shapes),
        seeded_test(convolutions_of_real_shapes),
        seeded_test(shapes_that_no_kernel_knows_are_refused),
    };

    return run_on_device("gpu_products", tests, SIZE(tests));
}
