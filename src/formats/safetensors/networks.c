/*
 * networks.c - one table of a checkpoint's tensors, for writing and for reading
 *
 * In our vector a layer's weights are [small][ky][kx][large], in PyTorch's tensors
 * [small][large][ky][kx], for convolutions and transposed convolutions alike. All else is the same
 * numbers in the same order.
 */
#include "networks.h"
#include "aliases.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define KERNEL ((size_t)16) /* 4x4 */

/* Called for every tensor that a checkpoint of the model has, in the order of the file. Its offset
 * is stored at place; its type is at type. */
typedef bool (*tensor_function)(void *context, const safetensors_tensor *tensor, size_t *place,
                                safetensors_type *type);

/* A walk over the table. */
typedef struct walk {
    checkpoint *c;
    tensor_function function;
    void *context;
    size_t norm; /* layers with batch norm so far */
} walk;

static const char *const vector_names[] = {"", "optimizer.exp_avg.", "optimizer.exp_avg_sq."};

/* Returns the number that a layer's convolution has in its nn.Sequential; batch norm follows it. */
static size_t sequential_number(const dcgan_layer *layer, size_t number) {
    if (layer->transposed)
        return 3 * number;                  /* convolution, batch norm, ReLU */
    return number > 0 ? 3 * number - 1 : 0; /* the first layer has no batch norm */
}

/* Sets a tensor's name; the shape is set later. */
static safetensors_tensor named(const dcgan_layer *layer, size_t number, bool norm,
                                const char *vector, const char *what) {
    safetensors_tensor t = {.type = SAFETENSORS_F32};

    snprintf(t.name, sizeof t.name, "%s%s.main.%zu.%s", vector,
             layer->transposed ? "generator" : "discriminator",
             sequential_number(layer, number) + (norm ? 1 : 0), what);
    return t;
}

static size_t norm_channels(const dcgan_layer *layer) {
    return layer->transposed ? layer->shape.large_channels : layer->shape.small_channels;
}

/* Returns the layers with batch norm, in order; NULL behind the last one. */
static const dcgan_layer *norm_layer(const dcgan_model *model, size_t norm) {
    for (int n = 0; n < 2; n++) {
        const dcgan_network *network = n == 0 ? &model->generator : &model->discriminator;

        for (size_t i = 0; i < network->layer_count; i++)
            if (network->layers[i].normalised && norm-- == 0)
                return &network->layers[i];
    }
    return NULL;
}

/* Visits a layer's parameters in one of the vectors; tensor is the layer's first number in the
 * model's table. */
static bool walk_parameters(walk *w, const dcgan_layer *layer, size_t number,
                            checkpoint_vector vector, size_t tensor) {
    size_t *place = &w->c->parameters[vector][tensor];
    safetensors_type *type = &w->c->parameter_types[vector][tensor];
    safetensors_tensor t = named(layer, number, false, vector_names[vector], "weight");

    t.dimensions = 4;
    t.shape[0] = layer->shape.small_channels;
    t.shape[1] = layer->shape.large_channels;
    t.shape[2] = t.shape[3] = 4;
    if (!w->function(w->context, &t, place, type))
        return false;
    for (int i = 0; layer->normalised && i < 2; i++) {
        t = named(layer, number, true, vector_names[vector], i == 0 ? "weight" : "bias");
        t.dimensions = 1;
        t.shape[0] = norm_channels(layer);
        if (!w->function(w->context, &t, place + 1 + i, type + 1 + i))
            return false;
    }
    return true;
}

/* Visits a layer's running statistics, or (counters) the counter of their steps. */
static bool walk_statistics(walk *w, const dcgan_layer *layer, size_t number, bool counters) {
    static const char *const names[] = {"running_mean", "running_var", "num_batches_tracked"};

    if (!layer->normalised)
        return true;
    for (int i = counters ? 2 : 0; i < (counters ? 3 : 2); i++) {
        safetensors_tensor t = named(layer, number, true, "", names[i]);

        t.type = counters ? SAFETENSORS_I64 : SAFETENSORS_F32;
        t.dimensions = counters ? 0 : 1;
        t.shape[0] = counters ? 0 : norm_channels(layer);
        if (!w->function(w->context, &t, &w->c->statistics[w->norm][i],
                         &w->c->statistic_types[w->norm][i]))
            return false;
    }
    w->norm++;
    return true;
}

/* Visits the layers of both networks; what is a vector's number, or -1 for the statistics, -2 for
 * their counters. */
