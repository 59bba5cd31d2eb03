/*
 * local_train.c - trains in one process, through the library alone, what a class trains through the
 * server
 *
 *   local_train DATASET SEED CHANNELS SIZE LATENT F E BATCH IMAGES_PER_UNIT UNITS ITERATIONS
 *               [MODE] < BLOBS > REPORT
 *
 * MODE is gradient (if there is none), alternating, or, for local steps, the outer optimiser:
 * average, nesterov or adam, with gan_create_run's defaults. In all modes but the first G learns at
 * 3e-4 and D at 1e-4, with a warm-up of one iteration and a linear schedule.
 *
 * Reads the server's final weights from standard input (its shards' blobs one after the other, the
 * running statistics last), trains the same run from the seed, and prints the relative errors of
 * weights and statistics: the reference for the whole distributed system.
 */
#include "../../src/dcgan/dcgan.h"
#include "../../src/formats/wire/blob.h"
#include "../../src/dataset/dataset.h"

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

/* How a run learns: its step, its units' steps, and the schedule of the learning rates. */
typedef struct rules {
    dcgan_step_options step;
    dcgan_local_options rates;
    dcgan_schedule schedule;
} rules;

/* Reads the mode. */
static rules rules_of(const char *mode, uint32_t iterations, size_t local_steps) {
    const dcgan_adam_options adam = {2e-4, 0.5, 0.999, 1e-8};
    rules r = {.rates = {adam, adam, 0.1},
               .schedule = {.target = iterations},
               .step = {.norm_momentum = 0.1}};

    if (strcmp(mode, "gradient") == 0)
        return r;
    r.rates.generator.learning_rate = 3e-4;
    r.rates.discriminator.learning_rate = 1e-4;
    r.schedule = (dcgan_schedule){.linear = 1, .warmup = 1, .target = iterations};
    r.step.alternating = strcmp(mode, "alternating") == 0;
    r.step.local_steps = r.step.alternating ? 0 : local_steps;
    if (strcmp(mode, "average") == 0)
        r.step.outer = (dcgan_outer_options){DCGAN_OUTER_AVERAGE, 1, 0, 0.999, 1e-8};
    else if (strcmp(mode, "nesterov") == 0)
        r.step.outer = (dcgan_outer_options){DCGAN_OUTER_NESTEROV, 0.7, 0.9, 0.999, 1e-8};
    else if (strcmp(mode, "adam") == 0)
        r.step.outer = (dcgan_outer_options){DCGAN_OUTER_ADAM, 0.001, 0.9, 0.999, 1e-8};
    else if (!r.step.alternating)
        die("there is no such mode");
    return r;
}

/* Makes of the rules what they are at an iteration: the schedule's factor in the learning rates. */
static rules rules_at(rules r, uint32_t iteration) {
    double factor = dcgan_schedule_factor(&r.schedule, iteration);

    r.rates.generator.learning_rate *= factor;
    r.rates.discriminator.learning_rate *= factor;
    r.step.generator = r.rates.generator;
    r.step.discriminator = r.rates.discriminator;
    return r;
}

int main(int argc, char **argv) {
    if (argc != 12 && argc != 13)
        die("wrong number of arguments");
    uint64_t seed = (uint64_t)strtoll(argv[2], NULL, 10);
    dcgan_config config = {(uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]),
                           (uint32_t)atoi(argv[5]), (uint32_t)atoi(argv[6]),
                           (uint32_t)atoi(argv[7])};
    size_t batch = (size_t)atoi(argv[8]), unit_images = (size_t)atoi(argv[9]),
           units = (size_t)atoi(argv[10]), workspace_bytes;
    uint32_t iterations = (uint32_t)atoi(argv[11]);
    const rules always =
        rules_of(argc == 13 ? argv[12] : "gradient", iterations, (unit_images + batch - 1) / batch);
    char error[512];
    dcgan_model model;
    dataset *data =
        dataset_open(argv[1], (size_t)1 << 30, report_broken, NULL, error, sizeof error);

    if (!data)
        die(error);
    if (dcgan_model_init(&model, &config) != DCGAN_OK ||
        dataset_prepare(data, (int)config.image_size, (int)config.channels) != 0 ||
        dcgan_unit_local_workspace(&model, NULL, batch, &workspace_bytes) != DCGAN_OK)
        die("the configuration is impossible");
    size_t p = model.parameter_count, s = model.statistics_count;
    float *weights = need(p, sizeof *weights), *m = need(p, sizeof *m), *v = need(p, sizeof *v),
          *mean = need(p, sizeof *mean), *running = need(s, sizeof *running);
    float *results = need(units * p, sizeof *results),
          *statistics = need(units * s, sizeof *statistics);
    double *sum = need(p, sizeof *sum);
    dcgan_part *parts = need(units, sizeof *parts);
    const dcgan_state state = {weights, m, v, running};
    uint8_t *images = need(unit_images, model.image_count);
    void *workspace = need(workspace_bytes, 1);

    dcgan_initialise(&model, seed, 0, p, weights);
    dcgan_initialise_statistics(&model, running);
    for (uint32_t iteration = 0; iteration < iterations; iteration++) {
        const rules r = rules_at(always, iteration);

        for (size_t u = 0; u < units; u++) {
            uint64_t position = ((uint64_t)iteration * units + u) * unit_images,
                     n = dataset_count(data);
            for (size_t i = 0; i < unit_images; i++)
                if (dataset_image(data,
                                  dcgan_permute(seed, (position + i) / n, n, (position + i) % n),
                                  images + i * model.image_count) != 0)
                    die("no image can be decoded");
            dcgan_unit unit = {.weights = weights,
                               .images = images,
                               .count = unit_images,
                               .batch = batch,
                               .seed = seed,
                               .iteration = iteration,
                               .position = position,
                               .networks = dcgan_networks_stepped(r.step.alternating, iteration),
                               .threads = 1};
            dcgan_unit_result result = {.gradient = results + u * p,
                                        .statistics = statistics + u * s};
            if ((r.step.local_steps > 0 ? dcgan_unit_local(&model, &unit, &r.rates, &result,
                                                           workspace, workspace_bytes)
                                        : dcgan_unit_gradients(&model, &unit, &result, workspace,
                                                               workspace_bytes)) != DCGAN_OK)
                die("a unit failed");
            parts[u] = (dcgan_part){result.gradient, result.statistics, unit_images};
        }
        dcgan_step(&model, &r.step, iteration, parts, units, &state, sum, mean);
    }
    float *stored = need(p, sizeof *stored), *stored_running = need(s, sizeof *stored_running);
    read_blobs(stored, p);
    read_blobs(stored_running, s);
    compare("weights", stored, weights, p);
    compare("statistics", stored_running, running, s);
    dataset_close(data);
    return 0;
}
