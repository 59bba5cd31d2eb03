/*
 * test_dataset.c - the worker's datasets against what Pillow made of the same images
 * (test/fixture/make_images.py), and against damaged files.
 *
 * Objects: src/worker/dataset.o dataset_zip.o dataset_folder.o dataset_idx.o image_decode.o image_resize.o
 * Libraries: -lcmocka -lzip -ljpeg -lpng -lz -lcrypto -lm
 *
 * Environment: GANN_FIXTURES, the folder of images/, by default test/fixture;
 * GANN_FACES, an archive of 8000 faces that is not part of the repository; without it that test is skipped.
 * GANN_SEED, the seed of the random damage, by default 1.
 */
#define _POSIX_C_SOURCE 200809L

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

#include "../../src/worker/dataset.h"
#include "../../src/worker/image.h"

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
static void note(void *context, const char *message) {
    reports *seen = context;

    seen->count++;
    snprintf(seen->last, sizeof seen->last, "%s", message);
}

/* Writes the path of a fixture. */
static void fixture(char *path, const char *name) {
    const char *folder = getenv("GANN_FIXTURES");

    snprintf(path, PATH_SIZE, "%s/images/%s", folder != NULL ? folder : "test/fixture", name);
}

/* Writes the path of a dataset as expected.txt calls it: "images" is the whole folder. */
static void source_path(char *path, const char *source) {
    fixture(path, strcmp(source, IMAGES) == 0 ? "" : source);
}

/* Opens what must open. */
static dataset *open_good(const char *path, size_t cache, reports *seen) {
    char error[1000] = "";
    dataset *set = dataset_open(path, cache, note, seen, error, sizeof error);

    if (set == NULL)
        fail_msg("%s", error);
    return set;
}

