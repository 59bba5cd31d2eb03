/*
 * kernels.c - pure compute: work units of one minibatch of the full-size network, again and again
 *
 *   kernels [--threads N] [--batch N] [--seconds S] [--instructions AVX-512|AVX2|portable]
 *           [--pairs N]
 *
 * Prints "median M best B mean A images/s, N units, path P": images a second by the wall clock; the
 * path is how each layer's convolutions are computed, and the BLAS.
 * Random weights and images, nothing but dcgan_unit_gradients.
 *
 * With --pairs, N pairs of units instead, by processor time, one by OpenBLAS and one by our own
 * products, first the one, then the other; prints "median M low L high H percent, OpenBLAS B own O images/s, path P":
 * by how much our own is faster, and the 95 % interval of the median. It makes no assumption on the
 * distribution: its ends are the pairs between which the median lies by the binomial distribution.
 */
#include "samples.h"
#include "../src/dcgan/dcgan.h"
#include "../src/dcgan/cpu/gemm.h"
#include "../src/dcgan/cpu/kernels.h"
#include "../src/dcgan/cpu/paths.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
        dcgan_unit_workspace(&b->model, NULL, batch, &b->workspace_bytes) != DCGAN_OK)
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

/* Measures units for some seconds and prints their speed. */
static void run_seconds(bench *b, double seconds) {
    samples taken = {0};
    double start = samples_clock(), images = (double)b->unit.count, elapsed;

    while (samples_clock() - start < seconds || taken.count < LEAST_UNITS)
        samples_add(&taken, compute(b));
    elapsed = samples_clock() - start;
    printf("median %.2f best %.2f mean %.2f images/s, %zu units, path ",
           images / samples_quantile(&taken, 0.5), images / samples_quantile(&taken, 0),
           images * (double)taken.count / elapsed, taken.count);
    print_paths("G", &b->model.generator);
    print_paths("; D", &b->model.discriminator);
    printf("; %s\n", gemm_name());
    samples_free(&taken);
}

/* Reads the processor time of all threads, which other programs on the machine hardly change. */
static double processor_seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Finds the rank, from 0, of the pair at the lower end of the 95 % interval of the median. */
static size_t lower_rank(size_t count) {
    double probability = pow(0.5, (double)count), below = probability;
    size_t rank = 0;

    while (below + probability * (double)(count - rank) / (double)(rank + 1) <= 0.025) {
        probability *= (double)(count - rank) / (double)(rank + 1);
        below += probability;
        rank++;
    }
    return rank;
}

/* Measures and prints pairs of units. */
static void run_pairs(bench *b, size_t pairs) {
    samples percents = {0}, seconds[2] = {{0}};
    size_t low = lower_rank(pairs), images = b->unit.count;
    char name[64];

    snprintf(name, sizeof name, "%s", gemm_name());
    if (strcmp(name, "own") == 0)
        fail("this build has no OpenBLAS to compare with");
    for (size_t i = 0; i < pairs; i++) {
        double pair[2];
        for (size_t turn = 0; turn < 2; turn++) {
            int own = (i + turn) % 2;
            gemm_prefer_own(own);
            pair[own] = -processor_seconds();
            compute(b);
            pair[own] += processor_seconds();
            samples_add(&seconds[own], pair[own]);
        }
        samples_add(&percents, 100 * (pair[0] / pair[1] - 1));
    }
    gemm_prefer_own(0);
    printf("median %.2f low %.2f high %.2f percent, OpenBLAS %.2f own %.2f images/s, path ",
           samples_quantile(&percents, 0.5),
           samples_quantile(&percents, ((double)low + 0.5) / (double)pairs),
           samples_quantile(&percents, ((double)(pairs - 1 - low) + 0.5) / (double)pairs),
           (double)images / samples_quantile(&seconds[0], 0.5),
           (double)images / samples_quantile(&seconds[1], 0.5));
    printf("%s beside own with %s\n", name, kernels_choose()->name);
    samples_free(&percents);
    samples_free(&seconds[0]);
    samples_free(&seconds[1]);
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"threads", required_argument, NULL, 't'}, {"batch", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'}, {"instructions", required_argument, NULL, 'i'},
        {"pairs", required_argument, NULL, 'p'},   {NULL, 0, NULL, 0}};
    int threads = 1, batch = 64, pairs = 0, option;
    double seconds = 10;
    bench b = {0};

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 't')
            threads = atoi(optarg);
        else if (option == 'b')
            batch = atoi(optarg);
        else if (option == 's')
            seconds = atof(optarg);
        else if (option == 'p')
            pairs = atoi(optarg);
        else if (option == 'i')
            force_kernels(optarg);
        else
            return 2;
    }
    if (threads < 1 || batch < 1 || pairs < 0 || pairs == 1)
        fail("--threads and --batch are numbers of 1 or more, --pairs is 2 or more");
    set_up(&b, (size_t)batch, threads);
    compute(&b);
    if (pairs)
        run_pairs(&b, (size_t)pairs);
    else
        run_seconds(&b, seconds);
    free((void *)b.unit.weights);
    free((void *)b.unit.images);
    free(b.workspace);
    free(b.result.gradient);
    free(b.result.statistics);
    return 0;
}
