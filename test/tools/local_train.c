/*
 * local_train.c - trains in one process, through the library alone, what a class trains through the server
 *
 *   local_train DATASET SEED CHANNELS SIZE LATENT F E BATCH IMAGES_PER_UNIT UNITS ITERATIONS < BLOBS > REPORT
 *
 * Reads the server's final weights from standard input (its shards' blobs one after the other, the running
 * statistics last), trains the same run from the seed, and prints the relative errors of weights and
 * statistics: the reference for the whole distributed system.
 */
#include "../../src/dcgan/dcgan.h"
#include "../../src/wire/blob.h"
#include "../../src/worker/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what) {
    fprintf(stderr, "local_train: %s\n", what);
    exit(2);
}

static void *need(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        die("out of memory");
    return memory;
}

static void report_broken(void *context, const char *message) {
    (void)context;
    fprintf(stderr, "local_train: %s\n", message);
}

/* Reads count numbers from blobs of a shard each. */
static void read_blobs(float *values, size_t count) {
    for (size_t first = 0; first < count; first += SHARD_COUNT) {
        size_t length = count - first < SHARD_COUNT ? count - first : SHARD_COUNT;
        unsigned char *blob = need(blob_size(length), 1);
        if (fread(blob, 1, blob_size(length), stdin) != blob_size(length) ||
            blob_check(blob, blob_size(length), length) != BLOB_OK)
            die("the weights on standard input are not what they should be");
        memcpy(values + first, blob + BLOB_HEADER_SIZE, length * sizeof *values);
        free(blob);
    }
}

/* Prints the relative error of a vector. */
static void compare(const char *what, const float *got, const float *expected, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
        norm += (double)expected[i] * expected[i];
    }
    printf("%s %.3g\n", what, sqrt(difference / norm));
}

int main(int argc, char **argv) {
    if (argc != 12)
        die("wrong number of arguments");
    uint64_t seed = (uint64_t)strtoll(argv[2], NULL, 10);
    dcgan_config config = {(uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]),
                           (uint32_t)atoi(argv[6]), (uint32_t)atoi(argv[7])};
    size_t batch = (size_t)atoi(argv[8]), unit_images = (size_t)atoi(argv[9]), units = (size_t)atoi(argv[10]),
           workspace_bytes;
    uint32_t iterations = (uint32_t)atoi(argv[11]);
    const dcgan_adam_options adam = {2e-4, 0.5, 0.999, 1e-8};
    char error[512];
    dcgan_model model;
    dataset *data = dataset_open(argv[1], (size_t)1 << 30, report_broken, NULL, error, sizeof error);

    if (!data)
        die(error);
    if (dcgan_model_init(&model, &config) != DCGAN_OK ||
        dataset_prepare(data, (int)config.image_size, (int)config.channels) != 0 ||
        dcgan_unit_workspace(&model, batch, &workspace_bytes) != DCGAN_OK)
        die("the configuration is impossible");
    size_t p = model.parameter_count, s = model.statistics_count;
    float *weights = need(p, sizeof *weights), *m = need(p, sizeof *m), *v = need(p, sizeof *v),
          *gradient = need(p, sizeof *gradient);
    float *running = need(s, sizeof *running), *statistics = need(s, sizeof *statistics);
    double *sum = need(p, sizeof *sum), *statistics_sums = need(s, sizeof *statistics_sums);
    uint8_t *images = need(unit_images, model.image_count);
    void *workspace = need(workspace_bytes, 1);

    dcgan_initialise(&model, seed, 0, p, weights);
    dcgan_initialise_statistics(&model, running);
    for (uint32_t iteration = 0; iteration < iterations; iteration++) {
        memset(sum, 0, p * sizeof *sum);
        memset(statistics_sums, 0, s * sizeof *statistics_sums);
        for (size_t u = 0; u < units; u++) {
            uint64_t position = ((uint64_t)iteration * units + u) * unit_images, n = dataset_count(data);
            for (size_t i = 0; i < unit_images; i++)
                if (dataset_image(data, dcgan_permute(seed, (position + i) / n, n, (position + i) % n),
                                  images + i * model.image_count) != 0)
                    die("no image can be decoded");
            dcgan_unit unit = {weights, images, unit_images, batch, seed, iteration, position, 1, NULL, NULL};
            dcgan_unit_result result = {.gradient = gradient, .statistics = statistics};
            if (dcgan_unit_gradients(&model, &unit, &result, workspace, workspace_bytes) != DCGAN_OK)
                die("a unit failed");
            dcgan_mean_add(sum, gradient, 1.0 / (double)units, p);
            dcgan_statistics_add(&model, statistics_sums, statistics, 1.0 / (double)units);
        }
        dcgan_mean_finish(gradient, sum, p);
        dcgan_adam(weights, m, v, gradient, p, iteration + 1, &adam);
        dcgan_statistics_finish(&model, statistics, statistics_sums);
        dcgan_statistics_run(&model, running, statistics, 0.1, units * unit_images);
    }
    float *stored = need(p, sizeof *stored), *stored_running = need(s, sizeof *stored_running);
    read_blobs(stored, p);
    read_blobs(stored_running, s);
    compare("weights", stored, weights, p);
    compare("statistics", stored_running, running, s);
    dataset_close(data);
    return 0;
}
