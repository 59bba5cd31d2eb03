/*
 * safetensors.c - fuzzing of what gan_import and the worker do with the bytes of a checkpoint
 *
 * What is let through must cover the data exactly, and all of its numbers must be readable.
 */
#include "fuzz.h"

#include "../../src/formats/safetensors/networks.h"

#define PARAMETERS_MAX 100000 /* of what is read whole: larger networks only cost time */

/* A header that was let through: every byte of the data belongs to one tensor. */
static void check_cover(const safetensors_file *file, const unsigned char *bytes, size_t size) {
    size_t covered = 0;
    char text[64];

    for (size_t i = 0; i < file->tensor_count; i++) {
        FUZZ_REQUIRE(file->tensors[i].offset + file->tensors[i].size <= size - file->data);
        covered += file->tensors[i].size;
    }
    FUZZ_REQUIRE(covered == size - file->data);
    for (size_t i = 0; i < file->pair_count; i++)
        (void)safetensors_value(bytes, &file->pairs[i], text, sizeof text);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length) {
    static safetensors_file file;
    static checkpoint c;
    char error[256] = "";
    unsigned char *bytes = fuzz_alloc(length); /* of its own, so that one byte too far is seen */

    memcpy(bytes, input, length);
    if (safetensors_read(&file, bytes, length, error, sizeof error) != 0)
        FUZZ_REQUIRE(error[0] != '\0');
    else {
        check_cover(&file, bytes, length);
        if (checkpoint_open(&c, &file, length, error, sizeof error) == 0 &&
            c.model.parameter_count <= PARAMETERS_MAX) {
            float *values =
                fuzz_alloc((c.model.parameter_count + c.model.statistics_count) * sizeof *values);

            for (int vector = 0; vector <= c.moments; vector++)
                checkpoint_get(&c, bytes, (checkpoint_vector)vector, 0, c.model.parameter_count,
                               values);
            (void)checkpoint_get_statistics(&c, bytes, values);
            free(values);
        }
    }
    free(bytes);
    return 0;
}