/* Makes sure that a path does not open and that the error has a certain text in it. */
static void open_bad(const char *path, const char *text) {
    char error[1000] = "";

    assert_null(dataset_open(path, ALL, NULL, NULL, error, sizeof error));
    if (strstr(error, text) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", error, text);
}

/* Reads a whole file. */
static content slurp(const char *path) {
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
static void spit(char *path, const char *name, const unsigned char *bytes, size_t size) {
    FILE *file;

    snprintf(path, PATH_SIZE, "%s/%s", scratch, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Returns the gunzipped IDX fixture. */
static content plain_digits(void) {
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

/* Opens a possibly damaged dataset and asks for all its images: any answer will do, a crash will not. */
static void survive(const char *path) {
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

/* Returns the next number of a small generator (xorshift). */
static uint32_t random_number(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Returns the seed of the random damage and prints it. */
static uint32_t random_seed(void) {
    const char *text = getenv("GANN_SEED");
    uint32_t seed = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 1;

    print_message("GANN_SEED=%u\n", seed);
    return seed != 0 ? seed : 1;
}

/* ---- against Pillow ---- */

/* Compares an image with what Pillow made; a NaN can't occur, these are bytes. */
static void compare(const char *where, const unsigned char *got, const unsigned char *expected, size_t size,
                    int tolerance) {
    for (size_t i = 0; i < size; i++)
        if (abs(got[i] - expected[i]) > tolerance)
            fail_msg("%s: sample %zu is %d instead of %d", where, i, got[i], expected[i]);
}

/* Checks one "pixels" line: the next size bytes of expected.bin. */
static void check_pixels(const char *source, int side, int channels, size_t index, int tolerance,
                         FILE *expected) {
    size_t size = (size_t)side * (size_t)side * (size_t)channels;
    unsigned char *got = malloc(size);
    unsigned char *wanted = malloc(size);
    char path[PATH_SIZE];
    char where[200];
    reports seen = {0};
    dataset *set;

    source_path(path, source);
    set = open_good(path, 0, &seen);
    assert_int_equal(fread(wanted, 1, size, expected), size);
    assert_int_equal(dataset_prepare(set, side, channels), 0);
    assert_int_equal(dataset_image(set, index, got), 0);
    snprintf(where, sizeof where, "%s, image %zu at %dx%dx%d", source, index, side, side, channels);
    compare(where, got, wanted, size, tolerance);
    assert_int_equal(seen.count, 0);
    dataset_close(set);
    free(got);
    free(wanted);
}

/* Every prepared image is Pillow's: exactly for PNG and IDX, within one level for JPEG. */
static void test_pixels(void **state) {
    char path[PATH_SIZE];
    char line[300];
    FILE *facts;
    FILE *expected;
    int checked = 0;

    (void)state;
    fixture(path, "expected.txt");
    facts = fopen(path, "r");
    assert_non_null(facts);
    fixture(path, "expected.bin");
    expected = fopen(path, "rb");
    assert_non_null(expected);
    while (fgets(line, sizeof line, facts) != NULL) {
        char source[100];
        int side, channels, tolerance;
        size_t index;

        if (sscanf(line, "pixels %99s %d %d %zu %d", source, &side, &channels, &index, &tolerance) == 5) {
            check_pixels(source, side, channels, index, tolerance, expected);
            checked++;
        }
    }
    assert_int_equal(getc(expected), EOF);
    assert_true(checked >= 30);
    fclose(facts);
    fclose(expected);
}

/* Finds the text after "fact source " in expected.txt. */
static void find_fact(const char *fact, const char *source, char *value, size_t size) {
    char path[PATH_SIZE];
    char line[300];
    char start[200];
    FILE *facts;

    fixture(path, "expected.txt");
    facts = fopen(path, "r");
    assert_non_null(facts);
    snprintf(start, sizeof start, "%s %s ", fact, source);
    value[0] = '\0';
    while (value[0] == '\0' && fgets(line, sizeof line, facts) != NULL)
        if (strncmp(line, start, strlen(start)) == 0)
            snprintf(value, size, "%.*s", (int)strcspn(line + strlen(start), "\n"), line + strlen(start));
    fclose(facts);
    assert_true(value[0] != '\0');
}

/* Makes sure that a path has the count and digest of a dataset of expected.txt. */
static void check_facts(const char *path, const char *source) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    char hexadecimal[2 * DATASET_DIGEST_SIZE + 1];
    char value[200];
    reports seen = {0};
    dataset *set = open_good(path, ALL, &seen);

    dataset_digest(set, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hexadecimal + 2 * i, 3, "%02x", digest[i]);
    find_fact("digest", source, value, sizeof value);
    assert_string_equal(hexadecimal, value);
    find_fact("count", source, value, sizeof value);
    assert_int_equal(dataset_count(set), strtoul(value, NULL, 10));
    dataset_close(set);
}

/* Folder and archive of it have one digest, the one that Python computed; so have a plain and a gzipped IDX
 * file. */
static void test_digest(void **state) {
    char path[PATH_SIZE];
    content digits = plain_digits();

    (void)state;
    source_path(path, IMAGES);
    check_facts(path, IMAGES);
    fixture(path, "images.zip");
    check_facts(path, IMAGES);
    fixture(path, DIGITS);
    check_facts(path, DIGITS);
    spit(path, "digits.idx", digits.bytes, digits.size);
    check_facts(path, DIGITS);
    unlink(path);
    free(digits.bytes);
}

/* The description names the kind and the last part of the path only. */
static void test_describe(void **state) {
    const char *const cases[][2] = {{"images.zip", "19 images in zip archive images.zip"},
                                    {"", "19 images in folder images"},
                                    {DIGITS, "3 images in IDX file digits.idx.gz"}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_SIZE];
        reports seen = {0};
        dataset *set;

        fixture(path, cases[i][0]);
        set = open_good(path, 0, &seen);
        assert_string_equal(dataset_describe(set), cases[i][1]);
        dataset_close(set);
    }
}

/* ---- broken images and the cache ---- */

/* Checks all "stand_in" lines on the folder or the archive, and that every broken image is reported once, by
 * name. */
static void check_stand_ins(const char *name) {
    const int stand_in[][2] = {{2, 4}, {3, 4}, {6, 7}, {17, 0}, {18, 0}};
    unsigned char broken[32 * 32 * 3];
    unsigned char good[32 * 32 * 3];
    char path[PATH_SIZE];
    char value[200];
    reports seen = {0};
    dataset *set;

    find_fact("stand_in", IMAGES, value, sizeof value);
    assert_string_equal(value, "2 4");
    find_fact("stand_in images", "17", value, sizeof value);
    assert_string_equal(value, "0");
    fixture(path, name);
    set = open_good(path, ALL, &seen);
    assert_int_equal(dataset_prepare(set, 32, 3), 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(dataset_image(set, (size_t)stand_in[i][0], broken), 0);
            assert_int_equal(dataset_image(set, (size_t)stand_in[i][1], good), 0);
            assert_memory_equal(broken, good, sizeof good);
        }
        assert_int_equal(seen.count, 5);
        assert_non_null(strstr(seen.last, "z-broken.jpg"));
        assert_int_equal(dataset_prepare(set, 32, 3), 0);
    }
    dataset_close(set);
}

/* The next image that decodes stands in, after the last the first. */
static void test_stand_in(void **state) {
    (void)state;
    check_stand_ins("");
    check_stand_ins("images.zip");
}

/* Without a single good image there is an error, also with a report function of NULL. */
static void test_all_broken(void **state) {
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    unsigned char pixels[32 * 32];
    reports seen = {0};
    dataset *set;

    (void)state;
    snprintf(folder, sizeof folder, "%s/broken", scratch);
    assert_int_equal(mkdir(folder, 0700), 0);
    spit(path, "broken/b.png", (const unsigned char *)"text", 4);
    spit(path, "broken/a.jpg", (const unsigned char *)"", 0);
    set = open_good(folder, ALL, &seen);
    assert_int_equal(dataset_count(set), 2);
    assert_int_equal(dataset_image(set, 0, pixels), -1); /* not prepared */
    assert_int_equal(dataset_prepare(set, 32, 1), 0);
    assert_int_equal(dataset_image(set, 1, pixels), -1);
    assert_int_equal(dataset_image(set, 2, pixels), -1); /* does not exist */
    assert_int_equal(seen.count, 5); /* these two, the two images, and that there is no good one */
    dataset_close(set);
    set = dataset_open(folder, 0, NULL, NULL, path, sizeof path);
    assert_non_null(set);
    assert_int_equal(dataset_prepare(set, 32, 1), 0);
    assert_int_equal(dataset_image(set, 0, pixels), -1);
    dataset_close(set);
}

/* The bytes are the same with a cache for everything, for nothing, and for two images and a half. */
static void test_cache(void **state) {
    enum { size = 32 * 32 * 3 };
    const size_t caches[] = {ALL, 0, size * 5 / 2};
    unsigned char first[size];
    unsigned char again[size];
    char path[PATH_SIZE];
    reports seen = {0};
    dataset *set[3];

    (void)state;
    fixture(path, "images.zip");
    for (size_t i = 0; i < 3; i++) {
        set[i] = open_good(path, caches[i], &seen);
        assert_int_equal(dataset_prepare(set[i], 64, 1), 0);
        assert_int_equal(dataset_image(set[i], 0, (unsigned char[64 * 64]){0}), 0);
        assert_int_equal(dataset_prepare(set[i], 32, 3), 0);
    }
    for (int round = 0; round < 3; round++)
        for (size_t index = 0; index < dataset_count(set[0]); index++) {
            assert_int_equal(dataset_image(set[0], index, first), 0);
            for (size_t i = 1; i < 3; i++) {
                memset(again, 0xa5, size);
                assert_int_equal(dataset_image(set[i], index, again), 0);
                assert_memory_equal(first, again, size);
            }
        }
    for (size_t i = 0; i < 3; i++)
        dataset_close(set[i]);
    assert_int_equal(seen.count, 15);
}

/* The cache is used: a cached image survives the loss of its file, one without a cache is an error, not a
 * stand-in. */
static void test_gone(void **state) {
    unsigned char pixels[32 * 32];
    char path[PATH_SIZE];
    char folder[PATH_SIZE];
    reports seen = {0};
    dataset *set[2];
    content file;

    (void)state;
    fixture(path, "k-grey.png");
    file = slurp(path);
    snprintf(folder, sizeof folder, "%s/gone", scratch);
    assert_int_equal(mkdir(folder, 0700), 0);
    spit(path, "gone/b.png", file.bytes, file.size);
    spit(path, "gone/a.png", file.bytes, file.size);
    for (size_t i = 0; i < 2; i++) {
        set[i] = open_good(folder, i * ALL, &seen);
        assert_int_equal(dataset_prepare(set[i], 32, 1), 0);
        assert_int_equal(dataset_image(set[i], 0, pixels), 0);
    }
    file.bytes[file.size - 20] ^= 1;
    spit(path, "gone/a.png", file.bytes, file.size);
    assert_int_equal(dataset_image(set[0], 0, pixels), -1);
    assert_non_null(strstr(seen.last, "has changed"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dataset_image(set[0], 0, pixels), -1);
    assert_int_equal(dataset_image(set[1], 0, pixels), 0);
    assert_int_equal(dataset_image(set[0], 1, pixels), 0);
    assert_int_equal(seen.count, 2);
    dataset_close(set[0]);
    dataset_close(set[1]);
    free(file.bytes);
}

/* Sizes out of range are refused, and an image can't be had after it. */
static void test_prepare(void **state) {
    const int bad[][2] = {{0, 1},         {-32, 3}, {32, 0}, {32, 2}, {32, 4}, {IMAGE_SIDE_MAX + 1, 1},
                          {2147483647, 3}};
    char path[PATH_SIZE];
    reports seen = {0};
    unsigned char pixels[3];
    dataset *set;

    (void)state;
    fixture(path, DIGITS);
    set = open_good(path, ALL, &seen);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(dataset_prepare(set, bad[i][0], bad[i][1]), -1);
        assert_int_equal(dataset_image(set, 0, pixels), -1);
    }
    assert_int_equal(dataset_prepare(set, 1, 3), 0);
    assert_int_equal(dataset_image(set, 0, pixels), 0);
    dataset_close(set);
}

/* ---- what can't be opened ---- */

/* Writes an IDX header and some pixels, opens it, and wants a text in the error. */
static void bad_header(const uint32_t header[4], size_t pixels, const char *text) {
    unsigned char bytes[16 + 100] = {0};
    char path[PATH_SIZE];

    for (size_t i = 0; i < 16; i++)
        bytes[i] = (unsigned char)(header[i / 4] >> (24 - 8 * (i % 4)));
    spit(path, "header.idx", bytes, 16 + pixels);
    open_bad(path, text);
    unlink(path);
}

/* Lying IDX headers cost an error, not memory. */
static void test_headers(void **state) {
    (void)state;
    bad_header((uint32_t[]){0x801, 10, 1, 1}, 10, "labels");
    bad_header((uint32_t[]){0xd03, 10, 1, 1}, 10, "00000d03");
    bad_header((uint32_t[]){0x803, 0, 5, 5}, 0, "has 0 images");
    bad_header((uint32_t[]){0x803, 1, 0, 5}, 0, "header says images of 5x0");
    bad_header((uint32_t[]){0x803, 1, 5, 0}, 0, "header says images of 0x5");
    bad_header((uint32_t[]){0x803, 1, 65536, 65536}, 0, "header says");
    bad_header((uint32_t[]){0x803, 1, 0xffffffff, 0xffffffff}, 0, "header says");
    bad_header((uint32_t[]){0x803, 0xffffffff, 0xffffffff, 0xffffffff}, 100, "header says");
    bad_header((uint32_t[]){0x803, 0xffffffff, 16384, 4096}, 100, "more than");
    bad_header((uint32_t[]){0x803, 0xffffffff, 1, 1}, 100, "ends early");
    bad_header((uint32_t[]){0x803, 3, 5, 5}, 74, "ends early");
    bad_header((uint32_t[]){0x803, 3, 5, 5}, 76, "longer than its header");
}

/* Paths that are no dataset get an error that says what to do. */
static void test_not_a_dataset(void **state) {
    char path[PATH_SIZE];
    char error[8];

    (void)state;
    open_bad(NULL, "give the path");
    open_bad("", "give the path");
    open_bad("/nonexistent\n", "nonexistent?\"");
    open_bad("/dev/null", "no zip archive");
    fixture(path, "a-colour.jpg");
    open_bad(path, "no zip archive");
    snprintf(path, sizeof path, "%s/empty", scratch);
    assert_int_equal(mkdir(path, 0700), 0);
    open_bad(path, "has 0 images");
    spit(path, "empty.zip", (const unsigned char *)"PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    open_bad(path, "cannot use the dataset");
    unlink(path);
    assert_null(
        dataset_open("/nonexistent", 0, NULL, NULL, error, sizeof error)); /* a small buffer is no danger */
    assert_int_equal(strlen(error), sizeof error - 1);
}

/* ---- damage ---- */

/* Decodes a copy of the first length bytes; only the whole file may succeed. */
static void decode_prefix(const content *whole, size_t length) {
    unsigned char *copy = malloc(length + (length == 0));
    char error[300] = "";
    image decoded;
    int outcome;

    assert_non_null(copy);
    memcpy(copy, whole->bytes, length);
    outcome = image_decode(copy, length, &decoded, error, sizeof error);
    if (length == whole->size)
        assert_int_equal(outcome, IMAGE_OK);
    else {
        assert_int_equal(outcome, IMAGE_BROKEN);
        assert_true(error[0] != '\0');
        assert_null(decoded.pixels);
    }
    image_free(&decoded);
    free(copy);
}

/* Every truncation of a JPEG and PNG file is a broken image. */
static void test_truncated_images(void **state) {
    const char *const names[] = {"a-colour.jpg",  "d-grey.jpeg", "e-progressive.jpg", "g-rgb.png",
                                 "i-palette.png", "m-bit.png",   "n-interlaced.png"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[PATH_SIZE];
        content whole;

        fixture(path, names[i]);
        whole = slurp(path);
        for (size_t length = 0; length <= whole.size; length++)
            decode_prefix(&whole, length);
        free(whole.bytes);
    }
}

/* Random damage to JPEG and PNG files gives an image or an error. */
static void test_damaged_images(void **state) {
    const char *const names[] = {"a-colour.jpg", "e-progressive.jpg", "f-cmyk.jpg", "i-palette.png",
                                 "n-interlaced.png"};
    uint32_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 5 * 1000; i++) {
        char path[PATH_SIZE];
        char error[300] = "";
        content whole;
        image decoded;
        int outcome;

        fixture(path, names[i % 5]);
        whole = slurp(path);
        for (uint32_t flips = 1 + random_number(&random) % 8; flips > 0; flips--)
            whole.bytes[random_number(&random) % whole.size] = (unsigned char)random_number(&random);
        outcome = image_decode(whole.bytes, whole.size, &decoded, error, sizeof error);
        assert_true(outcome == IMAGE_OK ? decoded.pixels != NULL : error[0] != '\0');
        image_free(&decoded);
        free(whole.bytes);
    }
}

/* Truncates a dataset's file at every step-th length. */
static void truncate_everywhere(const content *whole, const char *name, size_t step) {
    char path[PATH_SIZE];

    for (size_t length = 0; length < whole->size; length += step) {
        char error[1000] = "";

        spit(path, name, whole->bytes, length);
        assert_null(dataset_open(path, 0, NULL, NULL, error, sizeof error));
        assert_true(error[0] != '\0');
    }
    unlink(path);
}

/* Every truncation of an IDX file and of an archive is an error. */
static void test_truncated_files(void **state) {
    content digits = plain_digits();
    char path[PATH_SIZE];
    content file;

    (void)state;
    truncate_everywhere(&digits, "truncated.idx", 1);
    free(digits.bytes);
    fixture(path, DIGITS);
    file = slurp(path);
    truncate_everywhere(&file, "truncated.idx.gz", 1);
    free(file.bytes);
    fixture(path, "images.zip");
    file = slurp(path);
    truncate_everywhere(&file, "truncated.zip", 17);
    free(file.bytes);
}

/* Damages a dataset's file at random, most often near its end, where an archive has its directory. */
static void damage(const content *whole, const char *name, int times, uint32_t *random) {
    unsigned char *copy = malloc(whole->size);
    char path[PATH_SIZE];

    assert_non_null(copy);
    for (int i = 0; i < times; i++) {
        memcpy(copy, whole->bytes, whole->size);
        for (uint32_t flips = 1 + random_number(random) % 4; flips > 0; flips--) {
            size_t from = random_number(random) % 4 == 0 ? 0 : whole->size - whole->size / 16;

            copy[from + random_number(random) % (whole->size - from)] = (unsigned char)random_number(random);
        }
        spit(path, name, copy, whole->size);
        survive(path);
    }
    unlink(path);
    free(copy);
}

/* Random damage to archives and IDX files is survived. */
static void test_damaged_files(void **state) {
    uint32_t random = random_seed();
    content digits = plain_digits();
    char path[PATH_SIZE];
    content file;

    (void)state;
    damage(&digits, "damaged.idx", 300, &random);
    free(digits.bytes);
    fixture(path, DIGITS);
    file = slurp(path);
    damage(&file, "damaged.idx.gz", 300, &random);
    free(file.bytes);
    fixture(path, "images.zip");
    file = slurp(path);
    damage(&file, "damaged.zip", 500, &random);
    free(file.bytes);
}

/* An archive whose data are not those of its directory is an error for the image, and nothing stands in. */
static void test_damaged_entry(void **state) {
    unsigned char pixels[32 * 32];
    char path[PATH_SIZE];
    content file;
    reports seen = {0};
    dataset *set;
    size_t at = 0;

    (void)state;
    fixture(path, "images.zip");
    file = slurp(path);
    while (memcmp(file.bytes + at, "images/UPPER.JPG", 16) != 0)
        at++;
    file.bytes[at + 1000] ^= 0xff;
    spit(path, "entry.zip", file.bytes, file.size);
    free(file.bytes);
    set = open_good(path, ALL, &seen);
    assert_int_equal(dataset_prepare(set, 32, 1), 0);
    assert_int_equal(dataset_image(set, 0, pixels), -1);
    assert_non_null(strstr(seen.last, "UPPER.JPG"));
    assert_int_equal(dataset_image(set, 1, pixels), 0);
    dataset_close(set);
    unlink(path);
}

/* An image of a size out of range is refused before any memory is asked for. */
static void test_bomb(void **state) {
    char path[PATH_SIZE];
    char error[300] = "";
    content file;
    image decoded;

    (void)state;
    fixture(path, "g-rgb.png");
    file = slurp(path);
    memcpy(file.bytes + 16, "\0\0\x40\0\0\0\x40\0", 8); /* 16384x16384 */
    for (uLong crc = crc32(0, file.bytes + 12, 17), i = 0; i < 4; i++)
        file.bytes[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
    assert_int_equal(image_decode(file.bytes, file.size, &decoded, error, sizeof error), IMAGE_BROKEN);
    assert_non_null(strstr(error, "16384x16384"));
    free(file.bytes);
}

/* What is wrong with an image is said in words. */
static void test_reasons(void **state) {
    const char *const cases[][2] = {{"b-broken.jpg", "end"},
                                    {"c-text.jpg", "neither a JPEG nor a PNG"},
                                    {"f-cmyk.jpg", "CMYK"},
                                    {"y-truncated.png", "premature end"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[PATH_SIZE];
        char error[300] = "";
        content file;
        image decoded;

        fixture(path, cases[i][0]);
        file = slurp(path);
        assert_int_equal(image_decode(file.bytes, file.size, &decoded, error, sizeof error), IMAGE_BROKEN);
        if (strstr(error, cases[i][1]) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i][0], error, cases[i][1]);
        free(file.bytes);
    }
}

/* ---- real images ---- */

/* The archive of faces has 8000 images, and the last one is not plain. */
static void test_faces(void **state) {
    const char *path = getenv("GANN_FACES");
    unsigned char pixels[64 * 64 * 3];
    reports seen = {0};
    dataset *set;
    int spread = 0;

    (void)state;
    if (path == NULL)
        path = "../shared/data/img_align_celeba.zip";
    if (access(path, R_OK) != 0)
        skip();
    set = open_good(path, ALL, &seen);
    assert_int_equal(dataset_count(set), 8000);
    assert_int_equal(dataset_prepare(set, 64, 3), 0);
    assert_int_equal(dataset_image(set, 7999, pixels), 0);
    for (size_t i = 1; i < sizeof pixels; i++)
        spread += pixels[i] != pixels[0];
    assert_true(spread > 1000);
    assert_int_equal(seen.count, 0);
    dataset_close(set);
}

/* Makes the scratch folder. */
static int make_scratch(void **state) {
    (void)state;
    return mkdtemp(scratch) == NULL;
}

/* Removes the scratch folder and the little that the tests left in it. */
static int remove_scratch(void **state) {
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_stand_in),
        cmocka_unit_test(test_all_broken),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_prepare),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_not_a_dataset),
        cmocka_unit_test(test_truncated_images),
        cmocka_unit_test(test_damaged_images),
        cmocka_unit_test(test_truncated_files),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_damaged_entry),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_faces),
    };

    return cmocka_run_group_tests_name("dataset", tests, make_scratch, remove_scratch);
}
