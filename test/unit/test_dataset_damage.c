/*
 * test_dataset_damage.c - datasets against files that are damaged, or are none
 *
 * Environment: GANN_SEED, the seed of the random damage, by default 1.
 */
#define _POSIX_C_SOURCE 200809L
#include "dataset_files.h"

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
    bad_header((uint32_t[]){0x803, 0, 5, 5}, 0, "holds no images");
    bad_header((uint32_t[]){0x803, 1, 0, 5}, 0, "header announces images of 5x0");
    bad_header((uint32_t[]){0x803, 1, 5, 0}, 0, "header announces images of 0x5");
    bad_header((uint32_t[]){0x803, 1, 65536, 65536}, 0, "header announces");
    bad_header((uint32_t[]){0x803, 1, 0xffffffff, 0xffffffff}, 0, "header announces");
    bad_header((uint32_t[]){0x803, 0xffffffff, 0xffffffff, 0xffffffff}, 100, "header announces");
    bad_header((uint32_t[]){0x803, 0xffffffff, 16384, 4096}, 100, "at most 4294967296 can be held");
    bad_header((uint32_t[]){0x803, 0xffffffff, 1, 1}, 100, "ends early");
    bad_header((uint32_t[]){0x803, 3, 5, 5}, 74, "ends early");
    bad_header((uint32_t[]){0x803, 3, 5, 5}, 76,
               "longer than the 3 images that its header announces");
}

/* Paths that are no dataset get an error that says what to do. */
static void test_not_a_dataset(void **state) {
    char path[PATH_SIZE];
    char error[8];

    (void)state;
    open_bad(NULL, "there is no such file or folder");
    open_bad("", "there is no such file or folder");
    open_bad("/nonexistent\n", "nonexistent?\"");
    open_bad("/dev/null", "neither a file nor a folder");
    fixture(path, "a-colour.jpg");
    open_bad(path, "a single JPEG image");
    snprintf(path, sizeof path, "%s/empty", scratch);
    assert_int_equal(mkdir(path, 0700), 0);
    open_bad(path, "holds no images");
    spit(path, "empty.zip", (const unsigned char *)"PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
         22);
    open_bad(path, "cannot use the dataset");
    unlink(path);
    assert_null(
        /* a small buffer is no danger */
        dataset_open("/nonexistent", 0, NULL, NULL, error, sizeof error));
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
            whole.bytes[random_number(&random) % whole.size] =
                (unsigned char)random_number(&random);
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

/* Damages a dataset's file at random, most often near its end, where an archive has its
 * directory. */
static void damage(const content *whole, const char *name, int times, uint32_t *random) {
    unsigned char *copy = malloc(whole->size);
    char path[PATH_SIZE];

    assert_non_null(copy);
    for (int i = 0; i < times; i++) {
        memcpy(copy, whole->bytes, whole->size);
        for (uint32_t flips = 1 + random_number(random) % 4; flips > 0; flips--) {
            size_t from = random_number(random) % 4 == 0 ? 0 : whole->size - whole->size / 16;

            copy[from + random_number(random) % (whole->size - from)] =
                (unsigned char)random_number(random);
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

/* An archive's entry that is damaged counts as an image that can't be decoded: everybody who has
 * the archive has the damage. The next one takes its place. */
static void test_damaged_entry(void **state) {
    unsigned char pixels[32 * 32], next[32 * 32];
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
    assert_int_equal(dataset_image(set, 0, pixels), 0);
    assert_non_null(strstr(seen.last, "UPPER.JPG\" can't be used: it is damaged in the archive"));
    assert_int_equal(dataset_image(set, 1, next), 0);
    assert_memory_equal(pixels, next, sizeof next);
    assert_int_equal(seen.count, 1);
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
    assert_int_equal(image_decode(file.bytes, file.size, &decoded, error, sizeof error),
                     IMAGE_BROKEN);
    assert_non_null(strstr(error, "16384x16384"));
    free(file.bytes);
}

/* What is wrong with an image is said in words. */
static void test_reasons(void **state) {
    const char *const cases[][2] = {{"b-broken.jpg", "end"},
                                    {"c-text.jpg", "a text, neither a JPEG nor a PNG"},
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
        assert_int_equal(image_decode(file.bytes, file.size, &decoded, error, sizeof error),
                         IMAGE_BROKEN);
        if (strstr(error, cases[i][1]) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i][0], error, cases[i][1]);
        free(file.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),          cmocka_unit_test(test_not_a_dataset),
        cmocka_unit_test(test_truncated_images), cmocka_unit_test(test_damaged_images),
        cmocka_unit_test(test_truncated_files),  cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_damaged_entry),    cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests_name("dataset_damage", tests, make_scratch, remove_scratch);
}
