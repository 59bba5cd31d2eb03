/*
 * training.c - writing and reading a training's checkpoint
 */
#define _POSIX_C_SOURCE 200809L

#include "training.h"
#include "../dataset/source.h"
#include "files.h"
#include "../formats/safetensors/networks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS 26
#define VALUE_SIZE 80

int training_allocate(training *t, const dcgan_config *config, char *error, size_t error_size) {
    if (dcgan_config_check(config, error, error_size) != DCGAN_OK)
        return -1;
    if (dcgan_model_init(&t->model, config) != DCGAN_OK) {
        snprintf(error, error_size, "the networks would have more than %zu parameters",
                 DCGAN_MAX_PARAMETERS);
        return -1;
    }
    t->weights = malloc(t->model.parameter_count * sizeof *t->weights);
    t->statistics = malloc(t->model.statistics_count * sizeof *t->statistics);
    if (t->weights != NULL && t->statistics != NULL)
        return 0;
    training_free(t);
    snprintf(error, error_size, "out of memory for networks of %zu parameters",
             t->model.parameter_count);
    return -1;
}

void training_free(training *t) {
    free(t->weights);
    free(t->statistics);
    t->weights = t->statistics = NULL;
}

/* ---- writing ---- */

/* The pairs of the metadata while they are put together. */
typedef struct pair_list {
    size_t count;
    safetensors_text pairs[PAIRS];
    char values[PAIRS][VALUE_SIZE];
} pair_list;

