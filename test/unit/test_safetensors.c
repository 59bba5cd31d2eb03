/*
 * test_safetensors.c - checkpoints: there and back again, and every way in which a file may be
 * wrong
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/formats/safetensors/networks.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Puts a file together in memory that ends where the file does, so that the sanitizer sees who
 * reads beyond. */
static unsigned char *make_file(const char *header, size_t data, size_t *size) {
    size_t length = strlen(header);
    unsigned char *bytes = malloc(8 + length + data);

    for (size_t i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++)
        bytes[8 + length + i] = (unsigned char)i;
    *size = 8 + length + data;
    return bytes;
}

static const char fine[] = "{\"__metadata__\":{\"a\":\"b\\u00e9\\ud83d\\ude00\\n\",\"empty\":\"\"},"
                           "\"x\":{\"dtype\":\"F32\",\"shape\":"
                           "[2,1],"
                           "\"data_offsets\":[0,8]},\n \"y\" : {\"shape\":[ ],\"data_offsets\" "
                           ":[8,16],\"dtype\":\"I64\"} }  ";

static void a_file_is_read(void **state) {
    static safetensors_file file;
    char error[256] = "", text[16];
    size_t size;
    unsigned char *bytes = make_file(fine, 16, &size);
    const safetensors_tensor *y;

    (void)state;
    assert_int_equal(safetensors_read(&file, bytes, size, error, sizeof error), 0);
    assert_int_equal(file.tensor_count, 2);
    assert_int_equal(file.data, 8 + strlen(fine));
    y = safetensors_find(&file, "y");
    assert_non_null(y);
    assert_int_equal(y->type, SAFETENSORS_I64);
    assert_int_equal(y->dimensions, 0);
    assert_int_equal(y->offset, 8);
    assert_int_equal(y->size, 8);
    assert_null(safetensors_find(&file, "z"));
    assert_int_equal(safetensors_value(bytes, safetensors_find_pair(&file, "a"), text, sizeof text),
                     0);
    assert_string_equal(text, "b\xc3\xa9\xf0\x9f\x98\x80\n");
    assert_int_equal(safetensors_value(bytes, safetensors_find_pair(&file, "a"), text, 8),
                     -1); /* no room for the 0 */
    assert_int_equal(
        safetensors_value(bytes, safetensors_find_pair(&file, "empty"), text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_null(safetensors_find_pair(&file, "b"));
    free(bytes);
}

/* Headers over 16 bytes of data, and a piece of what is said of each. */
static const struct {
    const char *header, *message;
} wrong[] = {
    {"", "byte 8 there should be \"{\""},
    {"[]", "there should be \"{\""},
    {"{", "should be a string"},
    {"{}", "take 0"},
    {"{}{}", "should be the end"},
    {"{\"x\":1}", "should be \"{\""},
    {"{\"x\":{}}", "should be a string"},
    {"{\"x\":{\"dtype\":\"F32\"}}", "lacks its"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4]}}", "lacks its"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16]}}", "lacks its"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,32]}}", "more than 2 numbers"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"dtype\":\"F32\"}}",
     "twice"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"device\":\"cpu\"}}",
     "must not have it"},
    {"{\"x\":{\"dtype\":\"I32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     "type I32, but must be F32, F16, BF16 or F64"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", "should be \"]\""},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "a whole number"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[04],\"data_offsets\":[0,16]}}", "a whole number"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4,],\"data_offsets\":[0,16]}}", "a whole number"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,16]}}",
     "too large"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}",
     "does not fit"}, /* 2^62 + 1: times 4 it is 4 */
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}",
     "does not fit"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", "is empty"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}",
     "more than 8 numbers"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", "does not fit"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", "does not fit"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", "beyond the end"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}",
     "16 bytes long, the tensors take 12"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}", "leave a gap"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"y\":{\"dtype\":\"F32\","
     "\"shape\":[4],"
     "\"data_offsets\":[0,16]}}",
     "overlap"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"y\":{\"dtype\":\"F32\","
     "\"shape\":[3],"
     "\"data_offsets\":[4,16]}}",
     "overlap"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"x\":{\"dtype\":\"F32\","
     "\"shape\":[2],"
     "\"data_offsets\":[8,16]}}",
     "twice"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"\\u0078\":{\"dtype\":"
     "\"F32\",\"shape\":"
     "[2],\"data_offsets\":[8,16]}}",
     "twice"},
    {"{\"x\\u0000\":{}}", "or holds a 0"},
    {"{\"x\\n\":{}}", "not plain ASCII"},
    {"{\"\xc3\xa9\":{}}", "not plain ASCII"},
    {"{\"x\\q\":{}}", "an escape"},
    {"{\"x\\u12\":{}}", "an escape"},
    {"{\"x\\ud83d\":{}}", "an escape"},
    {"{\"x\\ude00\":{}}", "an escape"},
    {"{\"x\\ude00\\udc00\":{}}", "an escape"},
    {"{\"x\n\":{}}", "control character"},
    {"{\"__metadata__\":{\"a\":1}}", "should be a string"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "\"a\" twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", "the metadata twice"},
    {"{\"__metadata__\":{\"a\":{}}}", "should be a string"},
    {"{\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
     "xxxxxxxxx\":"
     "{}}",
     "longer than 95 bytes"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},}", "should be a string"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}} x", "should be the end"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[[[[[[[[", "a whole number"},
};

static void what_is_wrong_is_refused_and_named(void **state) {
    static safetensors_file file;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char error[256] = "";
        size_t size;
        unsigned char *bytes = make_file(wrong[i].header, 16, &size);

        if (safetensors_read(&file, bytes, size, error, sizeof error) != -1 ||
            strstr(error, wrong[i].message) == NULL)
            fail_msg("%s: \"%s\"", wrong[i].header, error);
        free(bytes);
    }
}

/* Reads a file that may be anything; what is let through must be what the header says of itself. */
static int survive(const unsigned char *bytes, size_t size) {
    static safetensors_file file;
    unsigned char *copy = malloc(size > 0 ? size : 1);
    char error[256] = "", text[64];
    size_t covered = 0;
    int status;

    memcpy(copy, bytes, size);
    status = safetensors_read(&file, copy, size, error, sizeof error);
    assert_true(status == 0 || error[0] != '\0');
    for (size_t i = 0; status == 0 && i < file.tensor_count; i++) {
        assert_true(file.tensors[i].offset + file.tensors[i].size <= size - file.data);
        covered += file.tensors[i].size;
    }
    assert_true(status != 0 || covered == size - file.data);
    for (size_t i = 0; status == 0 && i < file.pair_count; i++)
        (void)safetensors_value(copy, &file.pairs[i], text, sizeof text);
    free(copy);
    return status;
}

static void no_byte_can_do_harm(void **state) {
    size_t size, refused = 0;
    unsigned char *bytes = make_file(fine, 16, &size);

    (void)state;
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(survive(bytes, cut), -1);
    for (size_t at = 0; at < size - 16; at++) {
        unsigned char before = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (unsigned char)value;
            refused += survive(bytes, size) != 0;
        }
        bytes[at] = before;
    }
    assert_true(refused > 200 * (size - 16) / 2); /* most of the rest are in names and values */
    srand(1);
    for (int round = 0; round < 20000; round++) { /* bytes that moved */
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (int k = 0; k < 3; k++) {
            size_t from = 8 + (size_t)rand() % (size - 24), to = 8 + (size_t)rand() % (size - 24),
                   length = (size_t)rand() % 12;
            length = length < size - from ? length : size - from;
            length = length < size - to ? length : size - to;
            memmove(copy + to, copy + from, length);
        }
        (void)survive(copy, size);
        free(copy);
    }
    free(bytes);
}

static void a_header_that_is_too_long_is_not_read(void **state) {
    static safetensors_file file;
    char error[256];
    unsigned char *bytes = calloc(1, SAFETENSORS_MAX_HEADER + 64);

    (void)state;
    bytes[2] = 0x10, bytes[0] = 1; /* 2^20 + 1 */
    assert_int_equal(
        safetensors_read(&file, bytes, SAFETENSORS_MAX_HEADER + 64, error, sizeof error), -1);
    assert_non_null(strstr(error, "longer than 1048576"));
    memset(bytes, 0xff, 8);
    assert_int_equal(
        safetensors_read(&file, bytes, SAFETENSORS_MAX_HEADER + 64, error, sizeof error), -1);
    assert_non_null(strstr(error, "too short"));
    free(bytes);
}

/* ---- checkpoints ---- */

static const safetensors_text pairs[] = {{"format", "pt"},
                                         {"name", "a \"quoted\" \\ name\x01\xc3\xa9"}};

/* Writes a checkpoint whose numbers are 1, 2, ... in each vector, in slices of slice numbers. */
static unsigned char *write_checkpoint(const dcgan_config *config, int moments, size_t slice,
                                       checkpoint *c) {
    static safetensors_file tensors;
    dcgan_model model;
    unsigned char *bytes;
    float *values;

    assert_int_equal(dcgan_model_init(&model, config), DCGAN_OK);
    checkpoint_plan(c, &model, moments, 77, pairs, 2, &tensors);
    bytes = malloc(c->size);
    memset(bytes, 0xff, c->size); /* NaN where nothing is written */
    checkpoint_begin(c, bytes, pairs, 2, &tensors);
    values =
        malloc((slice > model.statistics_count ? slice : model.statistics_count) * sizeof *values);
    for (int vector = 0; vector <= moments; vector++)
        for (size_t first = 0; first < model.parameter_count; first += slice) {
            size_t count =
                model.parameter_count - first < slice ? model.parameter_count - first : slice;
            for (size_t i = 0; i < count; i++)
                values[i] = (float)(first + i + 1) + (float)vector / 4;
            checkpoint_put(c, bytes, (checkpoint_vector)vector, first, count, values);
        }
    for (size_t i = 0; i < model.statistics_count; i++)
        values[i] = (float)i + 0.5f;
    checkpoint_put_statistics(c, bytes, values);
    free(values);
    return bytes;
}

static const dcgan_config small = {1, 32, 5, 2, 3};

static void a_checkpoint_comes_back(void **state) {
    static const dcgan_config configs[] = {{1, 32, 5, 2, 3}, {3, 64, 7, 3, 2}, {3, 128, 1, 1, 1}};
    static safetensors_file file;
    static checkpoint written, read;

    (void)state;
    for (int k = 0; k < 9; k++) {
        const dcgan_config *config = &configs[k % 3];
        int moments = k / 3;
        size_t slice = k % 2 ? 1000 : 37;
        unsigned char *bytes = write_checkpoint(config, moments, slice, &written);
        char error[256] = "", text[64];
        float *values;

        assert_int_equal(safetensors_read(&file, bytes, written.size, error, sizeof error), 0);
        assert_int_equal(file.data % 8, 0);
        assert_int_equal(
            safetensors_value(bytes, safetensors_find_pair(&file, "name"), text, sizeof text), 0);
        assert_string_equal(text, pairs[1].value);
        if (checkpoint_open(&read, &file, written.size, error, sizeof error) != 0)
            fail_msg("%s", error);
        assert_memory_equal(&read.model.config, config, sizeof *config);
        assert_int_equal(read.moments, moments);
        values = malloc(read.model.parameter_count * sizeof *values);
        for (int vector = 0; vector <= moments; vector++) {
            checkpoint_get(&read, bytes, (checkpoint_vector)vector, 0, read.model.parameter_count,
                           values);
            for (size_t i = 0; i < read.model.parameter_count; i++)
                assert_true(values[i] == (float)(i + 1) + (float)vector / 4);
        }
        assert_int_equal(checkpoint_get_statistics(&read, bytes, values), 0);
        for (size_t i = 0; i < read.model.statistics_count; i++)
            assert_true(values[i] == (float)i + 0.5f);
        free(values);
        free(bytes);
    }
}

/* Reads one number of a tensor. */
static float number(const safetensors_file *file, const unsigned char *bytes, const char *name,
                    size_t index) {
    const safetensors_tensor *tensor = safetensors_find(file, name);
    float value;

    assert_non_null(tensor);
    assert_true(index * 4 < tensor->size);
    memcpy(&value, bytes + file->data + tensor->offset + index * 4, 4);
    return value;
}

/* The expected places are computed from format.md's order of the vector, by hand: small is 32x32, F
 * = 2, E = 3, Z = 5. */
static void the_names_and_places_are_pytorchs(void **state) {
    static safetensors_file file;
    static checkpoint c;
    unsigned char *bytes = write_checkpoint(&small, 2, 100, &c);
    size_t generator = c.model.generator.count;
    char error[256];

    (void)state;
    assert_int_equal(safetensors_read(&file, bytes, c.size, error, sizeof error), 0);
    /* W[b = 3][ky = 1][kx = 2][a = 6] of 8 output channels; PyTorch: [3][6][1][2] */
    assert_true(number(&file, bytes, "generator.main.0.weight", ((3 * 8 + 6) * 4 + 1) * 4 + 2) ==
                (float)(1 + ((3 * 4 + 1) * 4 + 2) * 8 + 6));
    assert_true(number(&file, bytes, "generator.main.1.weight", 7) == (float)(1 + 5 * 16 * 8 + 7));
    assert_true(number(&file, bytes, "generator.main.1.bias", 0) == (float)(1 + 5 * 16 * 8 + 8));
    assert_true(number(&file, bytes, "generator.main.3.weight", 0) == (float)(1 + 5 * 16 * 8 + 16));
    assert_true(number(&file, bytes, "optimizer.exp_avg_sq.generator.main.1.weight", 7) ==
                (float)(1 + 5 * 16 * 8 + 7) + 0.5f);
    assert_true(number(&file, bytes, "generator.main.1.running_mean", 3) == 3.5f);
    assert_true(number(&file, bytes, "generator.main.1.running_var", 3) == 11.5f);
    /* D's first layer has no batch norm: W[b = 2][ky = 3][kx = 0][a = 0] of one input channel */
    assert_true(number(&file, bytes, "discriminator.main.0.weight", (2 * 4 + 3) * 4) ==
                (float)(1 + generator + (2 * 4 + 3) * 4));
    assert_true(number(&file, bytes, "discriminator.main.2.weight", 0) ==
                (float)(1 + generator + 3 * 16));
    assert_true(number(&file, bytes, "discriminator.main.3.weight", 0) ==
                (float)(1 + generator + 3 * 16 + 6 * 16 * 3));
    assert_non_null(safetensors_find(&file, "discriminator.main.8.weight"));
    assert_int_equal(safetensors_find(&file, "discriminator.main.3.num_batches_tracked")->type,
                     SAFETENSORS_I64);
    assert_int_equal(
        bytes[file.data +
              safetensors_find(&file, "discriminator.main.3.num_batches_tracked")->offset],
        77);
    free(bytes);
}

/* Opens a checkpoint after one tensor was changed by a function; returns what is said. */
static const char *refusal(void (*change)(safetensors_file *file)) {
    static safetensors_file file;
    static checkpoint c;
    static char error[256];
    unsigned char *bytes = write_checkpoint(&small, 1, 1000, &c);
    int status;

    error[0] = '\0';
    assert_int_equal(safetensors_read(&file, bytes, c.size, error, sizeof error), 0);
    change(&file);
    status = checkpoint_open(&c, &file, c.size, error, sizeof error);
    assert_true((status == 0) == (error[0] == '\0'));
    free(bytes);
    return error;
}

static safetensors_tensor *tensor_of(safetensors_file *file, const char *name) {
    safetensors_tensor *tensor = (safetensors_tensor *)safetensors_find(file, name);

    assert_non_null(tensor);
    return tensor;
}
static void nothing(safetensors_file *file) {
    (void)file;
}
static void lose_first(safetensors_file *file) {
    tensor_of(file, "generator.main.0.weight")->name[0] = 'x';
}
static void lose_norm(safetensors_file *file) {
    tensor_of(file, "discriminator.main.3.bias")->name[0] = 'x';
}
static void lose_moment(safetensors_file *file) {
    tensor_of(file, "optimizer.exp_avg.discriminator.main.3.bias")->name[0] = 'x';
}
static void lose_all_counters(safetensors_file *file) {
    size_t kept = 0;

    for (size_t i = 0; i < file->tensor_count; i++)
        if (file->tensors[i].type == SAFETENSORS_F32)
            file->tensors[kept++] = file->tensors[i];
    file->tensor_count = kept;
}
static void turn(safetensors_file *file) {
    safetensors_tensor *tensor = tensor_of(file, "generator.main.3.weight");

    tensor->shape[0] = 4, tensor->shape[1] = 8;
}
static void flatten(safetensors_file *file) {
    tensor_of(file, "generator.main.0.weight")->dimensions = 1;
}
static void deepen(safetensors_file *file) {
    safetensors_tensor *tensor = tensor_of(file, "generator.main.1.bias");

    tensor->dimensions = 2, tensor->shape[1] = 1;
}
static void widen(safetensors_file *file) {
    safetensors_tensor *tensor = tensor_of(file, "generator.main.0.weight");

    tensor->shape[0] = 1 << 20;
}
static void add(safetensors_file *file) {
    safetensors_tensor *tensor = &file->tensors[file->tensor_count++];

    *tensor = file->tensors[3];
    snprintf(tensor->name, sizeof tensor->name, "encoder.weight");
}
static void recount(safetensors_file *file) {
    tensor_of(file, "generator.main.1.num_batches_tracked")->type = SAFETENSORS_F32;
}

static void networks_that_do_not_fit_are_refused(void **state) {
    (void)state;
    assert_string_equal(refusal(nothing), "");
    assert_string_equal(refusal(lose_all_counters), "");
    assert_non_null(strstr(refusal(lose_first), "generator.main.0.weight\" is missing"));
    assert_non_null(strstr(refusal(lose_norm), "discriminator.main.3.bias\" is missing"));
    assert_non_null(
        strstr(refusal(lose_moment), "optimizer.exp_avg.discriminator.main.3.bias\" is missing"));
    assert_non_null(strstr(refusal(turn), "does not have the shape"));
    assert_non_null(strstr(refusal(deepen), "generator.main.1.bias\" does not have the shape"));
    assert_non_null(strstr(refusal(flatten), "no four dimensions"));
    assert_non_null(strstr(refusal(widen), "latent is 1048576"));
    assert_non_null(strstr(refusal(add), "\"encoder.weight\" belongs to none"));
    assert_non_null(
        strstr(refusal(recount), "num_batches_tracked\" does not have the shape or type"));
}

/* Puts a prefix before each name, or between the network and the rest of it. */
static void prefix_all(safetensors_file *file, const char *before, const char *between,
                       bool short_names) {
    for (size_t i = 0; i < file->tensor_count; i++) {
        char *name = file->tensors[i].name, old[SAFETENSORS_NAME_SIZE];
        const char *network, *rest;

        memcpy(old, name, sizeof old);
        network = strstr(old, "generator") != NULL ? strstr(old, "generator")
                                                   : strstr(old, "discriminator");
        rest = strchr(network, '.') + 1;
        snprintf(name, SAFETENSORS_NAME_SIZE, "%.*s%s%.*s.%s%s", (int)(network - old), old, before,
                 short_names ? 4 : (int)strcspn(network, "."),
                 short_names ? (*network == 'g' ? "netG" : "netD") : network, between,
                 short_names ? rest + strlen("main.") : rest);
    }
}
static void data_parallel(safetensors_file *file) {
    prefix_all(file, "module.", "", false);
}
static void data_parallel_each(safetensors_file *file) {
    prefix_all(file, "", "module.", false);
}
static void compiled(safetensors_file *file) {
    prefix_all(file, "_orig_mod.module.", "_orig_mod.", false);
}
static void in_a_model(safetensors_file *file) {
    prefix_all(file, "model.gan.", "", false);
}
static void short_names(safetensors_file *file) {
    prefix_all(file, "", "", true);
}
static void one_elsewhere(safetensors_file *file) {
    snprintf(file->tensors[4].name, SAFETENSORS_NAME_SIZE, "ema.generator.main.3.weight");
}
static void one_twice(safetensors_file *file) {
    safetensors_tensor *tensor = &file->tensors[file->tensor_count++];

    *tensor = *tensor_of(file, "generator.main.3.weight");
    snprintf(tensor->name, sizeof tensor->name, "generator.module.main.3.weight");
}
static void only_one(safetensors_file *file) {
    size_t kept = 0;

    for (size_t i = 0; i < file->tensor_count; i++)
        if (strncmp(file->tensors[i].name, "generator.", 10) == 0) {
            safetensors_tensor t = file->tensors[i];

            memmove(t.name, t.name + 10, sizeof t.name - 10);
            file->tensors[kept++] = t;
        }
    file->tensor_count = kept;
}

static void other_names_are_understood(void **state) {
    (void)state;
    assert_string_equal(refusal(data_parallel), "");
    assert_string_equal(refusal(data_parallel_each), "");
    assert_string_equal(refusal(compiled), "");
    assert_string_equal(refusal(in_a_model), "");
    assert_string_equal(refusal(short_names), "");
    assert_true(refusal(one_elsewhere)[0] != '\0');
    assert_non_null(strstr(refusal(one_twice), "would have the name of another one"));
    assert_non_null(strstr(refusal(only_one),
                           "holds one network: tensor \"generator.main.0.weight\" is missing"));
}

/* Numbers of other types become float32: exactly, but for float64, which is rounded once. */
static void other_types_are_converted(void **state) {
    static const struct {
        safetensors_type type;
        unsigned char bytes[8];
        float value;
    } cases[] = {{SAFETENSORS_F16, {0x00, 0x3c}, 1},
                 {SAFETENSORS_F16, {0x55, 0xb5}, -0.333251953125f},
                 {SAFETENSORS_F16, {0xff, 0x7b}, 65504},
                 {SAFETENSORS_F16, {0x01, 0x00}, 0x1p-24f},
                 {SAFETENSORS_F16, {0xff, 0x83}, -1023 * 0x1p-24f},
                 {SAFETENSORS_F16, {0x00, 0x7c}, INFINITY},
                 {SAFETENSORS_BF16, {0x80, 0x3f}, 1},
                 {SAFETENSORS_BF16, {0xab, 0xbe}, -0.333984375f},
                 {SAFETENSORS_BF16, {0x01, 0x00}, 0x1p-133f},
                 {SAFETENSORS_F64, {0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f}, 0.1f},
                 {SAFETENSORS_F64, {0, 0, 0, 0, 0, 0, 0xf0, 0x47}, INFINITY}, /* 2^128 */
                 {SAFETENSORS_F32, {0xcd, 0xcc, 0xcc, 0x3d}, 0.1f}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(safetensors_number(cases[i].type, cases[i].bytes) == cases[i].value);
    assert_true(isnan(safetensors_number(SAFETENSORS_F16, (const unsigned char[]){0x01, 0x7e})));
}

static void statistics_that_cannot_be_are_refused(void **state) {
    static const float bad[] = {-1e-9f, NAN, INFINITY};
    static checkpoint c;
    unsigned char *bytes = write_checkpoint(&small, 0, 1000, &c);
    float values[256];

    (void)state;
    assert_true(c.model.statistics_count <= 256);
    assert_int_equal(checkpoint_get_statistics(&c, bytes, values), 0);
    for (int i = 0; i < 3; i++) {
        memcpy(bytes + c.statistics[1][1], &bad[i], 4);
        assert_int_equal(checkpoint_get_statistics(&c, bytes, values), -1);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_file_is_read),
                                       cmocka_unit_test(what_is_wrong_is_refused_and_named),
                                       cmocka_unit_test(no_byte_can_do_harm),
                                       cmocka_unit_test(a_header_that_is_too_long_is_not_read),
                                       cmocka_unit_test(a_checkpoint_comes_back),
                                       cmocka_unit_test(the_names_and_places_are_pytorchs),
                                       cmocka_unit_test(networks_that_do_not_fit_are_refused),
                                       cmocka_unit_test(other_names_are_understood),
                                       cmocka_unit_test(other_types_are_converted),
                                       cmocka_unit_test(statistics_that_cannot_be_are_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
