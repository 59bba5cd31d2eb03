/*
 * test_dataset.c - the worker's datasets against what Pillow made of the same images
 * (test/fixture/make_images.py)
 *
 * Environment: GANN_FACES, an archive of 8000 faces that is not part of the repository; without it
 * that test is skipped.
 */
#define _POSIX_C_SOURCE 200809L
#include "dataset_files.h"

/* ---- against Pillow ---- */

/* Compares an image with what Pillow made; a NaN can't occur, these are bytes. */
static void compare(const char *where, const unsigned char *got, const unsigned char *expected,
                    size_t size, int tolerance) {
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

        if (sscanf(line, "pixels %99s %d %d %zu %d", source, &side, &channels, &index,
                   &tolerance) == 5) {
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
            snprintf(value, size, "%.*s", (int)strcspn(line + strlen(start), "\n"),
                     line + strlen(start));
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

/* Folder and archive of it have one digest, the one that Python computed; so have a plain and a
 * gzipped IDX file. */
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

/* Checks all "stand_in" lines on the folder or the archive, and that every broken image is reported
 * once, by name. */
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

/* The bytes are the same with a cache for everything, for nothing, and for two images and a
 * half. */
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

/* The cache is used: a cached image survives the loss of its file, one without a cache is an error,
 * not a stand-in. */
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
    const int bad[][2] = {
        {0, 1}, {-32, 3}, {32, 0}, {32, 2}, {32, 4}, {IMAGE_SIDE_MAX + 1, 1}, {2147483647, 3}};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),     cmocka_unit_test(test_digest),
        cmocka_unit_test(test_describe),   cmocka_unit_test(test_stand_in),
        cmocka_unit_test(test_all_broken), cmocka_unit_test(test_cache),
        cmocka_unit_test(test_gone),       cmocka_unit_test(test_prepare),
        cmocka_unit_test(test_faces),
    };

    return cmocka_run_group_tests_name("dataset", tests, make_scratch, remove_scratch);
}