static void add(pair_list *list, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(pair_list *list, const char *key, const char *format, ...) {
    va_list values;

    va_start(values, format);
    vsnprintf(list->values[list->count], VALUE_SIZE, format, values);
    va_end(values);
    list->pairs[list->count] = (safetensors_text){key, list->values[list->count]};
    list->count++;
}

/* Writes gan_create_run's parameters for a run that is trained in the same way. */
static void add_run(pair_list *list, const training *t) {
    char digest[2 * DATASET_DIGEST_SIZE + 1];

    for (size_t i = 0; i < DATASET_DIGEST_SIZE; i++)
        snprintf(digest + 2 * i, 3, "%02x", t->dataset_digest[i]);
    add(list, "channels", "%" PRIu32, t->model.config.channels);
    add(list, "image_size", "%" PRIu32, t->model.config.image_size);
    add(list, "latent", "%" PRIu32, t->model.config.latent);
    add(list, "generator_features", "%" PRIu32, t->model.config.generator_features);
    add(list, "discriminator_features", "%" PRIu32, t->model.config.discriminator_features);
    add(list, "seed", "%" PRId64, (int64_t)t->seed);
    add(list, "batch", "%zu", t->batch);
    add(list, "local_steps", "%zu", t->local_steps);
    add(list, "units_per_iteration", "1");
    add(list, "outer_optimizer", "average");
    add(list, "outer_learning_rate", "1");
    add(list, "target_iterations", "%" PRIu32, t->target);
    add(list, "generator_learning_rate", "%.17g", t->rules.generator.learning_rate);
    add(list, "discriminator_learning_rate", "%.17g", t->rules.discriminator.learning_rate);
    add(list, "beta1", "%.17g", t->rules.generator.beta1);
    add(list, "beta2", "%.17g", t->rules.generator.beta2);
    add(list, "epsilon", "%.17g", t->rules.generator.epsilon);
    add(list, "norm_momentum", "%.17g", t->rules.norm_momentum);
    add(list, "dataset_images", "%" PRIu64, t->dataset_images);
    add(list, "dataset_digest", "\\x%s", digest);
}

int training_save(const training *t, const char *path, char *error, size_t error_size) {
    safetensors_file *tensors = malloc(sizeof *tensors);
    unsigned char *bytes = NULL;
    pair_list list = {0};
    checkpoint c;
    int result = -1;

    add(&list, "format", "pt");
    add(&list, "producer", "gan_worker " GANN_VERSION);
    add(&list, "run", "local");
    add(&list, "iteration", "%" PRIu32, t->iteration);
    add(&list, "next_position", "%" PRIu64, t->position);
    add(&list, "optimizer", "outer average"); /* which has no moments */
    add_run(&list, t);
    if (tensors != NULL) {
        checkpoint_plan(&c, &t->model, 0, t->iteration, list.pairs, list.count, tensors);
        bytes = malloc(c.size);
    }
    if (bytes != NULL) {
        checkpoint_begin(&c, bytes, list.pairs, list.count, tensors);
        checkpoint_put(&c, bytes, CHECKPOINT_WEIGHTS, 0, t->model.parameter_count, t->weights);
        checkpoint_put_statistics(&c, bytes, t->statistics);
        result = file_write(path, bytes, c.size, error, error_size);
    } else
        snprintf(error, error_size, "out of memory for a checkpoint");
    free(tensors);
    free(bytes);
    return result;
}

/* ---- reading ---- */

/* A file in memory. */
typedef struct opened {
    unsigned char *bytes;
    safetensors_file *header;
} opened;

static void opened_free(opened *o) {
    free(o->bytes);
    free(o->header);
}

/* Says why a file can't be used. */
static int refuse(const char *path, const char *why, char *error, size_t error_size) {
    char shown[160];

    dataset_printable(path, shown, sizeof shown);
    snprintf(error, error_size, "cannot use the checkpoint \"%s\": %s", shown, why);
    return -1;
}

/* Reads a file and its networks. */
static int open_networks(training *t, const char *path, opened *o, char *error, size_t error_size) {
    char why[512] = "out of memory";
    checkpoint c;
    size_t size;

    memset(t, 0, sizeof *t);
    o->header = malloc(sizeof *o->header);
    o->bytes = file_read(path, &size, error, error_size);
    if (o->bytes == NULL)
        return -1;
    if (o->header == NULL || safetensors_read(o->header, o->bytes, size, why, sizeof why) != 0 ||
        checkpoint_open(&c, o->header, size, why, sizeof why) != 0 ||
        training_allocate(t, &c.model.config, why, sizeof why) != 0)
        return refuse(path, why, error, error_size);
    checkpoint_get(&c, o->bytes, CHECKPOINT_WEIGHTS, 0, t->model.parameter_count, t->weights);
    if (checkpoint_get_statistics(&c, o->bytes, t->statistics) == 0 &&
        dcgan_finite(t->weights, t->model.parameter_count, NULL))
        return 0;
    training_free(t);
    return refuse(path, "it holds NaN, infinity or a negative variance", error, error_size);
}

int training_load_networks(training *t, const char *path, char *error, size_t error_size) {
    opened o = {0};
    int result = open_networks(t, path, &o, error, error_size);

    opened_free(&o);
    return result;
}

/* Finds a value of the metadata. */
static bool get_text(const opened *o, const char *key, char value[VALUE_SIZE]) {
    const safetensors_pair *pair = safetensors_find_pair(o->header, key);

    return pair != NULL && safetensors_value(o->bytes, pair, value, VALUE_SIZE) == 0;
}

/* Reads a number within limits, the whole value. */
static bool get_number(const opened *o, const char *key, double low, double high, double *number) {
    char value[VALUE_SIZE], *end;

    if (!get_text(o, key, value))
        return false;
    *number = strtod(value, &end);
    return end != value && *end == '\0' && *number >= low && *number <= high;
}

/* The same for a whole number of up to 64 bits. */
static bool get_whole(const opened *o, const char *key, int64_t low, int64_t high,
                      int64_t *number) {
    char value[VALUE_SIZE], *end;

    if (!get_text(o, key, value))
        return false;
    errno = 0;
    *number = strtoll(value, &end, 10);
    return end != value && *end == '\0' && errno == 0 && *number >= low && *number <= high;
}

static bool get_digest(const opened *o, unsigned char digest[DATASET_DIGEST_SIZE]) {
    char value[VALUE_SIZE];

    if (!get_text(o, "dataset_digest", value) || strlen(value) != 2 + 2 * DATASET_DIGEST_SIZE ||
        strncmp(value, "\\x", 2) != 0 ||
        strspn(value + 2, "0123456789abcdef") != 2 * DATASET_DIGEST_SIZE)
        return false;
    for (size_t i = 0; i < DATASET_DIGEST_SIZE; i++) {
        const char pair[3] = {value[2 + 2 * i], value[3 + 2 * i], '\0'};
        digest[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return true;
}

/* Reads how the weights move, and makes sure that this program moves them in the same way. */
static bool get_rules(const opened *o, training *t) {
    dcgan_adam_options *g = &t->rules.generator, *d = &t->rules.discriminator;
    char optimizer[VALUE_SIZE], schedule[VALUE_SIZE];
    int64_t units, warmup;
    double rate;

    if (!get_number(o, "generator_learning_rate", 0, 1, &g->learning_rate) ||
        !get_number(o, "beta1", 0, 1, &g->beta1) || !get_number(o, "beta2", 0, 1, &g->beta2) ||
        !get_number(o, "epsilon", 0, 1, &g->epsilon) ||
        !get_number(o, "norm_momentum", 1e-9, 1, &t->rules.norm_momentum))
        return false;
    *d = *g;
    return get_number(o, "discriminator_learning_rate", 0, 1, &d->learning_rate) &&
           get_text(o, "outer_optimizer", optimizer) && strcmp(optimizer, "average") == 0 &&
           get_number(o, "outer_learning_rate", 1, 1, &rate) &&
           get_whole(o, "units_per_iteration", 1, 1, &units) &&
           (!get_text(o, "learning_rate_schedule", schedule) ||
            strcmp(schedule, "constant") == 0) &&
           (safetensors_find_pair(o->header, "warmup_iterations") == NULL ||
            get_whole(o, "warmup_iterations", 0, 0, &warmup));
}

int training_load(training *t, const char *path, char *error, size_t error_size) {
    int64_t seed, batch, steps, target, iteration, position, images;
    opened o = {0};
    int result = open_networks(t, path, &o, error, error_size);

    if (result == 0 && (!get_rules(&o, t) || !get_whole(&o, "seed", INT64_MIN, INT64_MAX, &seed) ||
                        !get_whole(&o, "batch", 1, 4096, &batch) ||
                        !get_whole(&o, "local_steps", 1, 65536 / batch, &steps) ||
                        !get_whole(&o, "target_iterations", 1, INT32_MAX, &target) ||
                        !get_whole(&o, "iteration", 0, INT32_MAX, &iteration) ||
                        !get_whole(&o, "next_position", 0, INT64_MAX / 2, &position) ||
                        !get_whole(&o, "dataset_images", 1, (int64_t)1 << 32, &images) ||
                        !get_digest(&o, t->dataset_digest))) {
        training_free(t);
        result = refuse(
            path,
            "this training can't be continued here: that needs local steps, one unit per "
            "iteration, plain averaging and a constant learning rate (gan_worker sample takes any "
            "checkpoint)",
            error, error_size);
    }
    if (result == 0) {
        t->seed = (uint64_t)seed;
        t->batch = (size_t)batch;
        t->local_steps = (size_t)steps;
        t->target = (uint32_t)target;
        t->iteration = (uint32_t)iteration;
        t->position = (uint64_t)position;
        t->dataset_images = (uint64_t)images;
    }
    opened_free(&o);
    return result;
}
