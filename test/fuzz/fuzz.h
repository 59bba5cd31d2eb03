/*
 * fuzz.h - what the fuzz targets share
 */
#ifndef GANN_FUZZ_H
#define GANN_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);

/* Ends the program, and with it the fuzzing, where a property does not hold. */
#define FUZZ_REQUIRE(property)                                                                     \
    do {                                                                                           \
        if (!(property)) {                                                                         \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Allocates zeros; never NULL. */
static inline void *fuzz_alloc(size_t size) {
    void *memory = calloc(size ? size : 1, 1);

    if (!memory)
        abort();
    return memory;
}

#endif
