/*
 * kernels.c - pure compute: work units of one minibatch of the full-size network, again and again
 *
 *   kernels [--threads N] [--batch N] [--seconds S] [--instructions AVX-512|AVX2|portable]
 *
 * Prints "median M best B mean A images/s, N units, path P": images a second by the wall clock; the
 * path is how each layer's convolutions are computed, and the BLAS.
 * Random weights and images, nothing but dcgan_unit_gradients.
 */
#include "samples.h"
#include "../src/dcgan/dcgan.h"
#include "../src/dcgan/cpu/gemm.h"
#include "../src/dcgan/cpu/kernels.h"
#include "../src/dcgan/cpu/paths.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 7
#define LEAST_UNITS 3

static const dcgan_config full_size = {.channels = 3,
                                       .image_size = 64,
                                       .latent = 100,
                                       .generator_features = 64,
                                       .discriminator_features = 64};

typedef struct bench {
    dcgan_model model;
    dcgan_unit unit;
    dcgan_unit_result result;
    void *workspace;
    size_t workspace_bytes;
} bench;

/* Ends the program with a reason. */
static void fail(const char *what) {
    fprintf(stderr, "kernels: %s\n", what);
    exit(1);
}

/* Allocates and touches memory, so that the first unit does not pay for the pages. */
static void *take(size_t bytes) {
    void *memory = malloc(bytes);

    if (!memory)
        fail("not enough memory");
    return memset(memory, 0, bytes);
}

/* Draws weights and images. */
static void set_up(bench *b, size_t batch, int threads) {
    real *weights;
    uint8_t *images;
    size_t bytes;

    if (dcgan_model_init(&b->model, &full_size) != DCGAN_OK ||
        dcgan_unit_workspace(&b->model, batch, &b->workspace_bytes) != DCGAN_OK)
        fail("a batch of that size is not possible");
    weights = take(b->model.parameter_count * sizeof *weights);
    dcgan_initialise(&b->model, SEED, 0, b->model.parameter_count, weights);
    bytes = batch * b->model.image_count;
    images = take(bytes);
    for (size_t i = 0; i < bytes; i++)
        images[i] = (uint8_t)(i * 2654435761u >> 24);
    b->workspace = take(b->workspace_bytes);
    b->result.gradient = take(b->model.parameter_count * sizeof(real));
    b->result.statistics = take(b->model.statistics_count * sizeof(real));
    b->unit = (dcgan_unit){.weights = weights,
                           .images = images,
                           .count = batch,
                           .batch = batch,
                           .seed = SEED,
                           .threads = threads};
}

/* Computes a unit; returns its seconds. */
static double compute(bench *b) {
    double start = samples_clock();
    dcgan_status status =
        dcgan_unit_gradients(&b->model, &b->unit, &b->result, b->workspace, b->workspace_bytes);

    if (status != DCGAN_OK)
        fail(dcgan_status_text(status));
    b->unit.position += b->unit.count;
    return samples_clock() - start;
}

/* Prints the path of each layer: "G im2col, Winograd (AVX-512) x 3, im2col". */
static void print_paths(const char *name, const dcgan_network *network) {
    fputs(name, stdout);
    for (size_t i = 0, next; i < network->layer_count; i = next) {
        const char *path = cpu_path_name(&network->layers[i].shape);
        for (next = i + 1; next < network->layer_count; next++)
            if (strcmp(cpu_path_name(&network->layers[next].shape), path) != 0)
                break;
        printf("%s %s", i ? "," : "", path);
        if (next - i > 1)
            printf(" x %zu", next - i);
    }
}

/* Uses the kernels of a name. */
static void force_kernels(const char *name) {
    for (size_t i = 0; kernels_list(i); i++)
        if (strcmp(kernels_list(i)->name, name) == 0) {
            kernels_force(kernels_list(i));
            return;
        }
    fail("this processor does not have these instructions");
}

int main(int argc, char **argv) {
    static const struct option known[] = {{"threads", required_argument, NULL, 't'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"instructions", required_argument, NULL, 'i'},
                                          {NULL, 0, NULL, 0}};
    int threads = 1, batch = 64, option;
    double seconds = 10, start, images, elapsed;
    samples taken = {0};
    bench b = {0};

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 't')
            threads = atoi(optarg);
        else if (option == 'b')
            batch = atoi(optarg);
        else if (option == 's')
            seconds = atof(optarg);
        else if (option == 'i')
            force_kernels(optarg);
        else
            return 2;
    }
    if (threads < 1 || batch < 1)
        fail("--threads and --batch are numbers of 1 or more");
    set_up(&b, (size_t)batch, threads);
    compute(&b);
    start = samples_clock();
    while (samples_clock() - start < seconds || taken.count < LEAST_UNITS)
        samples_add(&taken, compute(&b));
    elapsed = samples_clock() - start;
    images = (double)batch;
    printf("median %.2f best %.2f mean %.2f images/s, %zu units, path ",
           images / samples_quantile(&taken, 0.5), images / samples_quantile(&taken, 0),
           images * (double)taken.count / elapsed, taken.count);
    print_paths("G", &b.model.generator);
    print_paths("; D", &b.model.discriminator);
    printf("; %s\n", gemm_name());
    samples_free(&taken);
    free((void *)b.unit.weights);
    free((void *)b.unit.images);
    free(b.workspace);
    free(b.result.gradient);
    free(b.result.statistics);
    return 0;
}