static bool walk_layers(walk *w, int what) {
    const dcgan_model *model = &w->c->model;
    size_t tensor = 0;

    w->norm = 0;
    for (int n = 0; n < 2; n++) {
        const dcgan_network *network = n == 0 ? &model->generator : &model->discriminator;

        for (size_t i = 0; i < network->layer_count; i++) {
            const dcgan_layer *layer = &network->layers[i];

            if (what >= 0 ? !walk_parameters(w, layer, i, (checkpoint_vector)what, tensor)
                          : !walk_statistics(w, layer, i, what == -2))
                return false;
            tensor += layer->normalised ? 3 : 1;
        }
    }
    return true;
}

/* Visits everything. The counters come first, because their numbers are the widest: so all data are
 * aligned. */
static bool walk_all(checkpoint *c, tensor_function function, void *context) {
    walk w = {c, function, context, 0};
    bool good = walk_layers(&w, -2) && walk_layers(&w, CHECKPOINT_WEIGHTS) && walk_layers(&w, -1);

    for (int vector = CHECKPOINT_FIRST; good && vector <= c->moments; vector++)
        good = walk_layers(&w, vector);
    return good;
}

/* ---- laying out ---- */

static bool append(void *context, const safetensors_tensor *tensor, size_t *place,
                   safetensors_type *type) {
    safetensors_file *tensors = context;

    *type = tensor->type;
    *place = tensors->tensor_count;
    tensors->tensors[tensors->tensor_count++] = *tensor;
    return true;
}

/* A list of tensors after layout, and where the data begin. */
typedef struct layout {
    const safetensors_file *tensors;
    size_t header;
} layout;

/* Replaces a tensor's number by its offset. */
static bool locate(void *context, const safetensors_tensor *tensor, size_t *place,
                   safetensors_type *type) {
    const layout *l = context;

    (void)tensor;
    (void)type;
    *place = l->header + l->tensors->tensors[*place].offset;
    return true;
}

void checkpoint_plan(checkpoint *c, const dcgan_model *model, int moments, uint64_t steps,
                     const safetensors_text *pairs, size_t pair_count, safetensors_file *tensors) {
    size_t data;

    memset(c, 0, sizeof *c);
    c->model = *model;
    c->moments = moments;
    c->steps = steps;
    tensors->tensor_count = tensors->pair_count = 0;
    walk_all(c, append, tensors);
    data = safetensors_layout(tensors->tensors, tensors->tensor_count);
    c->header =
        safetensors_header(NULL, 0, tensors->tensors, tensors->tensor_count, pairs, pair_count);
    walk_all(c, locate, &(layout){tensors, c->header});
    c->size = c->header + data;
}

void checkpoint_begin(const checkpoint *c, unsigned char *bytes, const safetensors_text *pairs,
                      size_t pair_count, const safetensors_file *tensors) {
    safetensors_header(bytes, c->header, tensors->tensors, tensors->tensor_count, pairs,
                       pair_count);
    for (size_t norm = 0; norm_layer(&c->model, norm) != NULL; norm++)
        for (size_t i = 0; i < 8; i++)
            bytes[c->statistics[norm][2] + i] = (unsigned char)(c->steps >> (8 * i));
}

/* ---- finding ---- */

/* A search for tensors, each of which must be there once. */
typedef struct search {
    const safetensors_file *file;
    size_t found;
    char *error;
    size_t error_size;
} search;

/* Finds a tensor and compares its shape. */
static bool find(void *context, const safetensors_tensor *wanted, size_t *place,
                 safetensors_type *type) {
    search *s = context;
    const safetensors_tensor *tensor = safetensors_find(s->file, wanted->name);
    bool counter = wanted->type == SAFETENSORS_I64;

    if (tensor == NULL && counter)
        return true; /* nothing depends on it */
    if (tensor == NULL) {
        snprintf(s->error, s->error_size, "tensor \"%s\" is missing", wanted->name);
        return false;
    }
    if (counter != (tensor->type == SAFETENSORS_I64) || tensor->dimensions != wanted->dimensions ||
        memcmp(tensor->shape, wanted->shape, wanted->dimensions * sizeof *wanted->shape) != 0) {
        snprintf(s->error, s->error_size,
                 "tensor \"%s\" does not have the shape or type that the others make it have",
                 wanted->name);
        return false;
    }
    *place = s->file->data + tensor->offset;
    *type = tensor->type;
    s->found++;
    return true;
}

