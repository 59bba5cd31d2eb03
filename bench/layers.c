/*
 * layers.c - the convolutions of the full-size discriminator, each pass by each path that can
 * compute it
 *
 *   layers [--batch N] [--repeats R]
 *
 * Prints, for each layer and pass, "LAYER PASS BEST-PATH GFLOP/s; OTHER-PATH GFLOP/s; …". The
 * floating-point operations are those of the definition (2 for each pixel, weight and image), even
 * if a path needs fewer; best of R repeats on one thread. The generator's layers have the same
 * shapes.
 */
#include "samples.h"
#include "../src/dcgan/backend.h"
#include "../src/dcgan/cpu/kernels.h"
#include "../src/dcgan/cpu/paths.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct layer {
    const dcgan_convolution *shape;
    real *large, *small, *weights;
    dcgan_work work;
    size_t batch;
} layer;

static const char *const pass_names[] = {"convolution", "transposed", "weight-gradient"};

/* Allocates count numbers that are not all alike. */
static real *numbers(size_t count) {
    real *x = malloc(count * sizeof *x);

    if (!x) {
        fprintf(stderr, "layers: not enough memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        x[i] = (real)((i * 2654435761u >> 8) % 1000) / 1000 - (real)0.5;
    return x;
}

static void run_pass(const layer *l, int pass) {
    if (pass == 0)
        cpu_convolution(l->small, l->large, l->weights, l->batch, l->shape, &l->work);
    else if (pass == 1)
        cpu_transposed_convolution(l->large, l->small, l->weights, l->batch, l->shape, &l->work);
    else
        cpu_weight_gradient(l->weights, l->large, l->small, l->batch, l->shape, &l->work);
}

/* Measures a pass on the path that is chosen now; returns its GFLOP/s. */
static double measure(const layer *l, int pass, int repeats) {
    const dcgan_convolution *s = l->shape;
    double flops = 2.0 * (double)(l->batch * s->small_height * s->small_width * s->small_channels) *
                   16 * (double)s->large_channels,
           best = 0;

    for (int i = 0; i <= repeats; i++) { /* the first one warms up */
        double start = samples_clock();
        run_pass(l, pass);
        start = flops / (samples_clock() - start) / 1e9;
        best = i > 0 && start > best ? start : best;
    }
    return best;
}

/* Prints a line for one layer and pass. */
static void print_pass(const layer *l, int pass, int repeats) {
    const dcgan_convolution *s = l->shape;
    double chosen = measure(l, pass, repeats);

    printf("%zux%zu,%zu-%zu %s %s %.1f", s->small_height, s->small_width, s->large_channels,
           s->small_channels, pass_names[pass], cpu_path_name(s), chosen);
    if (strcmp(cpu_path_name(s), "im2col") != 0) {
        for (size_t k = 1; kernels_list(k); k++) {
            kernels_force(kernels_list(k));
            printf("; %s %.1f", cpu_path_name(s), measure(l, pass, repeats));
        }
        kernels_force(NULL);
        cpu_path_prefer("im2col");
        printf("; im2col %.1f", measure(l, pass, repeats));
        cpu_path_prefer(NULL);
    }
    printf("\n");
}

static void print_layer(const dcgan_convolution *s, size_t batch, int repeats) {
    layer l = {.shape = s, .batch = batch};

    l.large = numbers(batch * s->large_height * s->large_width * s->large_channels);
    l.small = numbers(batch * s->small_height * s->small_width * s->small_channels);
    l.weights = numbers(16 * s->small_channels * s->large_channels);
    l.work.scratch = numbers(dcgan_backend_cpu.scratch_count(s, batch));
    for (int pass = 0; pass < 3; pass++)
        print_pass(&l, pass, repeats);
    free(l.large), free(l.small), free(l.weights), free(l.work.scratch);
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"batch", required_argument, NULL, 'b'},
                                          {"repeats", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    const dcgan_config full_size = {3, 64, 100, 64, 64};
    int batch = 64, repeats = 5, option;
    dcgan_model model;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'b')
            batch = atoi(optarg);
        else if (option == 'r')
            repeats = atoi(optarg);
        else
            return 2;
    }
    if (batch < 1 || repeats < 1 || dcgan_model_init(&model, &full_size) != DCGAN_OK)
        return 2;
    for (size_t i = 0; i < model.discriminator.layer_count; i++)
        print_layer(&model.discriminator.layers[i].shape, (size_t)batch, repeats);
    return 0;
}
