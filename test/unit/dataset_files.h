/*
 * dataset_files.h - fixtures, files and reports for tests of the datasets
 *
 * Environment: GANN_FIXTURES, the folder of images/, by default test/fixture.
 */
#ifndef TEST_DATASET_FILES_H
#define TEST_DATASET_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "../../src/dataset/dataset.h"
#include "../../src/dataset/image.h"

#define PATH_SIZE 1024
#define IMAGES "images"
#define DIGITS "digits.idx.gz"
#define ALL ((size_t)1 << 30) /* a cache for everything */

static char scratch[] = "/tmp/gann_dataset_XXXXXX"; /* a folder, for the files that a test writes */

/* What a report function was told. */
typedef struct reports {
    int count;
    char last[1000];
} reports;

/* A file in memory, in an allocation of exactly its size, so that reading beyond it is noticed. */
typedef struct content {
    unsigned char *bytes;
    size_t size;
} content;

/* ---- helpers ---- */

/* Counts a report and keeps its text. */
static inline void note(void *context, const char *message) {
    reports *seen = context;

    seen->count++;
    snprintf(seen->last, sizeof seen->last, "%s", message);
}

/* Writes the path of a fixture. */
static inline void fixture(char *path, const char *name) {
    const char *folder = getenv("GANN_FIXTURES");

    snprintf(path, PATH_SIZE, "%s/images/%s", folder != NULL ? folder : "test/fixture", name);
}

/* Writes the path of a dataset as expected.txt calls it: "images" is the whole folder. */
static inline void source_path(char *path, const char *source) {
    fixture(path, strcmp(source, IMAGES) == 0 ? "" : source);
}

/* Opens what must open. */
static inline dataset *open_good(const char *path, size_t cache, reports *seen) {
    char error[1000] = "";
    dataset *set = dataset_open(path, cache, note, seen, error, sizeof error);

    if (set == NULL)
        fail_msg("%s", error);
    return set;
}

/* Makes sure that a path does not open and that the error has a certain text in it. */
static inline void open_bad(const char *path, const char *text) {
    char error[1000] = "";

    assert_null(dataset_open(path, ALL, NULL, NULL, error, sizeof error));
    if (strstr(error, text) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", error, text);
}

/* Reads a whole file. */
static inline content slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    content whole = {0};

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    whole.size = (size_t)ftell(file);
    rewind(file);
    whole.bytes = malloc(whole.size);
    assert_non_null(whole.bytes);
    assert_int_equal(fread(whole.bytes, 1, whole.size, file), whole.size);
    fclose(file);
    return whole;
}

/* Writes a file into the scratch folder and its path into path. */
static inline void spit(char *path, const char *name, const unsigned char *bytes, size_t size) {
    FILE *file;

    snprintf(path, PATH_SIZE, "%s/%s", scratch, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Returns the gunzipped IDX fixture. */
static inline content plain_digits(void) {
    char path[PATH_SIZE];
    content whole = {0};
    gzFile file;

    fixture(path, DIGITS);
    whole.size = 16 + 3 * 28 * 28;
    whole.bytes = malloc(whole.size);
    assert_non_null(whole.bytes);
    file = gzopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(gzread(file, whole.bytes, (unsigned)whole.size), whole.size);
    gzclose_r(file);
    return whole;
}

/* Opens a possibly damaged dataset and asks for all its images: any answer will do, a crash will
 * not. */
static inline void survive(const char *path) {
    char error[1000] = "";
    reports seen = {0};
    dataset *set = dataset_open(path, ALL, note, &seen, error, sizeof error);
    unsigned char pixels[32 * 32];

    if (set == NULL) {
        assert_true(strlen(error) > 0);
        return;
    }
    assert_int_equal(dataset_prepare(set, 32, 1), 0);
    for (size_t i = 0; i < dataset_count(set); i++)
        if (dataset_image(set, i, pixels) != 0)
            assert_true(seen.count > 0);
    dataset_close(set);
}

/* Makes the scratch folder. */
static inline int make_scratch(void **state) {
    (void)state;
    return mkdtemp(scratch) == NULL;
}

/* Removes the scratch folder and the little that the tests left in it. */
static inline int remove_scratch(void **state) {
    static const char *const left[] = {"broken/a.jpg", "broken/b.png", "broken", "gone/b.png",
                                       "gone",         "empty",        ""};

    (void)state;
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char path[PATH_SIZE];

        snprintf(path, sizeof path, "%s/%s", scratch, left[i]);
        remove(path);
    }
    return 0;
}

#endif