/* Finds a weight of one of the networks; its shape has four numbers then. */
static const safetensors_tensor *find_weight(const safetensors_file *file, const char *network,
                                             size_t number) {
    char name[SAFETENSORS_NAME_SIZE];
    const safetensors_tensor *tensor;

    snprintf(name, sizeof name, "%s.main.%zu.weight", network, number);
    tensor = safetensors_find(file, name);
    return tensor != NULL && tensor->dimensions == 4 ? tensor : NULL;
}

/* Fills the error: a tensor or a number does not fit a DCGAN. */
static int refuse(char *error, size_t error_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char *error, size_t error_size, const char *format, ...) {
    va_list values;

    va_start(values, format);
    vsnprintf(error, error_size, format, values);
    va_end(values);
    return -1;
}

/* Fills the error: the file has one network, like the files of PyTorch's tutorial, or none. */
static int refuse_network(const safetensors_file *file, const char *name, char *error,
                          size_t error_size) {
    char tensor[SAFETENSORS_NAME_SIZE];

    snprintf(tensor, sizeof tensor, "%s.main.0.weight", name);
    if (safetensors_find(file, tensor) != NULL)
        return refuse(error, error_size, "tensor \"%s\" has no four dimensions", tensor);
    if (safetensors_find(file, "main.0.weight") != NULL ||
        find_weight(file, "generator", 0) != NULL || find_weight(file, "discriminator", 0) != NULL)
        return refuse(error, error_size,
                      "it holds one network: tensor \"%s\" is missing. Put the state_dicts of both "
                      "networks into "
                      "one file, their names beginning with \"generator.\" and \"discriminator.\"",
                      tensor);
    return refuse(error, error_size, "tensor \"%s\" is missing", tensor);
}

/* Infers the networks' configuration from the shapes of their first and last weights. */
static int infer_config(const safetensors_file *file, dcgan_config *config, char *error,
                        size_t error_size) {
    const safetensors_tensor *first = find_weight(file, "generator", 0), *last = first, *next;
    const safetensors_tensor *judge = find_weight(file, "discriminator", 0);
    size_t layers = 1, features;
    char problem[128];

    if (first == NULL || judge == NULL)
        return refuse_network(file, first == NULL ? "generator" : "discriminator", error,
                              error_size);
    while (layers < DCGAN_MAX_LAYERS &&
           (next = find_weight(file, "generator", 3 * layers)) != NULL) {
        last = next;
        layers++;
    }
    features = layers >= 2 ? first->shape[1] >> (layers - 2) : 0;
    if (layers < 4)
        return refuse(error, error_size,
                      "tensor \"generator.main.%zu.weight\" is missing: the generator must have 4, "
                      "5 or 6 layers",
                      3 * layers);
    if (first->shape[0] > UINT32_MAX || last->shape[1] > UINT32_MAX || features > UINT32_MAX ||
        judge->shape[0] > UINT32_MAX)
        return refuse(error, error_size, "a layer has more than %lu channels",
                      (unsigned long)UINT32_MAX);
    *config = (dcgan_config){.channels = (uint32_t)last->shape[1],
                             .image_size = (uint32_t)4 << (layers - 1),
                             .latent = (uint32_t)first->shape[0],
                             .generator_features = (uint32_t)features,
                             .discriminator_features = (uint32_t)judge->shape[0]};
    if (dcgan_config_check(config, problem, sizeof problem) != DCGAN_OK)
        return refuse(error, error_size, "the tensors' shapes fit no network of this program: %s",
                      problem);
    return 0;
}

/* Counts the vectors of moments that are there, by the first tensor of each. */
static int count_moments(const safetensors_file *file) {
    int moments = 0;

    while (moments < 2) {
        char name[SAFETENSORS_NAME_SIZE];

        snprintf(name, sizeof name, "%sgenerator.main.0.weight", vector_names[moments + 1]);
        if (safetensors_find(file, name) == NULL)
            break;
        moments++;
    }
    return moments;
}

/* Finds a tensor that belongs to neither network. */
static bool is_known(void *context, const safetensors_tensor *wanted, size_t *place,
                     safetensors_type *type) {
    (void)place;
    (void)type;
    return strcmp(wanted->name, (const char *)context) != 0; /* false: known, stop */
}

static int refuse_unknown(checkpoint *c, const safetensors_file *file, char *error,
                          size_t error_size) {
    for (size_t i = 0; i < file->tensor_count; i++) {
        char name[SAFETENSORS_NAME_SIZE];

        memcpy(name, file->tensors[i].name, sizeof name);
        if (walk_all(c, is_known, name))
            return refuse(error, error_size, "tensor \"%s\" belongs to none of the two networks",
                          name);
    }
    return refuse(error, error_size, "there are tensors that belong to none of the two networks");
}

int checkpoint_open(checkpoint *c, safetensors_file *file, size_t size, char *error,
                    size_t error_size) {
    search s = {file, 0, error, error_size};
    dcgan_config config;

    memset(c, 0, sizeof *c);
    if (checkpoint_rename(file, error, error_size) != 0 ||
        infer_config(file, &config, error, error_size) != 0)
        return -1;
    if (dcgan_model_init(&c->model, &config) != DCGAN_OK)
        return refuse(error, error_size, "the networks would have more than %zu parameters",
                      DCGAN_MAX_PARAMETERS);
    c->moments = count_moments(file);
    c->header = file->data;
    c->size = size;
    if (!walk_all(c, find, &s))
        return -1;
    return s.found == file->tensor_count ? 0 : refuse_unknown(c, file, error, error_size);
}

/* ---- numbers ---- */

/* A slice of a vector on its way in or out of the file. */
typedef struct slice {
    size_t first, count;
    unsigned char *bytes; /* of the file, if it is written */
    const unsigned char *from;
    float *to;
    const float *values;
} slice;

/* Copies the overlap of a slice and a tensor. */
static void copy_tensor(const slice *s, const dcgan_tensor *tensor, size_t offset,
                        safetensors_type type) {
    size_t begin = tensor->offset > s->first ? tensor->offset : s->first;
    size_t end = tensor->offset + tensor->count,
           large = tensor->kind == DCGAN_WEIGHT ? tensor->shape[3] : 1;

    end = end < s->first + s->count ? end : s->first + s->count;
    for (size_t j = begin; j < end; j++) {
        size_t i = j - tensor->offset, place = i;

        if (tensor->kind == DCGAN_WEIGHT)
            place = (i / (KERNEL * large) * large + i % large) * KERNEL + i / large % KERNEL;
        if (s->bytes != NULL)
            memcpy(s->bytes + offset + place * sizeof(float), s->values + (j - s->first),
                   sizeof(float));
        else
            s->to[j - s->first] =
                safetensors_number(type, s->from + offset + place * safetensors_element_size(type));
    }
}

static void copy_slice(const checkpoint *c, checkpoint_vector vector, const slice *s) {
    for (size_t t = 0; t < c->model.tensor_count; t++)
        copy_tensor(s, &c->model.tensors[t], c->parameters[vector][t],
                    c->parameter_types[vector][t]);
}

void checkpoint_put(const checkpoint *c, unsigned char *bytes, checkpoint_vector vector,
                    size_t first, size_t count, const float *values) {
    copy_slice(c, vector,
               &(slice){.first = first, .count = count, .bytes = bytes, .values = values});
}

void checkpoint_get(const checkpoint *c, const unsigned char *bytes, checkpoint_vector vector,
                    size_t first, size_t count, float *values) {
    copy_slice(c, vector, &(slice){.first = first, .count = count, .from = bytes, .to = values});
}

void checkpoint_put_statistics(const checkpoint *c, unsigned char *bytes, const float *statistics) {
    const dcgan_layer *layer;

    for (size_t norm = 0; (layer = norm_layer(&c->model, norm)) != NULL; norm++)
        for (size_t i = 0; i < 2; i++)
            memcpy(bytes + c->statistics[norm][i],
                   statistics + layer->statistics + i * norm_channels(layer),
                   norm_channels(layer) * sizeof *statistics);
}

int checkpoint_get_statistics(const checkpoint *c, const unsigned char *bytes, float *statistics) {
    const dcgan_layer *layer;

    for (size_t norm = 0; (layer = norm_layer(&c->model, norm)) != NULL; norm++)
        for (size_t i = 0; i < 2; i++) {
            float *values = statistics + layer->statistics + i * norm_channels(layer);

            safetensors_type type = c->statistic_types[norm][i];

            for (size_t k = 0; k < norm_channels(layer); k++) {
                values[k] = safetensors_number(type, bytes + c->statistics[norm][i] +
                                                         k * safetensors_element_size(type));
                if (!isfinite(values[k]) || (i == 1 && values[k] < 0))
                    return -1;
            }
        }
    return 0;
}
